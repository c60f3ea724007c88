"""Records: a task as a store keeps it, in JSON that is read strictly. Every task store speaks this form.

In goes a Task, out comes a StoredTask, and back. What cannot be read back as the same task is refused when it is
written, so that nothing is acknowledged which a check could not use.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Self

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

from authz.core.errors import Refused
from authz.core.hop import Sensitivity
from authz.core.spiffe import SpiffeId
from authz.core.task import Grant, Task, TaskState, parse_task_id
from authz.documents import Document

MAX_TEXT_CHARACTERS = 256
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


@dataclass(frozen=True, slots=True)
class StoredTask:
    """A task in its stored form. None of it is to be believed before `task()` has read it."""

    id: str
    state: int
    expires_ms: int
    record: bytes  # JSON, UTF-8

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
            )
        except ValidationError as error:
            raise NotARecord(_told(error)) from error
        stored = cls(task.id, int(task.state), expires_ms, record.model_dump_json().encode())
        rounded = replace(task, starts_unix_seconds=starts_ms / 1000, expires_unix_seconds=expires_ms / 1000)
        if stored.task() != rounded:
            raise NotARecord("the task would be read back as another; make its agents and grants with `parse`")
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
            )
        except ValidationError as error:
            raise NotARecord(_told(error)) from error
        except ValueError as error:
            raise NotARecord(str(error)) from error


# Tasks made from one template hold equal agents and grants. Shared, they cost memory and parsing once: the garbage
# collector's pauses grow with the number of objects that are remembered.
@lru_cache(maxsize=_VALUES_SHARED)
def _agents(texts: tuple[str, ...]) -> frozenset[SpiffeId]:
    return frozenset(map(SpiffeId.parse, texts))


@lru_cache(maxsize=_VALUES_SHARED)
def _grants(texts: tuple[str, ...]) -> tuple[Grant, ...]:
    return tuple(map(Grant.parse, texts))


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
