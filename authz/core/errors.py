"""The two ways in which things go wrong: a check says no, or an operator's file cannot be used."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from authz.core.reasons import Reason


class Refused(Exception):
    """A check says no. Whatever raises it, the hop is denied with `reason`.

    `detail` says what was found, for the audit record; it never goes on the wire.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class Unavailable(Exception):
    """A part that we depend on (store, audit log) does not answer. The text says which and why."""


@dataclass(frozen=True)
class Place:
    """Where in an operator's file something stands; lines and columns count from 1, 0 means unknown."""

    file: Path
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        numbers = [str(number) for number in (self.line, self.column) if number]
        return ":".join([str(self.file), *numbers])


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with what an operator gave us, where, and what to do about it."""

    place: Place
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.what}" + (f"\n    {self.remedy}" if self.remedy else "")


class Unusable(Exception):
    """An operator's configuration, catalog, policies or bundles cannot be used; all problems found are named."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


@contextmanager
def collecting(problems: list[Problem]) -> Iterator[None]:
    """Keep the problems of one part, and go on with the next; who collects raises Unusable once all were looked at."""
    try:
        yield
    except Unusable as error:
        problems.extend(error.problems)
