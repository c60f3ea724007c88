"""Whether a hop cares how many tasks are alive: a thousand agents at work, among a thousand tasks and a million."""

import asyncio
import gc
import os
import resource
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from authz.core.acts import Put
from authz.core.memory import Memory
from authz.core.outcome import Know
from authz.tasks.database import Writer
from authz.tasks.sqlite import SqliteTasks
from authz.tasks.sqlite_acts import perform
from bench.row import Row, median_us
from tests.support.world import Running, World
from tests.tasks.nodes import make_task, quick_folder

FEW = 1_000
MANY = int(os.environ.get("AUTHZ_LIVE_TASKS", "1000000"))
AT_WORK = 1_000
ROUNDS = 5
HOPS = 4_000
BOUND = 1.2
_KIB = 1024
_AT_ONCE = 10_000


@dataclass(frozen=True)
class Place:
    """A store, a pipeline on it, and the hops of those at work."""

    file: Path
    running: Running
    hops: Sequence[bytes]
    unseen: Sequence[str]
    bytes_a_task: float


def rows() -> Iterator[Row]:
    """`tasks_1m_over_1k`."""
    with _place(FEW) as few, _place(MANY) as many:
        ratios, reads = list[float](), list[float]()
        for _ in range(ROUNDS):
            ratios.append(_hop_us(many) / _hop_us(few))
            reads.append(_read_us(many) / _read_us(few))
        remembered = _memory_a_task(many)
        how = (
            f"{AT_WORK} tasks hop by turns, in turns among {MANY} and {FEW} live tasks, median of {ROUNDS}; "
            f"reading one that is not in memory {statistics.median(reads):.2f} times; "
            f"{many.bytes_a_task:.0f} B of disk a task, {remembered:.0f} B of memory each that is remembered"
        )
        yield Row("tasks_1m_over_1k", statistics.median(ratios), "ratio", BOUND, how)


def _hop_us(place: Place) -> float:
    hops = cycle(place.hops)
    return median_us(lambda: place.running.decide(next(hops)), calls=HOPS)


def _read_us(place: Place) -> float:
    """A task that this process did not know, from the store."""
    spread = cycle(place.unseen)

    async def read_some() -> float:
        store = SqliteTasks(place.file, Memory(AT_WORK))  # with a memory of its own: those at work stay in theirs
        began = time.perf_counter()
        for _ in range(AT_WORK):
            await store.fetch(frozenset({Know(next(spread))}))
        seconds = time.perf_counter() - began
        await store.close()
        return seconds

    return asyncio.run(read_some()) / AT_WORK * 1_000_000


def _memory_a_task(place: Place) -> float:
    """How much a process grows by for each task that it remembers."""
    memory = Memory(len(place.unseen))
    store = SqliteTasks(place.file, memory)
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    asyncio.run(store.fetch(frozenset(map(Know, place.unseen))))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    asyncio.run(store.close())
    return grown * _KIB / len(place.unseen)


@contextmanager
def _place(count: int) -> Iterator[Place]:
    with quick_folder() as folder:
        world = World(folder)
        task_ids = _fill(world.database, count)
        step = max(1, count // AT_WORK)
        running = world.pipeline()
        hops = [world.check(task_id) for task_id in task_ids[::step][:AT_WORK]]
        for _ in range(2):  # the first hop of each teaches its session what it reads
            for hop in hops:
                running.decide(hop)
        unseen = task_ids[:: max(1, count // 50_000)]
        yield Place(world.database, running, hops, unseen, world.database.stat().st_size / count)
        running.close()


def _fill(file: Path, count: int) -> list[str]:
    asyncio.run(SqliteTasks(file, Memory(64)).close())
    writer, task_ids = Writer(file, timeout_seconds=60), list[str]()
    while len(task_ids) < count:
        with writer.transaction() as connection:
            for _ in range(min(_AT_ONCE, count - len(task_ids))):
                task_ids += perform(connection, Put(make_task()))
    writer.close()
    return task_ids
