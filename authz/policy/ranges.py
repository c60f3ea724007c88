"""What is known of the numbers that policies see: their lowest and highest values, and questions that hold them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from authz.core.facts import Facts
from authz.core.hop import Operation, Sensitivity
from authz.core.query import Query
from authz.core.spiffe import SpiffeId
from authz.core.task import MAX_DEPTH
from authz.policy.conditions import Condition
from authz.policy.fields import Place

_SOMEBODY = SpiffeId.parse("spiffe://example.org/somebody")
_HIGHEST = 2**63 - 1
_MOST_VALUES = 64


@dataclass(frozen=True, slots=True)
class Range:
    """A number of which the lowest and the highest are known; `name` is the query's field."""

    name: str
    lowest: int
    highest: int

    @property
    def is_long(self) -> bool:
        """Whether it has too many values to try each."""
        return self.highest - self.lowest > _MOST_VALUES

    def queries(self, condition: Condition, operations: frozenset[Operation]) -> Iterator[Query]:
        """Questions with each value; of a long range, with its ends and what lies about the condition's numbers."""
        values: Iterable[int] = range(self.lowest, self.highest + 1)
        if self.is_long:
            words = condition.text.replace("(", " ").replace(")", " ").split()
            near = {int(word) + step for word in words if word.isdecimal() for step in (-1, 0, 1)}
            values = sorted(each for each in near | {self.lowest, self.highest} if each in values)
        some = some_query(min(operations, key=lambda each: (each.action, each.resource)))
        for value in values:
            if self.name == "high_water":
                yield replace(some, facts=Facts(high_water=Sensitivity(value)))
            else:
                changes: dict[str, Any] = {self.name: Sensitivity(value) if self.name == "ceiling" else value}
                yield replace(some, **changes)


_LEVELS = (0, int(max(Sensitivity)))
RANGES: Mapping[Place, Range] = {
    ("context", "utc_hour"): Range("utc_hour", 0, 23),
    ("context", "utc_weekday"): Range("utc_weekday", 1, 7),
    ("context", "task", "ceiling"): Range("ceiling", *_LEVELS),
    ("context", "task", "depth"): Range("depth", 0, MAX_DEPTH),
    ("context", "task", "age_seconds"): Range("age_seconds", 0, _HIGHEST),
    ("context", "task", "remaining_seconds"): Range("remaining_seconds", 0, _HIGHEST),
    ("context", "session", "high_water"): Range("high_water", *_LEVELS),
}
"""The numbers of which that is known."""


def some_query(operation: Operation) -> Query:
    """Some question about the operation."""
    return Query(
        agent=_SOMEBODY,
        operation=operation,
        purpose="",
        owner="",
        ceiling=max(Sensitivity),
        depth=0,
        age_seconds=0,
        remaining_seconds=0,
        utc_hour=0,
        utc_weekday=1,
    )
