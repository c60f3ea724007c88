"""How long `authz serve` takes from its process's start until its health says SERVING.

By the clock, and by its steps: Python times each import, the server times the rest, and the median of every step over
all starts is what the work takes where the machine is not paused in between.
"""

import re
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from bench.row import MICROSECONDS, Row
from tests.support.servers import free_port, serve
from tests.support.world import World

ROUNDS = 9
BOUND_SECONDS = 1.0
# A line of `python -X importtime`: microseconds of the module itself, with what it imports, its name.
_IMPORT = re.compile(r"import time: +(\d+) \| +\d+ \| +(\S+)")
_REST = re.compile(r"serving after ([\d.]+) s")


def rows() -> Iterator[Row]:
    """`start_seconds` and `start_steps_seconds`."""
    seconds, steps = [], defaultdict[str, list[float]](list)
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            address = f"127.0.0.1:{free_port()}"
            server = {"listen": address, "transport": "plaintext", "drain_seconds": 0}
            world = World(Path(folder), settings={"server": server})
            start = time.perf_counter()
            with serve(world.config_file, address):
                seconds.append(time.perf_counter() - start)
            with serve(world.config_file, address, options=("-X", "importtime")) as timed:
                log = timed.log()
        for microseconds, module in _IMPORT.findall(log):
            steps[module].append(int(microseconds) / MICROSECONDS)
        steps["the rest"] += [float(each) for each in _REST.findall(log)]
    how = f"process start to SERVING, polled every 20 ms, the best of {ROUNDS}, since pauses only add"
    yield Row("start_seconds", min(seconds), "s", BOUND_SECONDS, how)
    how = f"sum over imports and the rest, each the median of {ROUNDS}"
    yield Row("start_steps_seconds", sum(map(statistics.median, steps.values())), "s", BOUND_SECONDS, how)
