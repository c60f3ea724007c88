"""The embedded store: sQLite goes on reading a file that is gone from its path; a node does not."""

from pathlib import Path

import pytest

from authz.core.errors import Unavailable
from authz.core.reasons import Reason
from authz.tasks import sqlite
from tests.tasks.nodes import failures, foreign, kept, make_task, node_on, open_files, remove


def test_a_deleted_file_makes_knowledge_old(file: Path) -> None:
    """When the file is gone the age of our knowledge stands still, and reading and writing are unavailable."""
    with node_on(file) as node:
        task = kept(node)
        as_of_ns = node.memory.as_of_ns
        remove(file)
        node.store.peek()
        assert (as_of_ns, 1) == (node.memory.as_of_ns, failures(node))
        with pytest.raises(Unavailable):
            node.fetch(task.id)
        with pytest.raises(Unavailable):
            node.put(make_task())
        assert not file.exists()


def test_a_deleted_file_is_noticed_within_a_second(file: Path) -> None:
    """As configured by default, knowledge stops to be renewed at most a second after the file is gone."""
    with node_on(file, file_check_seconds=sqlite.FILE_CHECK_SECONDS) as node:
        node.store.peek()
        remove(file)
        latest_ns = node.memory.as_of_ns + int(sqlite.FILE_CHECK_SECONDS * 1e9)
        while not failures(node):
            node.store.peek()
        assert node.memory.as_of_ns <= latest_ns


def test_a_new_file_at_the_path_is_followed(file: Path) -> None:
    """When another process makes a new store there, its tasks are found, and nothing of the old one is remembered."""
    with node_on(file) as here:
        old = kept(here)
        remove(file)
        here.store.peek()
        with node_on(file) as there:
            new = kept(there)
            assert new == here.finds(new.id)
            assert here.finds(old.id) is Reason.TASK_UNKNOWN
            there.end(new.id)
            assert here.remembers(new.id) is None


def test_a_new_file_in_the_same_state_is_another_file(file: Path, tmp_path: Path) -> None:
    """What was remembered of the old file is forgotten even where both have seen equally many changes."""
    with node_on(file) as node:
        old = kept(node)
    with node_on(tmp_path / "other.db") as node:
        kept(node)
    with node_on(file) as node:
        assert old == node.finds(old.id)
        remove(file)
        (tmp_path / "other.db").rename(file)
        assert node.remembers(old.id) is None


def test_a_fetch_that_finds_no_file_makes_knowledge_old_at_once(file: Path) -> None:
    """Once a fetch has found the file gone, no peek renews our knowledge, although the next look is not due."""
    with node_on(file, file_check_seconds=3600) as node:
        task = kept(node)
        as_of_ns = node.memory.as_of_ns
        remove(file)
        with pytest.raises(Unavailable):
            node.fetch(task.id)
        node.store.peek()
        assert (as_of_ns, 1) == (node.memory.as_of_ns, failures(node))


def test_a_fetch_notices_a_new_file_before_a_peek_does(file: Path, tmp_path: Path) -> None:
    """No task of the old file enters memory once there is another at the path."""
    with node_on(file, file_check_seconds=3600) as here:
        here.store.peek()
        old = make_task()
        here.put(old)
        with node_on(tmp_path / "other.db") as there:
            new = kept(there)
        remove(file)
        (tmp_path / "other.db").rename(file)
        assert here.finds(old.id) is Reason.TASK_UNKNOWN
        assert new == here.finds(new.id)


def test_writes_go_to_the_file_at_the_path(file: Path) -> None:
    """What is acknowledged after a replacement is in the new file, for everyone to see."""
    with node_on(file) as here:
        kept(here)
        remove(file)
        with node_on(file) as there:
            task = make_task()
            here.put(task)
            assert [task] == there.list()
            assert task == there.finds(task.id)


def test_a_file_put_beside_the_old_ones_log_is_not_read(file: Path, tmp_path: Path) -> None:
    """A backup moved over the database alone would be read together with the old log's pages: it is not read."""
    other = tmp_path / "other.db"
    with node_on(other) as node:
        task = kept(node)
    with node_on(file) as node:
        kept(node)
        as_of_ns = node.memory.as_of_ns
        other.rename(file)
        node.store.peek()
        assert (as_of_ns, 1) == (node.memory.as_of_ns, failures(node))
        with pytest.raises(Unavailable, match="write-ahead log"):
            node.fetch(task.id)
        with pytest.raises(Unavailable, match="write-ahead log"):
            node.end(task.id)
        for suffix in ("-wal", "-shm"):
            Path(f"{file}{suffix}").unlink()
        assert task == node.finds(task.id)


def test_a_file_that_is_no_store_is_not_followed(file: Path) -> None:
    """Whatever else stands at the path, knowledge grows old until a task store does."""
    with node_on(file) as node:
        kept(node)
        as_of_ns = node.memory.as_of_ns
        remove(file)
        file.write_text("owner: alice\n" * 1000)
        node.store.peek()
        file.unlink()
        with foreign(file) as connection:
            connection.execute("CREATE TABLE bookmark (url TEXT)")
        node.store.peek()
        assert (as_of_ns, 2) == (node.memory.as_of_ns, failures(node))


@pytest.mark.parametrize("pragma", ["user_version = 99", "application_id = 7"])
def test_a_store_of_a_later_version_is_not_followed(file: Path, tmp_path: Path, pragma: str) -> None:
    """A file that would be refused at the start is refused under way too, though it looks like a store."""
    other = tmp_path / "other.db"
    with node_on(other) as node:
        kept(node)
    with foreign(other) as connection:
        connection.execute(f"PRAGMA {pragma}")
    with node_on(file) as node:
        task = kept(node)
        as_of_ns = node.memory.as_of_ns
        remove(file)
        other.rename(file)
        node.store.peek()
        assert (as_of_ns, 1) == (node.memory.as_of_ns, failures(node))
        with pytest.raises(Unavailable, match=r"schema version|not a task store"):
            node.end(task.id)


def test_a_replaced_file_is_let_go(file: Path, tmp_path: Path) -> None:
    """However often the file is replaced, no old one stays open."""
    with node_on(file) as here:
        kept(here)
        before = open_files()
        for _ in range(3):
            with node_on(tmp_path / "other.db") as there:
                new = kept(there)
            remove(file)
            (tmp_path / "other.db").rename(file)
            assert new == here.finds(new.id)
            assert [new] == here.list()
        assert before == open_files()
