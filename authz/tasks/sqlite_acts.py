"""Acts in SQL: each is a few statements in a transaction that its caller begins, commits, and takes back.

In goes a connection and an act; out come the ids of the tasks that it changed, or NoSuchTask, Conflict or NotARecord.
"""

import sqlite3
import time
from typing import assert_never

from authz.core.acts import Act, Approve, Ask, Conflict, End, NoSuchTask, Proceed, Put, Reject, Resume, Suspend
from authz.core.approval import MAX_REQUESTS, AccessRequest
from authz.core.task import TaskState
from authz.tasks.ids import must_be_an_id
from authz.tasks.records import StoredTask, facts_rows
from authz.tasks.requests import request_document


def perform(connection: sqlite3.Connection, act: Act) -> list[str]:  # noqa: PLR0911  one line an act
    """Do the act within the transaction that is open; returns the tasks that others must read anew."""
    match act:
        case Put(task):
            return _put(connection, StoredTask.of(task))
        case End(task_id):
            # max, so that no order of two ends, and no state of a later version, ever makes a task live again.
            return _update(connection, task_id, "state = max(state, ?)", int(TaskState.ENDED))
        case Suspend(task_id):
            return _update(connection, task_id, "suspended = ?", 1)
        case Resume(task_id):
            return _update(connection, task_id, "suspended = ?", 0)
        case Ask(request):
            return _ask(connection, request)
        case Approve():
            return _approve(connection, act)
        case Reject(task_id, digest):
            return _reject(connection, task_id, digest)
        case Proceed():
            return _proceed(connection, act)
        case _:
            assert_never(act)


def purge(connection: sqlite3.Connection, expired_before_ms: int, most: int) -> list[str]:
    """Delete so many tasks, with all that belongs to them, that expired before then."""
    rows = connection.execute(
        "DELETE FROM task WHERE id IN (SELECT id FROM task WHERE expires_ms < ? ORDER BY expires_ms LIMIT ?) "
        "RETURNING id",
        (expired_before_ms, most),
    ).fetchall()
    return [task_id for (task_id,) in rows]


def _put(connection: sqlite3.Connection, stored: StoredTask) -> list[str]:
    parent_id = stored.id.rpartition(".")[0]
    if parent_id:
        _must_be_live(connection, parent_id)
    inserted = connection.execute(
        "INSERT INTO task (id, state, suspended, expires_ms, txn, record) VALUES (?, ?, ?, ?, ?, CAST(? AS TEXT)) "
        "ON CONFLICT DO NOTHING",
        (stored.id, stored.state, stored.is_suspended, stored.expires_ms, stored.transaction, stored.record),
    )
    if not inserted.rowcount:
        raise Conflict(f"there is a task {stored.id} already, or one of its transaction")
    return [stored.id]


def _must_be_live(connection: sqlite3.Connection, task_id: str) -> None:
    """Nothing is delegated by a task that ended while the delegation was on its way; raises Conflict."""
    while task_id:
        rows = connection.execute("SELECT state, suspended FROM task WHERE id = ?", (task_id,)).fetchall()
        if rows != [(int(TaskState.ACTIVE), 0)]:
            raise Conflict(f"the task {task_id} is not live")
        task_id = task_id.rpartition(".")[0]


def _update(connection: sqlite3.Connection, task_id: str, assignment: str, value: object) -> list[str]:
    must_be_an_id(task_id)
    updated = connection.execute(f"UPDATE task SET {assignment} WHERE id = ?", (value, task_id))  # noqa: S608  our own
    if not updated.rowcount:
        raise NoSuchTask(task_id)
    return [task_id]


def _must_exist(connection: sqlite3.Connection, task_id: str) -> None:
    must_be_an_id(task_id)
    if not connection.execute("SELECT 1 FROM task WHERE id = ?", (task_id,)).fetchall():
        raise NoSuchTask(task_id)


def _ask(connection: sqlite3.Connection, request: AccessRequest) -> list[str]:
    _must_exist(connection, request.task_id)
    [(count,)] = connection.execute("SELECT count(*) FROM request WHERE task = ?", (request.task_id,)).fetchall()
    inserted = connection.execute(
        "INSERT INTO request (task, digest, document, place) SELECT ?1, ?2, ?3, ?4 WHERE ?4 < ?5 "
        "ON CONFLICT DO NOTHING",
        (request.task_id, request.digest, request_document(request), count, MAX_REQUESTS),
    )
    if not inserted.rowcount and not _has_request(connection, request.task_id, request.digest):
        raise Conflict(f"the task {request.task_id} has {count} access requests")
    return [request.task_id] if inserted.rowcount else []


