"""How a check ends: with an Answer, or with the Needs that must be met before it is run again."""

from dataclasses import dataclass

from authz.core.record import Record


@dataclass(frozen=True, slots=True)
class Know:
    """Want: this task, or its absence, in memory."""

    task_id: str


class Lacks(Exception):
    """Raised inside a check where something it needs is not in memory."""

    def __init__(self, *wants: Know) -> None:
        super().__init__(*wants)
        self.wants = frozenset(wants)


@dataclass(frozen=True, slots=True)
class Answer:
    """The check is decided: `message` goes back to Envoy, `record` to the observers."""

    message: bytes
    record: Record


@dataclass(frozen=True, slots=True)
class Needs:
    """The check cannot be decided from memory. `record` is what it has found so far, and it is a denial."""

    wants: frozenset[Know]
    record: Record
