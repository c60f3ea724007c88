"""The embedded store: several processes on one file, and their sudden death."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from authz.core.errors import Unavailable
from authz.core.task import TaskState
from tests.tasks.nodes import Node, failures, foreign, kept, make_task, node_on, quick_folder

ROOT = Path(__file__).parents[2]
ROUNDS, WRITERS_AT_ONCE = 5, 4
ENDS_BY_ANOTHER_PROCESS = 300

Acknowledged = list[tuple[str, str]]  # what was done, to which task


@contextlib.contextmanager
def writer(file: Path, what: str) -> Iterator[subprocess.Popen[str]]:
    """Another process at the file; it is dead in the end."""
    command = [sys.executable, "-m", "tests.tasks.writer_process", str(file), what]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> tuple[str, str]:
    """The next acknowledgement, such as `put ID`."""
    assert process.stdout is not None
    act, _, task_id = process.stdout.readline().strip().partition(" ")
    return act, task_id


def begin(*processes: subprocess.Popen[str]) -> None:
    """Let busy writers begin together, once all of them are ready."""
    for process in processes:
        assert said(process) == ("ready", "")
    for process in processes:
        assert process.stdin is not None
        print(file=process.stdin, flush=True)


def rest(process: subprocess.Popen[str]) -> Acknowledged:
    """What a dead process had acknowledged beyond what was read; a torn last line was not."""
    assert process.stdout is not None
    lines = [line for line in process.stdout if line.endswith("\n")]
    return [(act, task_id) for act, task_id in (line.split() for line in lines)]


def lost(acknowledged: Acknowledged, node: Node) -> Acknowledged:
    """Acknowledgements that the store does not bear out."""
    states = {task.id: task.state for task in node.store.list()}
    return [
        (act, task_id)
        for act, task_id in acknowledged
        if task_id not in states or (act == "end" and states[task_id] is not TaskState.ENDED)
    ]


def must_be_sound(file: Path) -> None:
    """SQLite finds no fault with the file, and its change log is without a gap."""
    with foreign(file) as connection:
        assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        (rows, newest), *_ = connection.execute("SELECT count(*), max(seq) FROM change").fetchall()
        assert rows == newest


@pytest.fixture(name="file")
def _file() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder / "tasks.db"


def test_a_writer_killed_at_any_moment_loses_nothing_acknowledged(file: Path) -> None:
    """Twenty writers, four at once, are killed in full career: every acknowledged task is there, every end holds."""
    acknowledged: Acknowledged = []
    chance = random.Random(20)  # noqa: S311  moments to kill at
    with node_on(file) as connected:
        for _ in range(ROUNDS):
            with contextlib.ExitStack() as running:
                processes = [running.enter_context(writer(file, "busy")) for _ in range(WRITERS_AT_ONCE)]
                begin(*processes)
                acknowledged += [said(process) for process in processes]
                for process in processes:
                    time.sleep(chance.uniform(0, 0.05))
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    connected.store.peek()
                acknowledged += [each for process in processes for each in rest(process)]
            assert lost(acknowledged, connected) == []
        assert failures(connected) == 0
    must_be_sound(file)
    with node_on(file) as fresh:
        assert lost(acknowledged, fresh) == []
    assert len(acknowledged) > ROUNDS * WRITERS_AT_ONCE


def test_a_writer_killed_within_a_transaction_leaves_nothing_of_it(file: Path) -> None:
    """What was not committed is gone, and the next writer need not wait for the dead."""
    with node_on(file) as node:
        task = kept(node)
        with writer(file, "inside") as process:
            assert said(process) == ("inside", "")
            assert task == node.finds(task.id)
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert task == node.finds(task.id)
        assert task == node.store.get(task.id)
        node.store.end(task.id)
        assert node.remembers(task.id) is None
    must_be_sound(file)


def test_a_writer_that_stops_within_a_transaction_holds_up_writers_for_a_time_and_readers_never(file: Path) -> None:
    """Against a frozen writer, writes are unavailable after the declared time; checks go on, and are not stale."""
    with node_on(file, write_timeout_seconds=0.1) as node:
        task, unread = kept(node), make_task()
        node.store.put(unread)
        with writer(file, "inside") as process:
            assert said(process) == ("inside", "")
            process.send_signal(signal.SIGSTOP)
            with pytest.raises(Unavailable, match="another process has been writing"):
                node.store.end(task.id)
            before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            assert task == node.finds(task.id)
            assert unread == node.finds(unread.id)
            assert node.memory.as_of_ns >= before_ns


def test_processes_write_at_once_and_nothing_is_lost(file: Path) -> None:
    """Two other processes and this one write at the same time: all that was acknowledged is kept, in one log."""
    with node_on(file) as node, writer(file, "busy") as first, writer(file, "busy") as second:
        begin(first, second)
        acknowledged = [said(first), said(second)]
        for _ in range(100):
            task = make_task()
            node.store.put(task)
            acknowledged.append(("put", task.id))
        os.kill(first.pid, signal.SIGKILL)
        os.kill(second.pid, signal.SIGKILL)
        acknowledged += rest(first) + rest(second)
        assert lost(acknowledged, node) == []
    must_be_sound(file)


def test_an_end_by_another_process_is_seen_at_the_very_next_check(file: Path) -> None:
    """Of 300 tasks ended by another process, none is still live at the first check after the acknowledgement."""
    with node_on(file) as node, writer(file, "end") as process:
        misses = 0
        assert process.stdin is not None
        for _ in range(ENDS_BY_ANOTHER_PROCESS):
            task = kept(node)
            print(task.id, file=process.stdin, flush=True)
            assert said(process) == ("end", task.id)
            misses += node.remembers(task.id) is not None
        process.stdin.close()
        process.wait()
    assert misses == 0
