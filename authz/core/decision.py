"""Verdict: what the policies said. Decision: what we answer. An answer always comes with the policies behind it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from authz.core.amendments import NO_AMENDMENTS, Amendments
from authz.core.reasons import Reason


@dataclass(frozen=True, slots=True)
class Verdict:
    """The satisfied policies by effect, and those that failed; `version` names the policy set that was asked.

    `liftable` maps those of the forbids that an approval would lift to the kind of approval that does. A forbid that
    it does not name no approval lifts. `amendments` is what they want changed in the request and the response.
    """

    permits: frozenset[str]
    forbids: frozenset[str]
    errors: tuple[str, ...]
    version: str
    from_cache: bool = False
    liftable: Mapping[str, str] = field(default_factory=dict)
    amendments: Amendments = NO_AMENDMENTS


@dataclass(frozen=True, slots=True)
class Allow:
    """The hop may go on."""

    word: ClassVar[str] = "allow"  # on spans, metrics and the audit line, and so for the others
    policies: frozenset[str]


@dataclass(frozen=True, slots=True)
class Deny:
    """The hop stops here. `detail` is for the audit record only."""

    word: ClassVar[str] = "deny"
    reason: Reason
    detail: str = ""
    policies: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class StepUp:
    """The hop stops here too, and approvals of all these kinds would let it go on. `policies` forbid it until then."""

    word: ClassVar[str] = "step_up"
    kinds: frozenset[str]
    policies: frozenset[str]

    @property
    def reason(self) -> Reason:
        """What the caller is told."""
        return Reason.STEP_UP_REQUIRED

    @property
    def detail(self) -> str:
        """The kinds, for a person."""
        return f"needs approval by: {', '.join(sorted(self.kinds))}"


Decision = Allow | Deny | StepUp


def conclude(verdict: Verdict) -> Decision:
    """The decision that a verdict amounts to. An erring policy denies, for it may have been the one that forbids.

    What no policy permits is denied without a word of approvals, which could not help. One forbid that no approval
    lifts beats all that could be lifted.
    """
    forbids = verdict.forbids
    if verdict.errors:
        return Deny(Reason.POLICY_ERROR, "; ".join(verdict.errors))
    if not verdict.permits:
        return Deny(Reason.POLICY_PERMITS_NOTHING, ", ".join(sorted(forbids)), forbids)
    if not forbids:
        return Allow(verdict.permits)
    hard = frozenset(forbid for forbid in forbids if not verdict.liftable.get(forbid))
    if hard:
        return Deny(Reason.POLICY_FORBIDS, ", ".join(sorted(hard)), hard)
    return StepUp(frozenset(verdict.liftable[forbid] for forbid in forbids), forbids)
