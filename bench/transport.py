"""A cached check on the wire against an empty handler on the same transport: CPU of the server process alone."""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

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


def rows() -> Iterator[Row]:
    """`grpc_cached_over_empty`."""
    with tempfile.TemporaryDirectory() as folder:
        address, empty_address = (f"127.0.0.1:{free_port()}" for _ in range(2))
        settings = {"listen": address, "transport": "plaintext", "drain_seconds": 0}
        world = World(Path(folder), settings={"server": settings})
        message = world.check(world.start_task().id)
        empty = subprocess.Popen([sys.executable, "-m", "bench.empty_server", empty_address])
        try:
            with serve(world.config_file, address) as server:
                ratio = asyncio.run(compare((server.process.pid, address), (empty.pid, empty_address), message))
        finally:
            empty.terminate()
            empty.wait()
    how = f"server CPU, {ROUNDS} rounds of {CALLS} calls each in turn, {CONCURRENCY} at a time, ratio of the medians"
    yield Row("grpc_cached_over_empty", ratio, "ratio", BOUND_RATIO, how)


async def compare(ours: tuple[int, str], yardstick: tuple[int, str], message: bytes) -> float:
    """CPU of one call at our server over that at the yardstick; each is a process and its address."""
    async with grpc.aio.insecure_channel(ours[1]) as channel, grpc.aio.insecure_channel(yardstick[1]) as other:
        asks = [(pid, each.unary_unary(CHECK)) for pid, each in ((ours[0], channel), (yardstick[0], other))]
        for _, ask in asks:
            await load(ask, message, 1000)
        rounds = [[await cpu_seconds_of_load(pid, ask, message) for pid, ask in asks] for _ in range(ROUNDS)]
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
