"""Acts for Valkey: in goes an act, out comes the script that does it, with its arguments."""

import json
from typing import assert_never

from authz.core.acts import Act, Approve, Ask, End, Proceed, Put, Reject, Resume, Suspend
from authz.core.approval import MAX_REQUESTS
from authz.core.task import TaskState
from authz.tasks import valkey_scripts as scripts
from authz.tasks.records import StoredTask, facts_rows
from authz.tasks.requests import request_document
from authz.tasks.sqlite_acts import must_be_an_id

Call = tuple[str, list[str | bytes | int]]
"""A script, and its arguments."""


def call_of(act: Act) -> Call:  # noqa: PLR0911  one line an act
    """The script that does the act, with its arguments; raises NoSuchTask for what is no id, and NotARecord."""
    match act:
        case Put(task):
            stored, cap = StoredTask.of(task), task.budget_hops
            values: list[str | bytes | int] = [
                stored.id,
                stored.state,
                int(stored.is_suspended),
                stored.expires_ms,
                stored.transaction,
            ]
            return scripts.PUT, [*values, stored.record, 0 if cap is None else cap]
        case End(task_id):
            return scripts.END, [_id(task_id), int(TaskState.ENDED)]
        case Suspend(task_id):
            return scripts.SUSPEND, [_id(task_id), 1]
        case Resume(task_id):
            return scripts.SUSPEND, [_id(task_id), 0]
        case Ask(request):
            return scripts.ASK, [_id(request.task_id), request.digest, request_document(request), MAX_REQUESTS]
        case Approve(task_id, approval):
            expires_ms = round(approval.expires_unix_seconds * 1000)
            kept = json.dumps([approval.digest, approval.kind, approval.approver, expires_ms])
            return scripts.APPROVE, [_id(task_id), approval.digest, approval.id, kept]
        case Reject(task_id, digest):
            return scripts.REJECT, [_id(task_id), digest]
        case Proceed():
            return _proceed(act)
        case _:
            assert_never(act)


def touched_by(act: Act) -> set[str]:
    """The tasks on whose state the act depends: what stood against it is in one of them."""
    match act:
        case Put(task):
            return chain_of(task.id)
        case Ask(request):
            return {request.task_id}
        case Proceed():
            return chain_of(act.task_id) | act.spends
        case _:
            return {act.task_id}


def chain_of(task_id: str) -> set[str]:
    """The task and those that it was delegated from."""
    chain = set[str]()
    while task_id:
        chain.add(task_id)
        task_id = task_id.rpartition(".")[0]
    return chain


def _id(task_id: str) -> str:
    must_be_an_id(task_id)
    return task_id


def _proceed(act: Proceed) -> Call:
    task_id, facts = _id(act.task_id), act.facts
    spends, approvals = sorted(act.spends), sorted(act.approvals)
    marks = [int(facts.high_water), int(facts.untrusted_input), round(act.active_unix_seconds * 1000)]
    seen = [f"f:{kind}:{value}" for kind, value in facts_rows(facts)]
    root_id = task_id.partition(".")[0]
    head: list[str | bytes | int] = [task_id, root_id, act.hop_key, *marks, len(spends), len(approvals)]
    return scripts.PROCEED, [*head, *spends, *approvals, *seen]
