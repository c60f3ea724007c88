"""The embedded store: what was missed is never taken for nothing."""

from pathlib import Path

import pytest

from authz.core.acts import NoSuchTask
from authz.core.reasons import Reason
from authz.tasks import sqlite
from authz.tasks.sqlite import SqliteTasks
from tests.tasks.nodes import foreign, kept, make_task, node_on


def test_a_gap_forgets_everything(file: Path) -> None:
    """Where a row of the log is missing, any task may have changed, so all are read anew."""
    with node_on(file) as here, node_on(file) as there:
        task, other = kept(here), make_task()
        there.put(other)
        there.end(task.id)
        there.put(make_task())
        with foreign(file) as connection:
            connection.execute(
                "DELETE FROM change WHERE seq = (SELECT max(seq) FROM change WHERE task = ?)", (task.id,)
            )
        assert here.remembers(task.id) is None


def test_the_log_is_trimmed(file: Path) -> None:
    """The log holds the declared number of newest changes, however many there were."""
    with node_on(file, changes_kept=5) as node:
        for _ in range(20):
            node.put(make_task())
        with foreign(file) as connection:
            rows = connection.execute("SELECT seq FROM change ORDER BY seq").fetchall()
    assert rows == [(17,), (18,), (19,), (20,), (21,)]


@pytest.mark.parametrize("changes", [3, 4, 5, 6, 20])
def test_a_log_that_was_trimmed_beyond_us_forgets_everything(file: Path, changes: int) -> None:
    """A node that was away while the log was trimmed past its place still sees that a task has ended."""
    with node_on(file) as here, node_on(file, changes_kept=4) as there:
        task = kept(here)
        there.end(task.id)
        for _ in range(changes):
            there.put(make_task())
        assert here.remembers(task.id) is None


def test_many_changes_at_once_forget_everything(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a bound, catching up takes no longer: memory is emptied, and what has changed is never kept."""
    monkeypatch.setattr(sqlite, "CHANGES_APPLIED_AT_ONCE", 10)
    with node_on(file) as here, node_on(file) as there:
        for changes, expected in ((10, True), (11, False)):
            bystander = kept(here)
            for _ in range(changes):
                there.put(make_task())
            assert expected == (here.remembers(bystander.id) == bystander)


def test_a_row_that_names_no_task_means_everything(file: Path) -> None:
    """A bulk change says so in one row, and every task is read anew."""
    with node_on(file) as node:
        task = kept(node)
        with foreign(file) as connection:
            connection.execute("INSERT INTO change (task) VALUES ('')")
        assert node.remembers(task.id) is None


@pytest.mark.parametrize("more", [0, 1, 2, 5])
def test_a_backup_restored_in_place_forgets_everything(file: Path, tmp_path: Path, more: int) -> None:
    """A log that goes back, or tells another story from some place on, is not taken for the one we know."""
    backup_file = tmp_path / "backup.db"
    with node_on(file) as node:
        early = kept(node)
        with foreign(file) as live, foreign(backup_file) as backup:
            live.backup(backup)
        node.end(early.id)
        late = kept(node)
        node.finds(early.id)
        with foreign(backup_file) as backup:
            backup.executemany("INSERT INTO change (task) VALUES (?)", [("another-task",)] * more)
            with foreign(file) as live:
                backup.backup(live)
        assert node.remembers(late.id) is None
        assert node.finds(late.id) is Reason.TASK_UNKNOWN
        assert early == node.finds(early.id)


def test_a_refused_write_leaves_no_news(file: Path) -> None:
    """A put that is refused and an end of nothing write neither task nor change."""
    with node_on(file) as node:
        task = kept(node)
        with foreign(file) as connection:
            before = connection.execute("SELECT * FROM change").fetchall()
            with pytest.raises(ValueError, match=task.id):
                node.put(task)
            with pytest.raises(NoSuchTask):
                node.end("no-such-task")
            assert before == connection.execute("SELECT * FROM change").fetchall()


def test_a_change_during_a_peek_is_found_by_the_next(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is committed between the reading of the log and the end of the peek is not taken for known."""
    with node_on(file) as here, node_on(file) as there:
        task = kept(here)
        assert isinstance(here.store, SqliteTasks)
        catch_up = here.store._catch_up

        def catch_up_and_end() -> None:
            catch_up()
            there.end(task.id)

        there.put(make_task())
        with monkeypatch.context() as patched:
            patched.setattr(here.store, "_catch_up", catch_up_and_end)
            here.store.peek()
        assert here.remembers(task.id) is None
