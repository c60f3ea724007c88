"""Observations in, a key function out: what a block of policies can see of a query, as something to look up.

A key may be finer than Cedar's equality, never coarser. What may be absent is guarded: absence is a value of its own.
"""

import re
from collections.abc import Callable, Hashable, Iterable, Mapping

from authz.core.query import Query
from authz.policy.fields import ABSENT, Field, Fields, Place, Read
from authz.policy.observations import Observation, Uid

Key = Callable[[Query], Hashable]
Above = Callable[[Uid], frozenset[Uid]]
"""An entity in, itself and all that are above it out."""

_ONLY_FOR_CEDAR = "present"
_OF_VALUE = frozenset({"equals", "holds", "among", "like", "entity", "empty", "contains_all", "contains_any"})


def needed(observed: Iterable[Observation]) -> list[Observation]:
    """Those that a key must hold, in a fixed order: what follows from a value that is in the key need not be in it."""
    seen = frozenset(observed)
    whole = {observation[1] for observation in seen if observation[0] == "value"}
    kept = [each for each in seen if not (each[0] in _OF_VALUE and each[1] in whole) and each[0] != _ONLY_FOR_CEDAR]
    return sorted(kept, key=_order)


def _order(observation: Observation) -> str:
    return repr([sorted(part) if isinstance(part, frozenset) else part for part in observation])


def key_of(observed: Iterable[Observation], fields: Fields, above: Above) -> Key:
    """The function from a query to its key."""
    readers = [_reader(observation, fields.by_place, above) for observation in needed(observed)]
    match readers:
        case []:
            return lambda _: None
        case [only]:
            return only
        case [one, two]:
            return lambda query: (one(query), two(query))
        case [one, two, three]:
            return lambda query: (one(query), two(query), three(query))
        case _:
            return lambda query: tuple([read(query) for read in readers])


def _reader(observation: Observation, fields: Mapping[Place, Field], above: Above) -> Read:
    word, place, *rest = observation
    if not isinstance(place, tuple):
        raise TypeError(f"an observation without a place: {observation}")
    field = fields[place]
    if word == "has":
        return lambda query: field.read(query) is not ABSENT
    if word == "value":
        return field.read
    if rest and isinstance(rest[0], tuple) and word != "entity":
        return _of_two(str(word), field, fields[rest[0]])
    outcome = _OUTCOMES[str(word)](field, *rest, above)
    return _guarded(field.read, outcome) if field.is_optional else outcome


def _guarded(read: Read, outcome: Read) -> Read:
    return lambda query: ABSENT if read(query) is ABSENT else outcome(query)


def _of_two(word: str, one: Field, other: Field) -> Read:
    outcome = _PAIRS[word](one.read, other.read)
    if one.is_optional:
        outcome = _guarded(one.read, outcome)
    return _guarded(other.read, outcome) if other.is_optional else outcome


def _in(field: Field, groups: frozenset[Uid], above: Above) -> Read:
    kind, read = field.kind.value, field.read
    return lambda query: not above((kind, read(query))).isdisjoint(groups)


def _entity(field: Field, uid: Uid, _: Above) -> Read:
    kind, id = uid
    read = field.read
    return (lambda query: read(query) == id) if kind == field.kind.value else (lambda _: False)


def _like(field: Field, pattern: str, _: Above) -> Read:
    matches, read = re.compile(pattern, re.DOTALL).fullmatch, field.read
    return lambda query: matches(read(query)) is not None


def _equals(field: Field, literal: Hashable, _: Above) -> Read:
    read = field.read
    return lambda query: read(query) == literal


def _less(field: Field, limit: int, _: Above) -> Read:
    read = field.read
    return lambda query: read(query) < limit


def _less_eq(field: Field, limit: int, _: Above) -> Read:
    read = field.read
    return lambda query: read(query) <= limit


def _greater(field: Field, limit: int, _: Above) -> Read:
    read = field.read
    return lambda query: read(query) > limit


def _greater_eq(field: Field, limit: int, _: Above) -> Read:
    read = field.read
    return lambda query: read(query) >= limit


def _holds(field: Field, member: str, _: Above) -> Read:
    read = field.read
    return lambda query: member in read(query)


def _among(field: Field, members: frozenset[str], _: Above) -> Read:
    read = field.read
    return lambda query: read(query) in members


def _contains_all(field: Field, members: frozenset[str], _: Above) -> Read:
    read = field.read
    return lambda query: members <= read(query)


def _contains_any(field: Field, members: frozenset[str], _: Above) -> Read:
    read = field.read
    return lambda query: not members.isdisjoint(read(query))


def _empty(field: Field, _: Above) -> Read:
    read = field.read
    return lambda query: not read(query)


_OUTCOMES: Mapping[str, Callable[..., Read]] = {
    "in": _in,
    "entity": _entity,
    "like": _like,
    "equals": _equals,
    "less": _less,
    "less_eq": _less_eq,
    "greater": _greater,
    "greater_eq": _greater_eq,
    "holds": _holds,
    "among": _among,
    "contains_all": _contains_all,
    "contains_any": _contains_any,
    "empty": _empty,
}
_PAIRS: Mapping[str, Callable[[Read, Read], Read]] = {
    "same": lambda one, other: lambda query: one(query) == other(query),
    "less": lambda one, other: lambda query: one(query) < other(query),
    "less_eq": lambda one, other: lambda query: one(query) <= other(query),
    "greater": lambda one, other: lambda query: one(query) > other(query),
    "greater_eq": lambda one, other: lambda query: one(query) >= other(query),
    "holds at": lambda one, other: lambda query: other(query) in one(query),
}
