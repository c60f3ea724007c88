"""The embedded store: what cannot be read makes knowledge old; what cannot be written is not acknowledged."""

import asyncio
import contextlib
import logging
import threading
from pathlib import Path

import pytest

from authz.core.acts import Put
from authz.core.errors import Unavailable
from authz.core.memory import NEVER_NS
from authz.core.reasons import Reason
from authz.core.task import Task
from authz.tasks.sqlite import SqliteTasks
from tests.tasks.nodes import failures, foreign, kept, make_task, node_on


def test_a_peek_at_a_closed_store_is_counted(file: Path) -> None:
    """A peek never raises: it leaves the age of what we know as it was, and counts."""
    with node_on(file) as node:
        node.runner.run(node.store.close())
        node.store.peek()
        assert (node.memory.as_of_ns, failures(node)) == (NEVER_NS, 1)


def test_a_log_that_cannot_be_read_makes_knowledge_old(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While the store cannot be read the age stands still; each outage is told once."""
    with node_on(file) as node:
        task = kept(node)
        as_of_ns = node.memory.as_of_ns
        with foreign(file) as connection:
            connection.execute("ALTER TABLE change RENAME TO hidden")
            for _ in range(3):
                node.store.peek()
            assert (as_of_ns, 3) == (node.memory.as_of_ns, failures(node))
            connection.execute("ALTER TABLE hidden RENAME TO change")
            assert task == node.finds(task.id)
            assert node.memory.as_of_ns > as_of_ns
            connection.execute("ALTER TABLE change RENAME TO hidden")
            node.store.peek()
        assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2


def test_reading_a_store_that_fails_is_unavailable(file: Path) -> None:
    """Every call but peek says that the store does not answer, and for which file."""
    with node_on(file) as node:
        task = kept(node)
        with foreign(file) as connection:
            connection.execute("ALTER TABLE task RENAME TO hidden")
        for call in (
            lambda: node.fetch(task.id),
            lambda: node.put(make_task()),
            lambda: node.end(task.id),
            lambda: node.get(task.id),
            node.list,
        ):
            with pytest.raises(Unavailable, match=r"tasks\.db"):
                call()


def test_readers_do_not_wait_for_a_writer(file: Path) -> None:
    """While another transaction is open, peeks and fetches answer from what is committed."""
    with node_on(file) as node:
        task, unread = kept(node), make_task()
        node.put(unread)
        with foreign(file) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("UPDATE task SET state = 1")
            assert task == node.finds(task.id)
            assert unread == node.finds(unread.id)
            connection.execute("ROLLBACK")
        assert failures(node) == 0


def test_a_foreign_writer_that_never_ends_is_unavailable(file: Path) -> None:
    """A write waits no longer than declared for another program's transaction, and is then not acknowledged."""
    with node_on(file, write_timeout_seconds=0.05) as node:
        task = kept(node)
        with foreign(file) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable, match="locked"):
                node.end(task.id)
            connection.execute("ROLLBACK")
        assert node.get(task.id) == task


def test_a_full_disk_stops_writes_alone(file: Path) -> None:
    """When the file cannot grow a put is not acknowledged and not kept; checks of known tasks go on."""
    with node_on(file) as node:
        task = kept(node)
        assert isinstance(node.store, SqliteTasks)
        with node.store._writer.reading() as connection:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count={pages}").fetchall()
        refused = []
        for _ in range(50):
            another = make_task()
            try:
                node.put(another)
            except Unavailable:
                refused.append(another)
        assert refused
        assert [Reason.TASK_UNKNOWN] * len(refused) == [node.finds(another.id) for another in refused]
        assert task == node.finds(task.id)


def test_threads_take_turns_to_write(file: Path) -> None:
    """Puts of four threads through one store are all kept, each with its own change."""
    with node_on(file) as node:
        tasks = [make_task() for _ in range(40)]

        def put_all(mine: list[Task]) -> None:
            for task in mine:
                asyncio.run(node.store.do(Put(task)))

        threads = [threading.Thread(target=put_all, args=(tasks[first::4],)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {task.id for task in tasks} == {task.id for task in node.list()}
        with foreign(file) as connection:
            rows = connection.execute("SELECT count(*), max(seq) FROM change").fetchall()
        assert rows == [(41, 41)]


def test_a_thread_that_looks_never_sees_what_is_not_committed(file: Path) -> None:
    """A list that is asked for while another thread writes shows nothing of a write that fails in the end."""
    with node_on(file) as node:
        task = kept(node)
        assert isinstance(node.store, SqliteTasks)
        listed: list[Task] = []
        looking = threading.Thread(target=lambda: listed.extend(asyncio.run(node.store.list("", 10))))
        with contextlib.suppress(KeyError), node.store._writer.transaction() as connection:
            connection.execute("DELETE FROM task")
            looking.start()
            looking.join(timeout=0.1)
            raise KeyError(task.id)
        looking.join()
        assert [task] == listed
