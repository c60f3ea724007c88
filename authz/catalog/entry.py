"""Entries: what one kind of attempt is, with the arguments that it is given.

A message has been understood when its entry is found; here its arguments become typed values for policies, choose the
dataset where the entry says so, and are bound by their digest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from authz.catalog.digest import digest
from authz.catalog.kinds import OF_MANY, Kind
from authz.catalog.strict_json import Known
from authz.core.errors import Refused
from authz.core.hop import Argument, Hop, Operation
from authz.core.reasons import Reason

_ABSENT = object()


def is_absent(found: object) -> bool:
    """Whether a place holds nothing, or null."""
    return found is _ABSENT


@dataclass(frozen=True, slots=True)
class Pointer:
    """A JSON pointer (RFC 6901) into the arguments. `parse` is the way to make one."""

    text: str
    steps: tuple[tuple[str, Known], ...]

    @classmethod
    def parse(cls, text: str) -> "Pointer":
        """The place that a text such as `/to/0` spells; raises ValueError."""
        if not text.startswith("/"):
            raise ValueError("a JSON pointer begins with a slash, such as /to/address")
        steps = [step.replace("~1", "/").replace("~0", "~") for step in text[1:].split("/")]
        return cls(text, tuple((step, Known(step)) for step in steps))

    def find(self, given: object) -> object:
        """What stands there; _ABSENT where nothing does, or null. Raises Refused for what only resembles it."""
        for step, known in self.steps:
            if isinstance(given, dict):
                if step not in given:
                    known.must_not_be_shadowed(given)
                    return _ABSENT
                if len(given) > 1:
                    known.must_not_be_shadowed(given)
                given = given[step]
            elif isinstance(given, list) and step.isdecimal() and int(step) < len(given):
                given = given[int(step)]
            else:
                return _ABSENT
        return _ABSENT if given is None else given


@dataclass(frozen=True, slots=True)
class ArgumentOf:
    """An argument that policies see: its name, where it stands, and of what kind it is."""

    name: str
    places: tuple[Pointer, ...]
    kind_name: str
    kind: Kind
    is_optional: bool = False

    def read(self, given: object) -> Argument | None:
        """Its value, None where it is optional and absent; raises Refused."""
        found = [value for place in self.places if (value := place.find(given)) is not _ABSENT]
        try:
            values = [self.kind(value) for value in found]
        except Refused as refused:
            raise Refused(refused.reason, f"{self.name}: {refused.detail}") from refused
        if self.kind_name in OF_MANY and (values or self.is_optional):
            return frozenset().union(*(value for value in values if isinstance(value, frozenset)))
        if not values and self.is_optional:
            return None
        if len(values) != 1:
            places = " or ".join(place.text for place in self.places)
            what = "nothing" if not values else "more than one value"
            raise Refused(Reason.ARGUMENT_MALFORMED, f"{self.name}: {what} at {places}")
        return values[0]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which operation it is, by the value of one argument.

    `otherwise` is for a value that is not listed, and for several values that do not agree: the wide dataset, at the
    highest sensitivity.
    """

    argument: str
    by_value: Mapping[str, Operation]
    otherwise: Operation

    def of(self, value: Argument | None) -> Operation:
        """The operation that this value makes it."""
        if isinstance(value, frozenset):
            found = {self.by_value.get(each, self.otherwise) for each in value}
            return found.pop() if len(found) == 1 else self.otherwise
        name = str(value).lower() if isinstance(value, bool) else str(value)
        return self.otherwise if value is None else self.by_value.get(name, self.otherwise)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the catalog."""

    resource: str
    operation: Operation | None  # None for an entry of a draft that is not filled in
    arguments: tuple[ArgumentOf, ...] = ()
    choice: Choice | None = None

    @property
    def operations(self) -> tuple[Operation, ...]:
        """All operations that its attempts can be."""
        if self.choice:
            return (*self.choice.by_value.values(), self.choice.otherwise)
        return (self.operation,) if self.operation else ()

    def hop(self, parameters: Mapping[str, str], given: Any = None) -> Hop:  # noqa: ANN401  any JSON
        """The hop that an attempt with these arguments is; raises Refused where one is not of its kind."""
        if self.operation is None:
            raise Refused(Reason.ACTION_UNSET, self.resource)
        if given is None:
            return Hop(self.operation, parameters)
        arguments: dict[str, Argument] = {}
        for each in self.arguments:
            value = each.read(given)
            if value is not None:
                arguments[each.name] = value
        operation = self.choice.of(arguments.get(self.choice.argument)) if self.choice else self.operation
        return Hop(operation, parameters, arguments, digest(given))
