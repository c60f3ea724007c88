"""Acts as calls of scripts: in goes an act, out come the script, its keys and its arguments."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from authz.core.acts import Act, Approve, Ask, End, Proceed, Put, Reject, Resume, Suspend
from authz.core.approval import MAX_REQUESTS
from authz.core.task import TaskState
from authz.tasks.ids import must_be_an_id
from authz.tasks.records import StoredTask, facts_rows
from authz.tasks.requests import request_document
from authz.tasks.valkey_rows import Keys, approval_content, put_fields, seen_field
from authz.tasks.valkey_scripts import APPROVE, ASK, PROCEED, PURGE, PUT, REJECT, SET


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a script."""

    script: str
    about: str  # the task, for messages
    keys: Sequence[str]
    arguments: Sequence[str | bytes | int]
    touches: frozenset[str]  # what it may change, or what may stand against it


def calls_of(act: Act, keys: Keys) -> Call:  # noqa: PLR0911  one line an act
    """The call that does the act; raises NoSuchTask for what is no id, and NotARecord for what cannot be kept."""
    match act:
        case Put(task):
            return _put(StoredTask.of(task), keys)
        case End(task_id):
            return _call(SET, task_id, keys, (keys.facts(task_id),), ("state", int(TaskState.ENDED)))
        case Suspend(task_id):
            return _call(SET, task_id, keys, (keys.facts(task_id),), ("suspended", 1))
        case Resume(task_id):
            return _call(SET, task_id, keys, (keys.facts(task_id),), ("suspended", 0))
        case Ask(request):
            its_keys = (keys.facts(request.task_id), keys.requests(request.task_id))
            asked = (request.digest, request_document(request), MAX_REQUESTS)
            return _call(ASK, request.task_id, keys, its_keys, asked)
        case Approve(task_id, approval):
            arguments = (approval.digest, approval.id, approval_content(approval))
            return _call(APPROVE, task_id, keys, _of_requests(task_id, keys), arguments)
        case Reject(task_id, digest):
            return _call(REJECT, task_id, keys, _of_requests(task_id, keys), (digest,))
        case Proceed():
            return _proceed(act, keys)
        case _:
            assert_never(act)


def purge_call(keys: Keys, before_ms: int, task_ids: Sequence[str], transactions: Sequence[str]) -> Call:
    """The call that deletes those of the tasks that expired before then, with all that belongs to them."""
    its_keys = [keys.ids, keys.expiries]
    for task_id, transaction in zip(task_ids, transactions, strict=True):
        its_keys += keys.read([task_id])
        its_keys += [keys.paid(task_id), keys.transaction(transaction)]
    return Call(
        PURGE,
        "expired tasks",
        [keys.counter, keys.changes, *its_keys],
        [before_ms, *task_ids],
        frozenset(task_ids),
    )


def _call(
    script: str, task_id: str, keys: Keys, its_keys: Sequence[str], arguments: Sequence[str | bytes | int]
) -> Call:
    must_be_an_id(task_id)
    return Call(script, task_id, [keys.counter, keys.changes, *its_keys], [task_id, *arguments], frozenset({task_id}))


def _of_requests(task_id: str, keys: Keys) -> tuple[str, str, str]:
    return keys.facts(task_id), keys.requests(task_id), keys.approvals(task_id)


def _put(stored: StoredTask, keys: Keys) -> Call:
    above, parent_id = list[str](), stored.id.rpartition(".")[0]
    while parent_id:
        above.append(parent_id)
        parent_id = parent_id.rpartition(".")[0]
    own = (keys.facts(stored.id), keys.record(stored.id), keys.transaction(stored.transaction))
    its_keys = (*own, keys.ids, keys.expiries, *map(keys.facts, above))
    arguments = (stored.record, int(TaskState.ACTIVE), stored.expires_ms, stored.transaction, *put_fields(stored))
    return _call(PUT, stored.id, keys, its_keys, arguments)


def _proceed(act: Proceed, keys: Keys) -> Call:
    root_id = act.task_id.partition(".")[0]
    paying, approvals = sorted(act.spends), sorted(act.approvals)
    its_keys = [keys.facts(act.task_id), keys.approvals(act.task_id), keys.facts(root_id)]
    for task_id in paying:
        its_keys += [keys.facts(task_id), keys.record(task_id), keys.paid(task_id)]
    facts = act.facts
    growth = (int(facts.high_water), int(facts.untrusted_input), round(act.active_unix_seconds * 1000))
    seen = [seen_field(kind, value) for kind, value in facts_rows(facts)]
    counts = (len(paying), len(approvals))
    arguments: tuple[str | int, ...] = (root_id, act.hop_key, *growth, *counts, *paying, *approvals, *seen)
    must_be_an_id(act.task_id)
    return Call(
        PROCEED,
        act.task_id,
        [keys.counter, keys.changes, *its_keys],
        [act.task_id, *arguments],
        frozenset({act.task_id, root_id, *paying}),
    )
