"""A cached check on the wire against an empty handler on the same transport: CPU of the server process alone."""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import grpc
import grpc.aio

from bench.row import Row
from tests.support.servers import CHECK, free_port, serve
from tests.support.world import World

ROUNDS = 150
CALLS = 64
CONCURRENCY = 16
BOUND_RATIO = 1.4

Ask = Callable[..., Awaitable[bytes]]


class Asked(NamedTuple):
    """A server process, and what it is asked."""

    pid: int
    address: str
    message: bytes


def rows() -> Iterator[Row]:
    """`grpc_cached_over_empty`, and `grpc_fast_over_portable`."""
    with ExitStack() as stack:
        fast, portable = (stack.enter_context(_server(lane)) for lane in ("fast", "portable"))
        address = f"127.0.0.1:{free_port()}"
        empty = subprocess.Popen([sys.executable, "-m", "bench.empty_server", "fast", address])
        stack.callback(empty.wait)
        stack.callback(empty.terminate)
        over_empty = asyncio.run(compare(fast, Asked(empty.pid, address, fast.message)))
        over_portable = asyncio.run(compare(fast, portable))
    how = f"server CPU, {ROUNDS} rounds of {CALLS} calls each in turn, {CONCURRENCY} at a time, ratio of the medians"
    yield Row("grpc_cached_over_empty", over_empty, "ratio", BOUND_RATIO, f"{how}; both in the fast lane")
    yield Row("grpc_fast_over_portable", over_portable, "ratio", 1, f"{how}; the same check in each lane")


@contextmanager
def _server(lane: str) -> Iterator[Asked]:
    """Our server, in that lane."""
    with tempfile.TemporaryDirectory() as folder:
        address = f"127.0.0.1:{free_port()}"
        settings = {"listen": address, "transport": "plaintext", "drain_seconds": 0, "lane": lane}
        world = World(Path(folder), settings={"server": settings})
        message = world.check(world.start_task().id)
        with serve(world.config_file, address) as server:
            yield Asked(server.process.pid, address, message)


async def compare(one: Asked, other: Asked) -> float:
    """CPU of one call at the one over that at the other."""
    async with grpc.aio.insecure_channel(one.address) as channel, grpc.aio.insecure_channel(other.address) as another:
        asks = [(one, channel.unary_unary(CHECK)), (other, another.unary_unary(CHECK))]
        for asked, ask in asks:
            await load(ask, asked.message, 1000)
        rounds = [
            [await cpu_seconds_of_load(asked.pid, ask, asked.message) for asked, ask in asks] for _ in range(ROUNDS)
        ]
    return statistics.median(row[0] for row in rounds) / statistics.median(row[1] for row in rounds)


async def cpu_seconds_of_load(pid: int, ask: Ask, message: bytes) -> float:
    """User and system time that the process spends on one round, its threads included."""
    before = time.clock_gettime(_cpu_clock(pid))
    await load(ask, message, CALLS)
    return time.clock_gettime(_cpu_clock(pid)) - before


async def load(ask: Ask, message: bytes, calls: int) -> None:
    """So many calls, so many at a time, over one connection."""

    async def some(count: int) -> None:
        for _ in range(count):
            await ask(message, timeout=60, wait_for_ready=True)

    await asyncio.gather(*(some(calls // CONCURRENCY) for _ in range(CONCURRENCY)))


def _cpu_clock(pid: int) -> int:
    """Linux's clock of the CPU time of another process: clock_getcpuclockid(3), which Python does not wrap."""
    return ~pid << 3 | 2
