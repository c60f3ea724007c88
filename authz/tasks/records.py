"""Records: a task as a store keeps it, read strictly. Every task store speaks this form.

In goes a Task, out comes a StoredTask, and back. What never changes about a task is one JSON text, `record`; what
changes stands beside it, so that a store can change it without parsing. What cannot be read back as the same task is
refused when it is written, so that nothing is acknowledged which a check could not use.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

from authz.core.approval import Approval
from authz.core.errors import Refused
from authz.core.facts import Facts
from authz.core.hop import ActionClass, Sensitivity
from authz.core.spiffe import SpiffeId
from authz.core.task import Grant, Task, TaskState, parse_task_id
from authz.documents import Document

MAX_TEXT_CHARACTERS = 256
MAX_NAME_CHARACTERS = 2048  # of a SPIFFE ID
MAX_AGENTS = 64
MAX_GRANTS = 256
MAX_GRANT_CHARACTERS = 1024
MAX_UNIX_MS = 253_402_300_799_999  # the last millisecond of the year 9999, where calendars of most languages end

_CEILINGS = {str(each): each for each in Sensitivity}
_VALUES_SHARED = 4096


class NotARecord(ValueError):
    """A stored task cannot be read, or a task cannot be stored; the message says what is wrong with it."""


def _printable(text: str) -> str:
    if not text.isprintable():
        raise PydanticCustomError("not_printable", "there are characters in it that cannot be printed")
    return text


_Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARACTERS), AfterValidator(_printable)]


class _Record(Document):
    """What never changes about a task."""

    owner: _Text
    purpose: _Text
    agents: Annotated[tuple[str, ...], Field(max_length=MAX_AGENTS)]
    grants: Annotated[tuple[Annotated[str, Field(max_length=MAX_GRANT_CHARACTERS)], ...], Field(max_length=MAX_GRANTS)]
    ceiling: str
    starts_ms: int
    started_by: Annotated[str, Field(max_length=MAX_NAME_CHARACTERS), AfterValidator(_printable)] = ""
    idle_ms: Annotated[int, Field(gt=0)] | None = None
    budget_hops: Annotated[int, Field(ge=0)] | None = None


class Seen(StrEnum):
    """What kinds of things a session has seen."""

    ACTION = "a"
    CLASS = "c"
    DATASET = "d"


class StoredApproval(NamedTuple):
    """An approval in its stored form."""

    id: str
    digest: str
    kind: str
    approver: str
    expires_ms: int
    hop: str


@dataclass(frozen=True, slots=True)
class StoredTask:
    """A task in its stored form. None of it is to be believed before `task()` has read it."""

    id: str
    state: int
    expires_ms: int
    transaction: str
    record: bytes  # JSON, UTF-8
    is_suspended: bool = False
    high_water: int = 0
    untrusted_input: bool = False
    active_ms: int = 0
    spent_hops: int = 0
    last_hop_key: str = ""
    seen: Sequence[tuple[str, str]] = ()  # kind and value
    requests: Sequence[tuple[str, int]] = ()  # digest, and whether it was said no to
    approvals: Sequence[StoredApproval] = ()

    @classmethod
    def of(cls, task: Task) -> Self:
        """The stored form of a task, its times rounded to milliseconds; raises NotARecord."""
        try:
            parse_task_id((task.id,))
        except Refused as refused:
            raise NotARecord(f"{task.id!r} is not a task id") from refused
        starts_ms, expires_ms = _unix_ms(task.starts_unix_seconds), _unix_ms(task.expires_unix_seconds)
        try:
            record = _Record(
                owner=task.owner,
                purpose=task.purpose,
                agents=tuple(sorted(map(str, task.agents))),
                grants=tuple(map(str, task.grants)),
                ceiling=str(task.ceiling),
                starts_ms=starts_ms,
                started_by=task.started_by,
                idle_ms=None if task.idle_seconds is None else _unix_ms(task.idle_seconds),
                budget_hops=task.budget_hops,
            )
        except ValidationError as error:
            raise NotARecord(_told(error)) from error
        content = record.model_dump_json(exclude_defaults=True).encode()
        stored = cls(task.id, int(task.state), expires_ms, task.transaction, content)
        rounded = replace(task, starts_unix_seconds=starts_ms / 1000, expires_unix_seconds=expires_ms / 1000)
        if stored.task() != rounded:
            remedy = "make its agents and grants with `parse`, and let it have done nothing yet"
            raise NotARecord(f"the task would be read back as another; {remedy}")
        return stored

    def task(self) -> Task:
        """The task; raises NotARecord."""
        try:
            record = _Record.model_validate_json(self.record)
            return Task(
                id=self.id,
                owner=record.owner,
                purpose=record.purpose,
                agents=_agents(record.agents),
                grants=_grants(record.grants),
                ceiling=_ceiling(record.ceiling),
                starts_unix_seconds=_unix_seconds(record.starts_ms),
                expires_unix_seconds=_unix_seconds(self.expires_ms),
                state=TaskState(self.state),
                is_suspended=self.is_suspended,
                started_by=record.started_by,
                transaction=self.transaction,
                idle_seconds=None if record.idle_ms is None else record.idle_ms / 1000,
                budget_hops=record.budget_hops,
                spent_hops=self.spent_hops,
                last_hop_key=self.last_hop_key,
                facts=self._facts(),
                active_unix_seconds=_unix_seconds(self.active_ms),
                asked=frozenset(digest for digest, _ in self.requests),
                rejected=frozenset(digest for digest, rejected in self.requests if rejected),
                approvals=tuple(map(_approval, self.approvals)),
            )
        except ValidationError as error:
            raise NotARecord(_told(error)) from error
        except (ValueError, TypeError, KeyError) as error:
            raise NotARecord(str(error)) from error

    def _facts(self) -> Facts:
        seen: dict[str, set[str]] = {kind: set() for kind in Seen}
        for kind, value in self.seen:
            seen[kind].add(value)
        return _shared(
            Facts(
                actions=frozenset(seen[Seen.ACTION]),
                classes=frozenset(map(ActionClass, seen[Seen.CLASS])),
                datasets=frozenset(seen[Seen.DATASET]),
                high_water=Sensitivity(self.high_water),
                untrusted_input=bool(self.untrusted_input),
            )
        )


def facts_rows(facts: Facts) -> list[tuple[str, str]]:
    """The kinds and values of what was seen, as a store keeps them."""
    return [
        *((Seen.ACTION, action) for action in sorted(facts.actions)),
        *((Seen.CLASS, str(each)) for each in sorted(facts.classes, key=str)),
        *((Seen.DATASET, dataset) for dataset in sorted(facts.datasets)),
    ]


def _approval(stored: StoredApproval) -> Approval:
    return Approval(
        id=stored.id,
        digest=stored.digest,
        kind=stored.kind,
        approver=stored.approver,
        expires_unix_seconds=_unix_seconds(stored.expires_ms),
        spent_by=stored.hop,
    )


# Tasks made from one template hold equal agents and grants. Shared, they cost memory and parsing once: the garbage
# collector's pauses grow with the number of objects that are remembered.
@lru_cache(maxsize=_VALUES_SHARED)
def _agents(texts: tuple[str, ...]) -> frozenset[SpiffeId]:
    return frozenset(map(SpiffeId.parse, texts))


@lru_cache(maxsize=_VALUES_SHARED)
def _grants(texts: tuple[str, ...]) -> tuple[Grant, ...]:
    return tuple(map(Grant.parse, texts))


@lru_cache(maxsize=_VALUES_SHARED)
def _shared(facts: Facts) -> Facts:
    return facts


def _ceiling(text: str) -> Sensitivity:
    if text not in _CEILINGS:
        raise NotARecord(f"ceiling: {text[:MAX_TEXT_CHARACTERS]!r} is none of {', '.join(_CEILINGS)}")
    return _CEILINGS[text]


def _unix_seconds(ms: int) -> float:
    if not 0 <= ms <= MAX_UNIX_MS:
        raise NotARecord(f"{ms} ms is no time between 1970 and 9999")
    return ms / 1000


def _unix_ms(unix_seconds: float) -> int:
    try:
        return round(unix_seconds * 1000)
    except (OverflowError, ValueError) as error:
        raise NotARecord(f"{unix_seconds} is not a time") from error


def _told(error: ValidationError) -> str:
    details: Iterable[str] = (
        f"{'.'.join(map(str, each['loc'])) or 'record'}: {each['msg'][:MAX_TEXT_CHARACTERS]}"
        for each in error.errors(include_url=False, include_context=False, include_input=False)[:3]
    )
    return "; ".join(details)
