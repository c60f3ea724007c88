"""What Valkey holds of a task: in go the replies to READS, out comes the task in the form that the room shares."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from authz.tasks.records import NotARecord, StoredApproval, StoredTask

READS = (("GET", "r:"), ("HGETALL", "s:"), ("HGETALL", "q:"), ("HGETALL", "a:"), ("HGETALL", "u:"))
"""The commands that read a task, and the keys' beginnings. They run in one transaction, so all is of one moment."""


def stored_task(task_id: str, replies: Sequence[Any]) -> StoredTask | None:
    """The task, or None where there is none: a record without its state is none either. Raises NotARecord."""
    record, state, requests, approvals, uses = replies
    if record is None or not state:
        return None
    try:
        return StoredTask(
            id=task_id,
            state=int(state[b"state"]),
            expires_ms=int(state[b"expires"]),
            transaction=state[b"txn"].decode(),
            record=record,
            is_suspended=bool(int(state[b"suspended"])),
            high_water=int(state.get(b"hw", 0)),
            untrusted_input=bool(int(state.get(b"un", 0))),
            active_ms=int(state.get(b"ac", 0)),
            spent_hops=int(state.get(b"spent", 0)),
            last_hop_key=state.get(b"last", b"").decode(),
            seen=[_seen(name) for name in state if name.startswith(b"f:")],
            requests=[(digest.decode(), int(kept.split(b":", 2)[1])) for digest, kept in requests.items()],
            approvals=[_approval(each, approvals[each], uses.get(each, b"")) for each in sorted(approvals)],
        )
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise NotARecord(f"what belongs to the task cannot be read: {type(error).__name__}: {error}") from error


def request_documents(requests: Mapping[bytes, bytes]) -> list[bytes]:
    """The access requests of a task in their stored form, oldest first; raises NotARecord."""
    try:
        parts = [kept.split(b":", 2) for kept in requests.values()]
        return [document for _, _, document in sorted(parts, key=lambda each: int(each[0]))]
    except ValueError as error:
        raise NotARecord(f"the access requests cannot be read: {error}") from error


def _seen(name: bytes) -> tuple[str, str]:
    _, kind, value = name.decode().split(":", 2)
    return kind, value


def _approval(approval_id: bytes, kept: bytes, hop_key: bytes) -> StoredApproval:
    digest, kind, approver, expires_ms = json.loads(kept)
    return StoredApproval(approval_id.decode(), digest, kind, approver, expires_ms, hop_key.decode())
