"""Facts: what a task's session has done so far. They only grow, so reports may be joined in any order, and twice."""

from dataclasses import dataclass
from typing import Self

from authz.core.hop import ActionClass, Operation, Sensitivity


@dataclass(frozen=True, slots=True)
class Facts:
    """What was allowed to the task until now; the empty facts are those of a session that did nothing."""

    actions: frozenset[str] = frozenset()
    classes: frozenset[ActionClass] = frozenset()
    datasets: frozenset[str] = frozenset()
    high_water: Sensitivity = Sensitivity.PUBLIC  # of all data it may have seen
    untrusted_input: bool = False  # it may have read what strangers wrote

    @classmethod
    def of(cls, operation: Operation) -> Self:
        """The facts that one allowed hop amounts to."""
        return cls(
            frozenset({operation.action}),
            operation.classes,
            frozenset({operation.dataset}),
            operation.sensitivity,
            operation.brings_untrusted_input,
        )

    def join(self, other: Self) -> Self:
        """Both together: unions and maxima. A session that learns nothing keeps the very same value."""
        if self.covers(other):
            return self
        return type(self)(
            self.actions | other.actions,
            self.classes | other.classes,
            self.datasets | other.datasets,
            max(self.high_water, other.high_water),
            self.untrusted_input or other.untrusted_input,
        )

    def covers(self, other: Self) -> bool:
        """Whether joining `other` would add nothing."""
        return (
            other.actions <= self.actions
            and other.classes <= self.classes
            and other.datasets <= self.datasets
            and other.high_water <= self.high_water
            and self.untrusted_input >= other.untrusted_input
        )


NO_FACTS = Facts()
WORST_FACTS = Facts(classes=frozenset(ActionClass), high_water=max(Sensitivity), untrusted_input=True)
"""For a session of which nothing is known: it may have done anything. Names of actions and datasets it cannot tell."""
