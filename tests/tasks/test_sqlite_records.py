"""The embedded store: one unreadable record is one task's trouble."""

from pathlib import Path

import pytest

from authz.core.errors import Unavailable
from authz.core.reasons import Reason
from authz.core.task import TaskState
from tests.tasks.nodes import foreign, kept, make_task, node_on


@pytest.mark.parametrize(
    "damage",
    [
        "record = '{'",
        "record = '[]'",
        "record = ''",
        "record = json_set(record, '$.owner', 7)",
        "record = json_set(record, '$.approver', 'mallory')",
        "record = json_remove(record, '$.ceiling')",
        "record = json_set(record, '$.ceiling', 'top secret')",
        "record = json_set(record, '$.agents', json('[\"spiffe://Example.org/agent\"]'))",
        "record = json_set(record, '$.grants', json('[\"everything\"]'))",
        "record = CAST(x'7bff7d' AS TEXT)",
        "state = 7",
        "state = -1",
        "expires_ms = -1",
        "expires_ms = 9223372036854775807",
    ],
)
def test_a_damaged_record_denies_its_task_only(file: Path, caplog: pytest.LogCaptureFixture, damage: str) -> None:
    """A record that cannot be read is refused as such, never raised; other tasks go on; people are told which."""
    with node_on(file) as node:
        healthy, damaged = kept(node), make_task()
        node.put(damaged)
        with foreign(file) as connection:
            connection.execute(f"UPDATE task SET {damage} WHERE id = ?", (damaged.id,))  # noqa: S608  texts of this test
        assert node.finds(damaged.id) is Reason.TASK_RECORD_MALFORMED
        assert healthy == node.finds(healthy.id)
        with pytest.raises(Unavailable, match=damaged.id):
            node.get(damaged.id)
        assert [healthy] == node.list()
        assert damaged.id in caplog.text


def test_a_damaged_record_can_be_ended(file: Path) -> None:
    """Ending does not need the record, so what nobody can read can still be made harmless for good."""
    with node_on(file) as node:
        task = kept(node)
        with foreign(file) as connection:
            connection.execute("UPDATE task SET record = json_set(record, '$.owner', 7)")
        node.end(task.id)
        assert node.finds(task.id) is Reason.TASK_RECORD_MALFORMED
        with foreign(file) as connection:
            connection.execute("UPDATE task SET record = json_set(record, '$.owner', 'alice')")
            assert connection.execute("SELECT state FROM task").fetchone() == (TaskState.ENDED,)


def test_an_end_never_takes_a_state_back(file: Path) -> None:
    """A state that a later version has given, beyond ended, stays as it is when the task is ended here."""
    with node_on(file) as node, foreign(file) as connection:
        task = kept(node)
        connection.execute("UPDATE task SET state = 7")
        node.end(task.id)
        assert connection.execute("SELECT state FROM task").fetchall() == [(7,)]


def test_tasks_behind_a_page_of_damaged_ones_are_listed(file: Path) -> None:
    """However many records in a row cannot be read, those behind them are listed."""
    with node_on(file) as node:
        tasks = sorted((kept(node) for _ in range(5)), key=lambda task: task.id)
        with foreign(file) as connection:
            for task in tasks[:4]:
                connection.execute("UPDATE task SET record = '{}' WHERE id = ?", (task.id,))
        assert node.list() == tasks[4:]
