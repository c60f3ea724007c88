"""Lines of the audit log in, one at a time, what they say of a decision out. A file of any size takes little memory.

Lines that are no records (a disk that filled up within one, another program's) are told apart, not guessed at.
"""

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from authz.core.errors import Place, Problem, Unusable
from authz.core.facts import Facts
from authz.core.hop import ActionClass, Argument, Sensitivity
from authz.observe.audit_line import MAX_LINE_BYTES

_MOST_BYTES = 4 * MAX_LINE_BYTES
CUT = "…"
"""A text on a line that ends so was cut."""


@dataclass(frozen=True, slots=True)
class Question:
    """What else policies were asked. An argument of None has a value that was not written."""

    ceiling: Sensitivity
    age_seconds: int
    remaining_seconds: int
    session: Facts
    arguments: Mapping[str, Argument | None]
    parameters: Mapping[str, str | None]
    approved: frozenset[str]


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer, as its line tells it. Texts that were not found out are empty."""

    line: int
    unix_seconds: float
    decision_id: str
    decision: str  # allow, deny or step_up
    reason: str
    agent: str
    task: str
    owner: str
    purpose: str
    action: str
    classes: frozenset[str]
    resource: str
    dataset: str
    sensitivity: str
    policies: tuple[str, ...]
    step_up: frozenset[str]
    policy_version: str  # empty where policies were not asked
    question: Question | None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line that is no record, and why."""

    line: int
    why: str


def read_answers(file: Path) -> Iterator[Answered | Unreadable]:
    """What each line says; empty lines are skipped. Raises Unusable where the file cannot be read."""
    try:
        with file.open("rb") as opened:
            for number, line in enumerate(_lines(opened), 1):
                if line.strip():
                    yield _answered(number, line)
    except OSError as error:
        raise Unusable(Problem(Place(file), f"cannot be read: {error.strerror}", "Name an audit log.")) from error


def _lines(opened: BinaryIO) -> Iterator[bytes]:
    """The lines; of one that is longer than any of ours, the beginning, which is no JSON."""
    while line := opened.readline(_MOST_BYTES):
        yield line
        while not line.endswith(b"\n") and (line := opened.readline(_MOST_BYTES)):
            pass


def _answered(number: int, line: bytes) -> Answered | Unreadable:
    try:
        fields = json.loads(line)
        if not isinstance(fields, dict):
            return Unreadable(number, "no JSON object")
        question = fields.get("question")
        return Answered(
            line=number,
            unix_seconds=dt.datetime.fromisoformat(fields["time"]).timestamp(),
            decision=_one_of(fields["decision"], ("allow", "deny", "step_up")),
            classes=frozenset(map(_text, fields["classes"] or ())),
            policies=tuple(map(_text, fields["policies"])),
            step_up=frozenset(map(_text, fields["step_up"])),
            question=None if question is None else _question(question),
            **{name: _text(fields[name]) for name in _TEXTS},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return Unreadable(number, f"no record of a check: {type(error).__name__}: {error}")


_TEXTS = (
    *("decision_id", "reason", "agent", "task", "owner", "purpose"),
    *("action", "resource", "dataset", "sensitivity", "policy_version"),
)


def _question(fields: Mapping[str, Any]) -> Question:
    session = fields["session"]
    return Question(
        ceiling=Sensitivity.of(fields["ceiling"]),
        age_seconds=int(fields["age_seconds"]),
        remaining_seconds=int(fields["remaining_seconds"]),
        session=Facts(
            frozenset(map(_text, session["actions"])),
            frozenset(map(ActionClass, session["classes"])),
            frozenset(map(_text, session["datasets"])),
            Sensitivity.of(session["high_water"]),
            bool(session["untrusted_input"]),
        ),
        arguments={name: _argument(value) for name, value in fields["arguments"].items()},
        parameters={name: None if value is None else _text(value) for name, value in fields["parameters"].items()},
        approved=frozenset(map(_text, fields["approved"])),
    )


def _argument(value: object) -> Argument | None:
    if isinstance(value, list):
        return frozenset(map(_text, value))
    if value is None or isinstance(value, str | int):
        return value
    raise ValueError(f"an argument of an unknown kind: {value!r}")


def _text(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(f"no text: {value!r}")
    return value


def _one_of(value: object, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"{value!r} is none of {', '.join(known)}")
    return str(value)
