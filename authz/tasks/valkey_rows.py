"""Names and forms in a Valkey or Redis server: in go tasks and ids, out come keys and fields, and tasks again.

Every key begins with one hash tag, so that a cluster keeps all of them together and a script may touch any.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from authz.core.approval import Approval
from authz.tasks.records import NotARecord, StoredApproval, StoredTask

_SEEN = b"seen:"
_HOP = b"hop:"
_ALL = "~"  # behind every character of an id


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of everything."""

    prefix: str  # in braces, as clusters ask

    @property
    def counter(self) -> str:
        """How many changes there were."""
        return f"{self.prefix}:changes:count"

    @property
    def changes(self) -> str:
        """The stream of changes, each under its number."""
        return f"{self.prefix}:changes"

    @property
    def schema(self) -> str:
        """Which version of this layout it is."""
        return f"{self.prefix}:schema"

    @property
    def ids(self) -> str:
        """All tasks, by id."""
        return f"{self.prefix}:ids"

    @property
    def expiries(self) -> str:
        """All tasks, by the time they expire."""
        return f"{self.prefix}:expiries"

    def beat(self, replica: str) -> str:
        """What a replica writes to see that it still speaks to the primary that others follow."""
        return f"{self.prefix}:beat:{replica}"

    def transaction(self, transaction: str) -> str:
        """The task of a transaction."""
        return f"{self.prefix}:txn:{transaction}"

    def facts(self, task_id: str) -> str:
        """What changes about a task: a hash."""
        return f"{self.prefix}:facts:{task_id}"

    def record(self, task_id: str) -> str:
        """What does not: JSON."""
        return f"{self.prefix}:record:{task_id}"

    def requests(self, task_id: str) -> str:
        """Its access requests: a hash by digest."""
        return f"{self.prefix}:requests:{task_id}"

    def approvals(self, task_id: str) -> str:
        """Its approvals, and which hop used them: a hash by id."""
        return f"{self.prefix}:approvals:{task_id}"

    def paid(self, task_id: str) -> str:
        """The hops that its budget paid for: a set."""
        return f"{self.prefix}:paid:{task_id}"

    def read(self, task_ids: Sequence[str]) -> list[str]:
        """The keys that the script READ takes."""
        parts = (self.facts, self.record, self.requests, self.approvals)
        return [part(task_id) for task_id in task_ids for part in parts]


@dataclass(frozen=True, slots=True)
class Found:
    """All that belongs to a task, as the server returned it."""

    facts: Mapping[bytes, bytes]
    record: bytes
    requests: Mapping[bytes, bytes]
    approvals: Mapping[bytes, bytes]

    def task(self, task_id: str) -> StoredTask:
        """The task in its stored form; raises NotARecord."""
        facts = self.facts
        try:
            return StoredTask(
                id=task_id,
                state=int(facts[b"state"]),
                expires_ms=int(facts[b"expires"]),
                transaction=facts[b"txn"].decode(),
                record=self.record,
                is_suspended=int(facts[b"suspended"]) != 0,
                high_water=int(facts.get(b"high", 0)),
                untrusted_input=int(facts.get(b"untrusted", 0)) > 0,
                active_ms=int(facts.get(b"active", 0)),
                spent_hops=int(facts.get(b"spent", 0)),
                last_hop_key=facts.get(b"last", b"").decode(),
                seen=[_seen(field) for field in facts if field.startswith(_SEEN)],
                requests=[(digest.decode(), int(request[:1])) for digest, request in self.requests.items()],
                approvals=list(self._approvals()),
            )
        except (KeyError, ValueError, TypeError) as error:
            raise NotARecord(f"what belongs to the task cannot be read: {error!r:.200}") from error

    def request_documents(self) -> list[bytes]:
        """The access requests in their stored form, oldest first."""
        placed = [request.split(b":", 2) for request in self.requests.values()]
        return [document for _, _, document in sorted(placed, key=lambda parts: int(parts[1]))]

    def _approvals(self) -> Iterator[StoredApproval]:
        for id, content in self.approvals.items():
            if not id.startswith(_HOP):
                digest, kind, approver, expires_ms = json.loads(content)
                hop = self.approvals.get(_HOP + id, b"").decode()
                yield StoredApproval(id.decode(), digest, kind, approver, expires_ms, hop)


def read_found(reply: tuple[Sequence[bytes], bytes | None, Sequence[bytes], Sequence[bytes]]) -> Found | None:
    """One task of READ's reply; None where there is no such task, and where half of it is lost."""
    facts, record, requests, approvals = reply
    if not facts or record is None:
        return None
    return Found(_pairs(facts), record, _pairs(requests), _pairs(approvals))


def put_fields(stored: StoredTask) -> list[str | int]:
    """The facts of a new task, names and values in turns."""
    facts: dict[str, str | int] = {
        "state": stored.state,
        "suspended": int(stored.is_suspended),
        "expires": stored.expires_ms,
        "txn": stored.transaction,
    }
    return [each for pair in facts.items() for each in pair]


def seen_field(kind: str, value: str) -> str:
    """The field that says a session has seen it."""
    return f"{_SEEN.decode()}{kind}:{value}"


def approval_content(approval: Approval) -> str:
    """An approval but for its id and the hop that uses it."""
    expires_ms = round(approval.expires_unix_seconds * 1000)
    return json.dumps([approval.digest, approval.kind, approval.approver, expires_ms])


def behind(task_id: str) -> tuple[str, str]:
    """The bounds of all ids behind this one."""
    return (f"({task_id}" if task_id else "-", f"[{_ALL}")


def _seen(field: bytes) -> tuple[str, str]:
    kind, _, value = field.removeprefix(_SEEN).decode().partition(":")
    return kind, value


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    names = iter(flat)
    return dict(zip(names, names, strict=True))
