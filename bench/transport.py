"""A cached check on the wire against an empty handler on the same transport: CPU of the server process alone."""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import grpc.aio

from bench.row import Row
from tests.support.servers import CHECK, free_port, serve
from tests.support.world import World

ROUNDS = 5
CALLS = 3000
CONCURRENCY = 16
BOUND_RATIO = 1.4
_TICKS = os.sysconf("SC_CLK_TCK")


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
                pairs = [(server.process.pid, address), (empty.pid, empty_address)]
                for _, target in pairs:
                    asyncio.run(load(target, message, CALLS // 3))
                rounds = [[cpu_us_a_call(pid, target, message) for pid, target in pairs] for _ in range(ROUNDS)]
        finally:
            empty.terminate()
            empty.wait()
    ratio = statistics.median(ours / yardstick for ours, yardstick in rounds)
    how = f"server CPU, {CALLS} calls a round, {CONCURRENCY} at a time, median ratio of {ROUNDS} rounds in turn"
    yield Row("grpc_cached_over_empty", ratio, "ratio", BOUND_RATIO, how)


def cpu_us_a_call(pid: int, address: str, message: bytes) -> float:
    """User and system time that the process spends on one call."""
    before = cpu_seconds(pid)
    asyncio.run(load(address, message, CALLS))
    return (cpu_seconds(pid) - before) / CALLS * 1e6


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def load(address: str, message: bytes, calls: int) -> None:
    """So many calls, so many at a time, over one connection."""
    async with grpc.aio.insecure_channel(address) as channel:
        ask = channel.unary_unary(CHECK)

        async def some(count: int) -> None:
            for _ in range(count):
                await ask(message, timeout=10, wait_for_ready=True)

        await asyncio.gather(*(some(calls // CONCURRENCY) for _ in range(CONCURRENCY)))
