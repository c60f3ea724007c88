"""What a policy can name in, where the query holds it out: one typed field for each place of the schema.

A place is a path from `principal`, `action`, `resource` or `context`. This table and `schema.cedarschema` say the
same thing twice, and a test holds them together.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from operator import attrgetter
from typing import Any, Final

from authz.core.hop import ActionClass
from authz.core.query import Query

Place = tuple[str, ...]
Read = Callable[[Query], Any]


class Kind(Enum):
    """The type of a field: what stands at the place. Its value is the type's name in Cedar's schema."""

    LONG = "Long"
    STRING = "String"
    BOOL = "Bool"
    SET = "Set<String>"
    AGENT = "Agent"
    ACTION = "Action"
    TOOL = "Tool"

    def holds(self, value: object) -> bool:
        """Whether a value of Python's is one of this type. A bool is an int to Python, and none to Cedar."""
        return type(value) is _TYPES.get(self)


_TYPES = {Kind.LONG: int, Kind.STRING: str, Kind.BOOL: bool, Kind.SET: frozenset}


class _Absent(Enum):
    """Stands in a key for what is not there; equal to nothing that could be."""

    ABSENT = "absent"


ABSENT: Final = _Absent.ABSENT


@dataclass(frozen=True, slots=True)
class Field:
    """One place: its type, how to read it, and whether it may be absent (then the reader says ABSENT)."""

    kind: Kind
    read: Read
    is_optional: bool = False


def _names(classes: frozenset[ActionClass]) -> frozenset[str]:
    """The classes as texts; there are 256 sets of them."""
    known = _CLASS_NAMES.get(classes)
    if known is None:
        known = _CLASS_NAMES[classes] = frozenset(map(str, classes))
    return known


_CLASS_NAMES: dict[frozenset[ActionClass], frozenset[str]] = {}

_FIXED: Mapping[Place, Field] = {
    ("principal",): Field(Kind.AGENT, attrgetter("agent.uri")),
    ("action",): Field(Kind.ACTION, attrgetter("operation.action")),
    ("resource",): Field(Kind.TOOL, attrgetter("operation.resource")),
    ("context", "task", "purpose"): Field(Kind.STRING, attrgetter("purpose")),
    ("context", "task", "owner"): Field(Kind.STRING, attrgetter("owner")),
    ("context", "task", "ceiling"): Field(Kind.LONG, attrgetter("ceiling")),
    ("context", "task", "depth"): Field(Kind.LONG, attrgetter("depth")),
    ("context", "task", "age_seconds"): Field(Kind.LONG, attrgetter("age_seconds")),
    ("context", "task", "remaining_seconds"): Field(Kind.LONG, attrgetter("remaining_seconds")),
    ("context", "session", "actions"): Field(Kind.SET, attrgetter("facts.actions")),
    ("context", "session", "classes"): Field(Kind.SET, lambda query: _names(query.facts.classes)),
    ("context", "session", "datasets"): Field(Kind.SET, attrgetter("facts.datasets")),
    ("context", "session", "high_water"): Field(Kind.LONG, attrgetter("facts.high_water")),
    ("context", "session", "untrusted_input"): Field(Kind.BOOL, attrgetter("facts.untrusted_input")),
    ("context", "classes"): Field(Kind.SET, lambda query: _names(query.operation.classes)),
    ("context", "dataset"): Field(Kind.STRING, attrgetter("operation.dataset")),
    ("context", "sensitivity"): Field(Kind.LONG, attrgetter("operation.sensitivity")),
    ("context", "privileged"): Field(Kind.BOOL, attrgetter("operation.is_privileged")),
    ("context", "brings_untrusted_input"): Field(Kind.BOOL, attrgetter("operation.brings_untrusted_input")),
    ("context", "utc_hour"): Field(Kind.LONG, attrgetter("utc_hour")),
    ("context", "utc_weekday"): Field(Kind.LONG, attrgetter("utc_weekday")),
}
_RECORDS = frozenset({("context",), ("context", "arguments"), ("context", "parameters")})


@dataclass(frozen=True, slots=True)
class Fields:
    """All places of one vocabulary. `of` is the way to make them."""

    by_place: Mapping[Place, Field]
    arguments: Mapping[str, Kind]

    @classmethod
    def of(cls, arguments: Mapping[str, Kind], parameters: Iterable[str]) -> "Fields":
        """The fixed places, and those of these arguments and path parameters."""
        chosen: dict[Place, Field] = {}
        for name, kind in arguments.items():
            chosen["context", "arguments", name] = Field(kind, _reader("arguments", name), is_optional=True)
        for name in parameters:
            chosen["context", "parameters", name] = Field(Kind.STRING, _reader("parameters", name), is_optional=True)
        return cls({**_FIXED, **chosen}, dict(arguments))

    def is_record(self, place: Place) -> bool:
        """Whether the place is a record, which has places below it."""
        return place in _RECORDS or any(len(each) > len(place) and each[: len(place)] == place for each in _FIXED)

    def below(self, place: Place) -> list[Place]:
        """The fields at and below the place, in a fixed order."""
        return sorted(each for each in self.by_place if each[: len(place)] == place)

    def mistyped(self, query: Query) -> str:
        """Which argument is of another type than the catalog declares; empty where none is."""
        for name, value in query.arguments.items():
            declared = self.arguments.get(name)
            if declared is not None and not declared.holds(value):
                return f"the argument {name!r} is no {declared.value}"
        return ""

    def context(self, query: Query, places: Iterable[Place]) -> str:
        """The JSON of the context with these fields of it and no others. Records are there even if empty."""
        context: dict[str, Any] = {}
        for place in places:
            record = context
            for step in place[1:-1]:
                record = record.setdefault(step, {})
            if place in self.by_place:
                field = self.by_place[place]
                value = field.read(query)
                if value is not ABSENT:
                    record[place[-1]] = sorted(value) if field.kind is Kind.SET else value
            elif len(place) > 1:
                record.setdefault(place[-1], {})
        return json.dumps(context)


def _reader(which: str, name: str) -> Read:
    inputs = attrgetter(which)
    return lambda query: inputs(query).get(name, ABSENT)
