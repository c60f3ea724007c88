"""A policy set where it lies in, all that is wrong or odd about it and its catalog out."""

from dataclasses import dataclass

from authz.catalog.file import Unset
from authz.core.errors import Place, Unusable
from authz.policy.accounts import sources
from authz.policy.cedar import CedarPolicy
from authz.policy.lint import Finding, lint, unpermitted
from authz.policy.rego import RegoPolicy
from authz.wiring.policy_sets import Parts, PolicySet

__all__ = ["Checked", "Finding", "check"]

_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found; `version` is empty where the set does not load."""

    findings: tuple[Finding, ...]
    policies: int = 0
    version: str = ""


def check(parts: Parts) -> Checked:
    """Read it as the server would, strictly, and look at what it means."""
    try:
        found = parts.read()
    except Unusable as unusable:
        errors = (Finding("error", problem.place, problem.what, problem.remedy) for problem in unusable.problems)
        return Checked(tuple(errors))
    findings = [*_of(found.policy, found), *map(_unset, found.unset)]
    return Checked(tuple(findings), len(found.policy.ids), found.policy.version)


def _of(policy: CedarPolicy | RegoPolicy, found: PolicySet) -> list[Finding]:
    if isinstance(policy, CedarPolicy):
        return [*lint(policy, sources(found.files)), *_closed(policy, found)]
    return [Finding("warning", each.place, each.what, each.remedy) for each in policy.warnings]


def _unset(entry: Unset) -> Finding:
    what = f"the catalog's entry {entry.resource} is not filled in"
    return Finding("warning", entry.place, what, "Set class, dataset and sensitivity; it is denied until then.")


def _closed(policy: CedarPolicy, found: PolicySet) -> list[Finding]:
    actions = unpermitted(policy, found.catalog.operations)
    if not actions:
        return []
    named = ", ".join(actions[:_MOST_NAMED]) + (
        f" and {len(actions) - _MOST_NAMED} more" * (len(actions) > _MOST_NAMED)
    )
    what = f"no policy permits {named}"
    hint = "Requests for it are always denied. Permit it if need be."
    return [Finding("warning", Place(found.files[0].path.parent), what, hint)]
