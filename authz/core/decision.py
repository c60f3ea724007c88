"""Verdict: what the policies said. Decision: what we answer. An answer always comes with the policies behind it."""

from dataclasses import dataclass

from authz.core.reasons import Reason


@dataclass(frozen=True, slots=True)
class Verdict:
    """The satisfied policies by effect, and those that failed; `version` names the policy set that was asked."""

    permits: frozenset[str]
    forbids: frozenset[str]
    errors: tuple[str, ...]
    version: str
    from_cache: bool = False


@dataclass(frozen=True, slots=True)
class Allow:
    """The hop may go on."""

    policies: frozenset[str]


@dataclass(frozen=True, slots=True)
class Deny:
    """The hop stops here. `detail` is for the audit record only."""

    reason: Reason
    detail: str = ""
    policies: frozenset[str] = frozenset()


Decision = Allow | Deny


def conclude(verdict: Verdict) -> Decision:
    """The decision that a verdict amounts to. An erring policy denies, for it may have been the one that forbids."""
    if verdict.errors:
        return Deny(Reason.POLICY_ERROR, "; ".join(verdict.errors))
    if verdict.forbids:
        return Deny(Reason.POLICY_FORBIDS, ", ".join(sorted(verdict.forbids)), verdict.forbids)
    if not verdict.permits:
        return Deny(Reason.POLICY_PERMITS_NOTHING)
    return Allow(verdict.permits)