def _has_request(connection: sqlite3.Connection, task_id: str, digest: str) -> bool:
    return bool(connection.execute("SELECT 1 FROM request WHERE task = ? AND digest = ?", (task_id, digest)).fetchall())


def _approve(connection: sqlite3.Connection, act: Approve) -> list[str]:
    _must_exist(connection, act.task_id)
    approval = act.approval
    rows = connection.execute(
        "SELECT rejected FROM request WHERE task = ? AND digest = ?", (act.task_id, approval.digest)
    ).fetchall()
    if rows != [(0,)]:
        raise Conflict(f"{act.task_id} has no open access request {approval.digest}")
    connection.execute(
        "INSERT INTO approval (task, id, digest, kind, approver, expires_ms) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT DO NOTHING",
        (
            act.task_id,
            approval.id,
            approval.digest,
            approval.kind,
            approval.approver,
            round(approval.expires_unix_seconds * 1000),
        ),
    )
    return [act.task_id]


def _reject(connection: sqlite3.Connection, task_id: str, digest: str) -> list[str]:
    _must_exist(connection, task_id)
    updated = connection.execute("UPDATE request SET rejected = 1 WHERE task = ? AND digest = ?", (task_id, digest))
    if not updated.rowcount:
        raise Conflict(f"{task_id} has no access request {digest}")
    connection.execute("DELETE FROM approval WHERE task = ? AND digest = ? AND hop = ''", (task_id, digest))
    return [task_id]


def _proceed(connection: sqlite3.Connection, act: Proceed) -> list[str]:
    _must_exist(connection, act.task_id)
    changed = [task_id for task_id in sorted(act.spends) if _spend(connection, task_id, act.hop_key)]
    if sum([_use(connection, act, approval) for approval in sorted(act.approvals)]):
        changed.append(act.task_id)
    root_id = act.task_id.partition(".")[0]
    if _grow(connection, root_id, act):
        changed.append(root_id)
    return list(dict.fromkeys(changed))


def _spend(connection: sqlite3.Connection, task_id: str, hop_key: str) -> bool:
    """One hop of the task's budget; False where this very hop was paid for before. The cap stands in the record."""
    inserted = connection.execute(
        "INSERT INTO spend (task, hop) VALUES (?, ?) ON CONFLICT DO NOTHING", (task_id, hop_key)
    )
    if not inserted.rowcount:
        return False
    paid = connection.execute(
        "UPDATE task SET spent = spent + 1, last_hop = ?1 "
        "WHERE id = ?2 AND spent < ifnull(json_extract(record, '$.budget_hops'), 0)",
        (hop_key, task_id),
    )
    if not paid.rowcount:
        raise Conflict(f"the budget of {task_id} is used up")
    return True


def _use(connection: sqlite3.Connection, act: Proceed, approval_id: str) -> bool:
    rows = connection.execute(
        "SELECT hop, expires_ms FROM approval WHERE task = ? AND id = ?", (act.task_id, approval_id)
    ).fetchall()
    if not rows or rows[0][0] not in ("", act.hop_key):
        raise Conflict(f"the approval {approval_id} is gone, or was spent by another hop")
    if rows[0][0] == act.hop_key:
        return False
    if rows[0][1] <= time.time() * 1000:
        raise Conflict(f"the approval {approval_id} has expired")
    connection.execute("UPDATE approval SET hop = ? WHERE task = ? AND id = ?", (act.hop_key, act.task_id, approval_id))
    return True


def _grow(connection: sqlite3.Connection, root_id: str, act: Proceed) -> bool:
    facts, active_ms = act.facts, round(act.active_unix_seconds * 1000)
    grown = connection.execute(
        "UPDATE task SET high_water = max(high_water, ?1), untrusted = max(untrusted, ?2), "
        "active_ms = max(active_ms, ?3) WHERE id = ?4 AND (high_water < ?1 OR untrusted < ?2 OR active_ms < ?3)",
        (int(facts.high_water), int(facts.untrusted_input), active_ms, root_id),
    ).rowcount
    for kind, value in facts_rows(facts):
        grown += connection.execute(
            "INSERT INTO seen (task, kind, value) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (root_id, kind, value)
        ).rowcount
    return grown > 0
