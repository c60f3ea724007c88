"""Nodes: processes' views of one task store, driven by hand as a server drives them; and tasks to keep in it."""

import asyncio
import contextlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from authz.core.acts import Act, End, Put
from authz.core.errors import Refused
from authz.core.hop import Sensitivity
from authz.core.ids import uuid7
from authz.core.memory import Memory
from authz.core.outcome import Know, Lacks
from authz.core.reasons import Reason
from authz.core.spiffe import SpiffeId
from authz.core.task import Grant, Task, TaskState
from authz.ports import TaskKeeper, TaskNews, TaskReader, Tasks
from authz.tasks.sqlite import SqliteTasks

SUPPORT = SpiffeId.parse("spiffe://example.org/agent/support")


class Store(Tasks, TaskKeeper, TaskReader, TaskNews, Protocol):
    """All that a task store does."""

    async def purge(self, expired_before_unix_seconds: float) -> int:
        """Delete tasks that expired before then."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...


@dataclass
class Node:
    """A store and the memory that it keeps true."""

    store: Store
    memory: Memory
    runner: asyncio.Runner = field(default_factory=asyncio.Runner)

    def do(self, act: Act) -> None:
        """Do an act."""
        self.runner.run(self.store.do(act))

    def put(self, task: Task) -> None:
        """Keep a new task."""
        self.do(Put(task))

    def end(self, task_id: str) -> None:
        """End a task."""
        self.do(End(task_id))

    def get(self, task_id: str) -> Task:
        """The task as people are shown it."""
        return self.runner.run(self.store.get(task_id)).task

    def list(self) -> list[Task]:
        """All tasks, a few at a time."""
        tasks = list[Task]()
        while page := self.runner.run(self.store.list(tasks[-1].id if tasks else "", 2)):
            tasks.extend(page)
        return tasks

    def close(self) -> None:
        """Let go of the store."""
        self.runner.run(self.store.close())
        self.runner.close()

    def catch_up(self) -> None:
        """What a server does before a check, or has done all along."""
        self.store.peek()

    def remembers(self, task_id: str) -> Task | Reason | None:
        """What a check finds in memory right after a peek: the task, a refusal, or None where it would have to ask."""
        self.catch_up()
        try:
            return self.memory.find(task_id)
        except Refused as refused:
            return refused.reason
        except Lacks:
            return None

    def fetch(self, *task_ids: str) -> None:
        """Bring the tasks into memory."""
        self.runner.run(self.store.fetch(frozenset(map(Know, task_ids))))

    def finds(self, task_id: str) -> Task | Reason | None:
        """What a check ends with: it asks for what it lacks, twice at most, and looks again."""
        for _ in range(2):
            found = self.remembers(task_id)
            if found is not None:
                return found
            self.fetch(task_id)
        return self.remembers(task_id)


OpenNode = Callable[[], Node]


@contextlib.contextmanager
def quick_folder() -> Iterator[Path]:
    """A new folder, in memory where there is such a place: these tests are about order, not about disks."""
    memory_disk = Path("/dev/shm")  # noqa: S108  the folder in it is made for us alone
    with tempfile.TemporaryDirectory(dir=memory_disk if memory_disk.is_dir() else None) as folder:
        yield Path(folder)


@contextlib.contextmanager
def node_on(file: Path, **options: float) -> Iterator[Node]:
    """A node on the file; looks at the path at every peek unless told otherwise."""
    memory = Memory(10_000)
    store = SqliteTasks(file, memory, **{"file_check_seconds": 0, **options})  # type: ignore[arg-type]  # ints and floats
    node = Node(store, memory)
    try:
        yield node
    finally:
        node.close()


@contextlib.contextmanager
def sqlite_nodes(folder: Path) -> Iterator[OpenNode]:
    """Nodes on one new SQLite file in the folder; all are closed in the end."""
    with contextlib.ExitStack() as opened:
        yield lambda: opened.enter_context(node_on(folder / "tasks.db", file_check_seconds=1))


def store_of(node: Node) -> SqliteTasks:
    """The node's store, which is the embedded one."""
    assert isinstance(node.store, SqliteTasks)
    return node.store


def failures(node: Node) -> int:
    """How many peeks of the node have failed."""
    return store_of(node).peek_failures


@contextlib.contextmanager
def foreign(file: Path) -> Iterator[sqlite3.Connection]:
    """Another program's connection to the file: it changes things without saying so in the change log."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        yield connection


def remove(file: Path) -> None:
    """Delete the database as a whole."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{file}{suffix}").unlink()


def open_files() -> int:
    """How many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def make_task(**changes: object) -> Task:
    """A live task of the support agent with whole-millisecond times, or as changed."""
    now = int(time.time() * 1000) / 1000
    task = Task(
        id=uuid7(now, os.urandom(10)),
        owner="alice@example.org",
        purpose="answer ticket 4711",
        agents=frozenset({SUPPORT}),
        grants=(Grant.parse("read,write:crm.contacts"), Grant.parse("mail.message.send:mail")),
        ceiling=Sensitivity.INTERNAL,
        starts_unix_seconds=now - 60,
        expires_unix_seconds=now + 3600,
        state=TaskState.ACTIVE,
    )
    return replace(task, **changes)  # type: ignore[arg-type]  # the test's business


def kept(node: Node) -> Task:
    """A task that the node's store keeps and its memory holds."""
    task = make_task()
    node.put(task)
    assert node.finds(task.id) == task
    return task
