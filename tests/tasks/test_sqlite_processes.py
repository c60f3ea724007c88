"""The embedded store: several processes on one file, and their sudden death."""

import contextlib
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from authz.core.errors import Unavailable
from authz.core.task import TaskState
from tests.tasks.nodes import Node, failures, foreign, kept, make_task, node_on, quick_folder
from tests.tasks.writer_process import Acknowledged, end_what_is_named, put_and_end, stay_inside

KILLS = 20
ENDS_BY_ANOTHER_PROCESS = 300

# Children are forked from a process that holds nothing of ours open, and has imported what they need.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["pytest", "tests.tasks.writer_process"])


@dataclass
class Writer:
    """Another process at the file, and the pipe through which it acknowledges."""

    process: BaseProcess
    pipe: Connection

    def kill(self) -> list[Acknowledged]:
        """Kill it where it stands; what it had acknowledged since we last listened."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()
        acknowledged: list[Acknowledged] = []
        with contextlib.suppress(EOFError, ConnectionResetError):
            while True:
                acknowledged.append(self.pipe.recv())
        return acknowledged


@contextlib.contextmanager
def writer(file: Path, does: Callable[[Path, Connection], None]) -> Iterator[Writer]:
    """Another process that does this to the file; it is dead in the end."""
    ours, theirs = _PROCESSES.Pipe()
    process = _PROCESSES.Process(target=does, args=(file, theirs))
    process.start()
    theirs.close()
    try:
        yield Writer(process, ours)
    finally:
        process.kill()
        process.join()
        process.close()
        ours.close()


def lost(acknowledged: list[Acknowledged], node: Node) -> list[Acknowledged]:
    """Acknowledgements that the store does not bear out."""
    states = {task.id: task.state for task in node.list()}
    return [
        (act, task_id)
        for act, task_id in acknowledged
        if task_id not in states or (act == "end" and states[task_id] is not TaskState.ENDED)
    ]


def must_be_sound(file: Path) -> None:
    """SQLite finds no fault with the file, and its change log is without a gap."""
    with foreign(file) as connection:
        assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        ((rows, newest),) = connection.execute("SELECT count(*), max(seq) FROM change").fetchall()
        assert rows == newest


@pytest.fixture(name="file")
def _file() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder / "tasks.db"


def test_a_writer_killed_at_any_moment_loses_nothing_acknowledged(file: Path) -> None:
    """Twenty writers are killed in full career: every acknowledged task is there, every acknowledged end holds."""
    acknowledged: list[Acknowledged] = []
    chance = random.Random(20)  # noqa: S311  moments to kill at
    with node_on(file) as connected:
        for _ in range(KILLS):
            with writer(file, put_and_end) as other:
                acknowledged.append(other.pipe.recv())
                time.sleep(chance.uniform(0, 0.02))
                acknowledged += other.kill()
            connected.store.peek()
            assert lost(acknowledged, connected) == []
        assert failures(connected) == 0
    must_be_sound(file)
    with node_on(file) as fresh:
        assert lost(acknowledged, fresh) == []
    assert len(acknowledged) > KILLS


def test_a_writer_killed_within_a_transaction_leaves_nothing_of_it(file: Path) -> None:
    """What was not committed is gone, and the next writer need not wait for the dead."""
    with node_on(file) as node:
        task = kept(node)
        with writer(file, stay_inside) as other:
            assert other.pipe.recv() == ("inside", "")
            assert task == node.finds(task.id)
            other.kill()
        assert task == node.finds(task.id)
        assert task == node.get(task.id)
        node.end(task.id)
        assert node.remembers(task.id) is None
    must_be_sound(file)


def test_a_writer_frozen_within_a_transaction_stops_writers_and_no_reader(file: Path) -> None:
    """Against a frozen writer, writes are unavailable after the declared time; checks go on and are not stale."""
    with node_on(file, write_timeout_seconds=0.1) as node:
        task, unread = kept(node), make_task()
        node.put(unread)
        with writer(file, stay_inside) as other:
            assert other.pipe.recv() == ("inside", "")
            assert other.process.pid is not None
            os.kill(other.process.pid, signal.SIGSTOP)
            with pytest.raises(Unavailable, match="another process has been writing"):
                node.end(task.id)
            before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            assert task == node.finds(task.id)
            assert unread == node.finds(unread.id)
            assert node.memory.as_of_ns >= before_ns


def test_processes_write_at_once_and_nothing_is_lost(file: Path) -> None:
    """Two other processes and this one write at the same time: all that was acknowledged is kept, in one log."""
    with node_on(file) as node, writer(file, put_and_end) as first, writer(file, put_and_end) as second:
        acknowledged: list[Acknowledged] = [first.pipe.recv(), second.pipe.recv()]
        for _ in range(100):
            task = make_task()
            node.put(task)
            acknowledged.append(("put", task.id))
        acknowledged += first.kill() + second.kill()
        assert lost(acknowledged, node) == []
    must_be_sound(file)


def test_an_end_by_another_process_is_seen_at_the_very_next_check(file: Path) -> None:
    """Of 300 tasks ended by another process, none is still live at the first check after the acknowledgement."""
    with node_on(file) as node, writer(file, end_what_is_named) as other:
        misses = 0
        for _ in range(ENDS_BY_ANOTHER_PROCESS):
            task = kept(node)
            other.pipe.send(task.id)
            assert other.pipe.recv() == ("end", task.id)
            misses += node.remembers(task.id) is not None
    assert misses == 0
