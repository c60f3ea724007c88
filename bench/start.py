"""How long `authz serve` takes from its process's start until its health says SERVING."""

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.row import Row
from tests.support.servers import free_port, serve
from tests.support.world import World

ROUNDS = 5
BOUND_SECONDS = 1.0


def rows() -> Iterator[Row]:
    """`start_seconds`."""
    seconds = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            address = f"127.0.0.1:{free_port()}"
            server = {"listen": address, "transport": "plaintext", "drain_seconds": 0}
            world = World(Path(folder), settings={"server": server})
            start = time.perf_counter()
            with serve(world.config_file, address):
                seconds.append(time.perf_counter() - start)
    how = f"process start to SERVING, polled every 20 ms, median of {ROUNDS}"
    yield Row("start_seconds", statistics.median(seconds), "s", BOUND_SECONDS, how)
