"""Demands: what people and services ask of tasks, in the words in which policies are asked whether they may."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from authz.core.errand import Errand
from authz.core.errors import Refused
from authz.core.hop import ActionClass, Argument, Operation, Sensitivity
from authz.core.reasons import Reason
from authz.core.spiffe import SpiffeId
from authz.core.task import Grant

Kind = Literal[
    "start", "delegate", "issue_token", "get", "list", "watch", "end", "suspend", "resume", "approve", "reject"
]

DATASET = "authz.tasks"

_CLASS_OF: Mapping[Kind, ActionClass] = {
    "start": ActionClass.ADMIN,
    "delegate": ActionClass.DELEGATE,
    "issue_token": ActionClass.DELEGATE,
    "get": ActionClass.READ,
    "list": ActionClass.READ,
    "watch": ActionClass.READ,
    "end": ActionClass.ADMIN,
    "suspend": ActionClass.ADMIN,
    "resume": ActionClass.ADMIN,
    "approve": ActionClass.ADMIN,
    "reject": ActionClass.ADMIN,
}

OPERATIONS: Mapping[Kind, Operation] = {
    kind: Operation(
        action=f"authz.task.{kind}",
        classes=frozenset({its_class}),
        resource=f"authz.task.{kind}",
        service="authz",
        dataset=DATASET,
        sensitivity=Sensitivity.INTERNAL,
    )
    for kind, its_class in _CLASS_OF.items()
}
"""The operations of the task service, beside those of the catalog."""


ARGUMENTS: Mapping[str, type] = {
    "agents": frozenset,
    "granted_classes": frozenset,
    "granted_actions": frozenset,
    "granted_datasets": frozenset,
    "lifetime_seconds": int,
    "started_by": str,
    "approval": str,
}
"""What policies may see of a demand, and its type."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A task that someone wants: its id, its transaction and who started it are ours to say."""

    owner: str
    purpose: str
    agents: frozenset[SpiffeId]
    grants: tuple[Grant, ...]
    ceiling: Sensitivity
    lifetime_seconds: float
    starts_unix_seconds: float | None = None  # None: now
    idle_seconds: float | None = None
    budget_hops: int | None = None


@dataclass(frozen=True, slots=True)
class Demand:
    """One wish. `task_id` is of the task that it is about: for a delegation the parent; empty for a start or a list."""

    kind: Kind
    task_id: str = ""
    draft: Draft | None = None
    digest: str = ""  # of the access request that is approved or rejected
    approval_kind: str = ""
    lifetime_seconds: float = 0.0  # of an approval

    def must_draft(self) -> Draft:
        """What is to be made; raises Refused."""
        if self.draft is None:
            raise Refused(Reason.REQUEST_MALFORMED, f"{self.kind} without a task")
        return self.draft


def arguments_of(demand: Demand, errand: Errand) -> dict[str, Argument]:
    """What policies see of a demand beside the task: for whom it is, and what would be granted."""
    arguments: dict[str, Argument] = {}
    if demand.draft is not None:
        arguments["agents"] = frozenset(map(str, demand.draft.agents))
        arguments["granted_classes"] = frozenset(str(each) for grant in demand.draft.grants for each in grant.classes)
        arguments["granted_actions"] = frozenset(name for grant in demand.draft.grants for name in grant.actions)
        arguments["granted_datasets"] = frozenset(name for grant in demand.draft.grants for name in grant.datasets)
        arguments["lifetime_seconds"] = int(demand.draft.lifetime_seconds)
    elif demand.task_id:
        arguments["agents"] = frozenset(map(str, errand.task.agents))
        arguments["started_by"] = errand.task.started_by
    if demand.approval_kind:
        arguments["approval"] = demand.approval_kind
    return arguments
