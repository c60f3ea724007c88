"""A cached check on the wire, by CPU of the server process alone, against three other servers.

They are an empty handler on the same transport, an empty server in Go, and our portable lane. Go and its modules are
not always to be had; then that row is left out.
"""

import asyncio
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import grpc
import grpc.aio

from bench.row import Row
from tests.support.servers import CHECK, Server, free_port, serve, wait_until_serving
from tests.support.world import World

ROUNDS = 60
CALLS = 64
CONCURRENCY = 16
GO_EMPTY = Path(__file__).parent / "go_empty"
HOW = f"server CPU, {ROUNDS} rounds of {CALLS} calls each in turn, {CONCURRENCY} at a time, ratio of the medians"

Ask = Callable[..., Awaitable[bytes]]


class Target(NamedTuple):
    """A server process, and a check that it can answer from memory."""

    pid: int
    address: str
    message: bytes


def rows() -> Iterator[Row]:
    """`grpc_cached_over_empty`, `check_cpu_over_go_empty` and `fast_lane_over_portable`."""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        fast, portable = (_ours(stack, Path(folder), lane) for lane in ("fast", "portable"))
        empty = _other(stack, Path(folder), [sys.executable, "-m", "bench.empty_server"], ["fast"], fast.message)
        targets = {"fast": fast, "portable": portable, "empty": empty}
        if program := _built_by_go(Path(folder)):
            targets["go"] = _other(stack, Path(folder), [str(program)], [], fast.message)
        seconds = asyncio.run(compare(targets))
    yield Row("grpc_cached_over_empty", seconds["fast"] / seconds["empty"], "ratio", 1.4, HOW)
    if "go" in seconds:
        yield Row("check_cpu_over_go_empty", seconds["fast"] / seconds["go"], "ratio", 2.0, HOW)
    yield Row("fast_lane_over_portable", seconds["fast"] / seconds["portable"], "ratio", 0.6, HOW)


async def compare(targets: dict[str, Target]) -> dict[str, float]:
    """Seconds of CPU that one round of calls costs each of the servers, the median."""
    rounds: dict[str, list[float]] = {name: [] for name in targets}
    async with AsyncChannels(targets) as asks:
        for name, ask in asks.items():
            await load(ask, targets[name].message, 1000)
        for _ in range(ROUNDS):
            for name, ask in asks.items():
                rounds[name].append(await cpu_seconds_of_load(targets[name], ask))
    return {name: statistics.median(each) for name, each in rounds.items()}


class AsyncChannels:
    """A channel to each target, for as long as the block lasts."""

    def __init__(self, targets: dict[str, Target]) -> None:
        self._targets = targets

    async def __aenter__(self) -> dict[str, Ask]:
        self._channels = {name: grpc.aio.insecure_channel(each.address) for name, each in self._targets.items()}
        return {name: channel.unary_unary(CHECK) for name, channel in self._channels.items()}

    async def __aexit__(self, *exception: object) -> None:
        for channel in self._channels.values():
            await channel.close()


async def cpu_seconds_of_load(target: Target, ask: Ask) -> float:
    """User and system time that the process spends on one round, its threads included."""
    before = time.clock_gettime(_cpu_clock(target.pid))
    await load(ask, target.message, CALLS)
    return time.clock_gettime(_cpu_clock(target.pid)) - before


async def load(ask: Ask, message: bytes, calls: int) -> None:
    """So many calls, so many at a time, over one connection."""

    async def some(count: int) -> None:
        for _ in range(count):
            await ask(message, timeout=60, wait_for_ready=True)

    await asyncio.gather(*(some(calls // CONCURRENCY) for _ in range(CONCURRENCY)))


def _ours(stack: ExitStack, folder: Path, lane: str) -> Target:
    address = f"127.0.0.1:{free_port()}"
    (folder / lane).mkdir()
    settings = {"listen": address, "transport": "plaintext", "drain_seconds": 0, "lane": lane}
    world = World(folder / lane, settings={"server": settings})
    server = stack.enter_context(serve(world.config_file, address))
    return Target(server.process.pid, address, world.check(world.start_task().id))


def _other(stack: ExitStack, folder: Path, program: list[str], arguments: list[str], message: bytes) -> Target:
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen([*program, address, *arguments])
    stack.callback(process.wait)
    stack.callback(process.kill)
    wait_until_serving(Server(process, address, folder))
    return Target(process.pid, address, message)


def _built_by_go(folder: Path) -> Path | None:
    """The empty server in Go, or None where it cannot be built here."""
    go = shutil.which("go")
    if go is None:
        return None
    program = folder / "go_empty"
    built = subprocess.run([go, "build", "-C", GO_EMPTY, "-o", program, "."], check=False, capture_output=True)
    return program if built.returncode == 0 else None


def _cpu_clock(pid: int) -> int:
    """Linux's clock of the CPU time of another process: clock_getcpuclockid(3), which Python does not wrap."""
    return ~pid << 3 | 2
