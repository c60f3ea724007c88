"""What the embedded store reads: in goes a connection, out come rows in the forms that the room shares."""

import json
import sqlite3
from typing import Any

from authz.tasks.records import NotARecord, StoredApproval, StoredTask

Change = tuple[int, str]
"""A row of the change log: its place, and the task."""

# One statement, so that all of a task is of one moment. Texts come as bytes: what is not UTF-8 is a malformed record,
# not an error of the database.
TASK = """
    SELECT id, state, expires_ms, CAST(txn AS BLOB), CAST(record AS BLOB), suspended, high_water, untrusted, active_ms,
        spent, last_hop,
        (SELECT CAST(json_group_array(json_array(kind, value)) AS BLOB) FROM seen WHERE seen.task = task.id),
        (SELECT CAST(json_group_array(json_array(digest, rejected)) AS BLOB) FROM request WHERE request.task = task.id),
        (SELECT CAST(json_group_array(json_array(id, digest, kind, approver, expires_ms, hop)) AS BLOB)
            FROM approval WHERE approval.task = task.id)
    FROM task
"""


def stored_task(row: tuple[Any, ...]) -> StoredTask:
    """The task that a row of TASK holds; raises NotARecord."""
    (id, state, expires_ms, txn, record, suspended, high_water, untrusted, active_ms, spent, last_hop, *lists) = row
    try:
        seen, requests, approvals = (json.loads(each) for each in lists)
        return StoredTask(
            id=id,
            state=state,
            expires_ms=expires_ms,
            transaction=txn.decode(),
            record=record,
            is_suspended=bool(suspended),
            high_water=high_water,
            untrusted_input=bool(untrusted),
            active_ms=active_ms,
            spent_hops=spent,
            last_hop_key=last_hop,
            seen=[(kind, value) for kind, value in seen],
            requests=[(digest, rejected) for digest, rejected in requests],
            approvals=[StoredApproval(*each) for each in approvals],
        )
    except (ValueError, TypeError) as error:
        raise NotARecord(f"what belongs to the task cannot be read: {error}") from error


def request_documents(connection: sqlite3.Connection, task_id: str) -> list[bytes]:
    """The access requests of a task in their stored form, oldest first."""
    rows = connection.execute(
        "SELECT CAST(document AS BLOB) FROM request WHERE task = ? ORDER BY place", (task_id,)
    ).fetchall()
    return [document for (document,) in rows]


def newest_change(connection: sqlite3.Connection) -> Change:
    """The last row of the change log; raises sqlite3.DataError where the log is empty, as it never is."""
    rows: list[Change] = connection.execute("SELECT seq, task FROM change ORDER BY seq DESC LIMIT 1").fetchall()
    if not rows:
        raise sqlite3.DataError("the change log is empty")
    return rows[0]
