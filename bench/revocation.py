"""How soon the end of a task counts: on one machine at the very next check, and for replicas of a shared store."""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from authz.core.acts import End, Put
from authz.core.decision import Allow
from authz.core.memory import Memory
from authz.core.outcome import Know
from authz.tasks.sqlite import SqliteTasks
from authz.tasks.valkey import ValkeyTasks
from authz.tasks.valkey_connection import PrimaryReach, Servers
from authz.tasks.valkey_follower import Promises
from authz.tasks.valkey_rows import Keys
from bench.row import Row
from tests.support.world import Running, World
from tests.tasks.nodes import make_task, quick_folder
from tests.tasks.shared_stores import Server

INTERLEAVINGS = int(os.environ.get("AUTHZ_INTERLEAVINGS", "5000"))
REPLICAS = 3
ENDS = 2_000
ENDS_A_SECOND = 200
P99_BOUND_MS = 100
MAX_BOUND_MS = 1_000  # the declared staleness
_MILLISECONDS = 1000


def rows() -> Iterator[Row]:
    """`revocation_one_node_missed`, `revocation_replicas_p99_ms` and `revocation_replicas_max_ms`."""
    checks, missed = _missed()
    how = f"of {INTERLEAVINGS} ends by another process, with {checks} checks running on meanwhile: allowed after it"
    yield Row("revocation_one_node_missed", missed, "checks", 0, how)

    delays_ms = sorted(_delays_ms())
    p50, p99 = statistics.median(delays_ms), delays_ms[int(len(delays_ms) * 0.99)]
    how = f"{ENDS} ends, {ENDS_A_SECOND}/s, seen by {REPLICAS} processes on one Valkey, from the acknowledgement on"
    yield Row("revocation_replicas_p99_ms", p99, "ms", P99_BOUND_MS, f"{how}; p50 {p50:.1f}")
    yield Row(
        "revocation_replicas_max_ms", delays_ms[-1], "ms", MAX_BOUND_MS, "the same; the declared staleness bounds it"
    )


def _missed() -> tuple[int, int]:
    """How many checks there were in all, and how many that began after an end was acknowledged were allowed."""
    checks, missed = 0, 0
    with quick_folder() as folder, _ender(folder / "tasks.db") as ender:
        world = World(folder)
        running = world.pipeline()
        orders, acknowledgements = _pipes(ender)
        os.set_blocking(acknowledgements.fileno(), False)
        store = running.store
        for _ in range(INTERLEAVINGS):
            task = make_task()
            asyncio.run(store.do(Put(task)))
            message = world.check(task.id)
            _is_allowed(running, message)
            orders.write(f"{task.id}\n".encode())
            orders.flush()
            while not acknowledgements.read(1):
                _is_allowed(running, message)
                checks += 1
            missed += _is_allowed(running, message)
        running.close()
    return checks, missed


def _pipes(process: Any) -> tuple[Any, Any]:  # noqa: ANN401  of either library
    """What it reads and what it writes."""
    return process.stdin, process.stdout


def _is_allowed(running: Running, message: bytes) -> bool:
    return isinstance(running.decide(message).decision, Allow)


@contextmanager
def _ender(file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends the tasks whose ids it reads, and writes a byte once each end is acknowledged."""
    with _process("end", str(file)) as process:
        yield process


@contextmanager
def _process(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "bench.revocation", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _end_all(file: Path) -> None:
    store = SqliteTasks(file, Memory(64))

    async def ending() -> None:
        for line in sys.stdin:
            await store.do(End(line.strip()))
            os.write(1, b".")

    asyncio.run(ending())


def _delays_ms() -> list[float]:
    """From each acknowledgement to the moment at which each replica forgot the task."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server("valkey", Path(folder), appendonly="yes", appendfsync="everysec")
        try:
            return asyncio.run(_ended_at_replicas(server.port))
        finally:
            server.kill()


async def _ended_at_replicas(port: int) -> list[float]:
    store = _store(port, Memory(64))
    await store.connect()
    tasks = [make_task() for _ in range(ENDS)]
    for task in tasks:
        await store.do(Put(task))
    replicas = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.revocation", "follow", str(port)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**26,
        )
        for _ in range(REPLICAS)
    ]
    acknowledged = dict[str, float]()
    told = list[dict[str, float]]()
    try:
        for replica in replicas:
            orders, news = _pipes(replica)
            orders.write(json.dumps([task.id for task in tasks]).encode() + b"\n")
            await news.readline()
        for task in tasks:
            await store.do(End(task.id))
            acknowledged[task.id] = time.monotonic()
            await asyncio.sleep(1 / ENDS_A_SECOND)
        for replica in replicas:
            told.append(json.loads(await _pipes(replica)[1].readline()))
    finally:
        for replica in replicas:
            replica.kill()
            await replica.wait()
        await store.close()
    return [max(0.0, each[id] - at) * _MILLISECONDS for each in told for id, at in acknowledged.items()]


class _Noting(Memory):
    """Notes when each task was forgotten."""

    def __init__(self) -> None:
        super().__init__(2 * ENDS)
        self.forgotten: dict[str, float] = {}

    def forget(self, task_id: str) -> None:
        super().forget(task_id)
        self.forgotten[task_id] = time.monotonic()


def _store(port: int, memory: Memory) -> ValkeyTasks:
    reach = PrimaryReach(Servers((("127.0.0.1", port),)))
    return ValkeyTasks(reach, memory, Keys("{authz}"), Promises(), f"127.0.0.1:{port}")


async def _follow(port: int) -> None:
    """A replica: it knows the tasks, says so, and at the end tells when it forgot each."""
    memory = _Noting()
    store = _store(port, memory)
    await store.connect()
    following = asyncio.create_task(store.follow())
    task_ids = json.loads(await asyncio.to_thread(sys.stdin.readline))
    for first in range(0, len(task_ids), 100):
        await store.fetch(frozenset(map(Know, task_ids[first : first + 100])))
    memory.forgotten.clear()
    print("ready", flush=True)
    give_up = time.monotonic() + 60 + len(task_ids) / ENDS_A_SECOND
    while len(memory.forgotten) < len(task_ids) and time.monotonic() < give_up:  # noqa: ASYNC110  the memory tells nobody
        await asyncio.sleep(0.05)
    print(json.dumps(memory.forgotten), flush=True)
    following.cancel()
    await store.close()


if __name__ == "__main__":
    if sys.argv[1] == "end":
        _end_all(Path(sys.argv[2]))
    else:
        asyncio.run(_follow(int(sys.argv[2])))
