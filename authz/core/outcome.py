"""How a check ends: with an Answer, or with the Needs that must be met before it is run again."""

from dataclasses import dataclass

from authz.core.acts import Act
from authz.core.record import Record


@dataclass(frozen=True, slots=True)
class Know:
    """Want: this task, or its absence, in memory."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Fresh:
    """Want: this task in memory as the store has it now, after the hop's arrival."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Consult:
    """Want: what the policy engine of another process says to this question."""

    question: bytes


TaskWant = Know | Fresh
"""What the task store brings."""
Want = TaskWant | Consult


class Lacks(Exception):
    """Raised inside a check where something it needs is not in memory."""

    def __init__(self, *wants: Want) -> None:
        super().__init__(*wants)
        self.wants = frozenset(wants)


@dataclass(frozen=True, slots=True)
class Answer:
    """The check is decided: `message` goes back to Envoy, `record` to the observers.

    It holds once `provided` was done. Where the store does not acknowledge that, it is no answer.
    """

    message: bytes
    record: Record
    provided: Act | None = None


@dataclass(frozen=True, slots=True)
class Needs:
    """The check cannot be decided from memory. `record` is what it has found so far, and it is a denial."""

    wants: frozenset[Want]
    record: Record

    @property
    def of_tasks(self) -> frozenset[TaskWant]:
        """What the task store is to bring."""
        return frozenset(want for want in self.wants if not isinstance(want, Consult))

    @property
    def consults(self) -> tuple[Consult, ...]:
        """What the policy engine is to be asked."""
        return tuple(want for want in self.wants if isinstance(want, Consult))
