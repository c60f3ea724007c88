"""The story of one change of a task: who asks for it, whether they may, and which act it then is.

    Demand -> the task it is about -> rules -> Verdict -> Decision, and the Act that the store is to do

Callers are proven and policies are asked as for any hop: each demand is an operation of ours, on the dataset
`authz.tasks`. Rules that no policy can lift come first: what is delegated is narrower, and nobody approves their own.
Pure, like a check: clocks, ids and the task are brought by the caller.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from authz.core.acts import Act, Approve, End, Put, Reject, Resume, Suspend
from authz.core.approval import AccessRequest, Approval
from authz.core.decision import Allow, Decision, Deny, Verdict, conclude
from authz.core.demand import OPERATIONS, Demand, Draft, arguments_of
from authz.core.errand import Errand
from authz.core.errors import Refused
from authz.core.hop import ActionClass, Hop, Sensitivity
from authz.core.identity import Identity
from authz.core.query import Query
from authz.core.reasons import Reason
from authz.core.record import Arrival, Record
from authz.core.task import Task, TaskState
from authz.core.view import TaskView
from authz.ports import Policy

_NO_TASK = Errand((Task("", "", "", frozenset(), (), Sensitivity.PUBLIC, 0, 0, TaskState.ACTIVE),))


CHILD_CHARACTERS = 12
"""Of a delegated task's id behind its parent's: 48 random bits. A clash is a conflict in the store."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What no task may exceed."""

    max_lifetime_seconds: float
    max_depth: int
    max_approval_seconds: float


@dataclass(frozen=True, slots=True)
class Found:
    """What a demand is about: the task with those above it, and what its agents asked for."""

    errand: Errand
    requests: tuple[AccessRequest, ...] = ()

    @classmethod
    def of(cls, *views: TaskView) -> "Found":
        """From views of the task and those above it, in that order."""
        return cls(Errand(tuple(view.task for view in views)), views[0].requests)


NOTHING_FOUND = Found(_NO_TASK)


@dataclass(frozen=True, slots=True)
class Fresh:
    """Values that nobody had before: an id for what is made, and a transaction for a task."""

    id: str
    transaction: str


@dataclass(frozen=True, slots=True)
class Ruling:
    """The decision on a demand, told like a check's; and the act, where it is allowed and changes something."""

    record: Record
    act: Act | None = None


class Rules(Protocol):
    """Decides demands."""

    def rule(self, arrival: Arrival, caller: Identity, demand: Demand, found: Found, fresh: Fresh) -> Ruling:
        """The decision, told like a check's; it starts as a denial. Pure."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifecycle:
    """The rules for changes of tasks, and the policies that are asked. `classes_of` tells the catalog's actions."""

    policy: Policy
    classes_of: Mapping[str, frozenset[ActionClass]]
    limits: Limits

    def rule(self, arrival: Arrival, caller: Identity, demand: Demand, found: Found, fresh: Fresh) -> Ruling:
        """Decide a demand of a proven caller; the decision starts as a denial."""
        errand = found.errand
        hop: Hop | None = None
        verdict: Verdict | None = None
        act: Act | None = None
        decision: Decision = Deny(Reason.INTERNAL_ERROR, "no decision was reached")
        try:
            name = caller.spiffe_id.uri
            act = self.act(demand, found, fresh, name, arrival.unix_seconds)
            if isinstance(act, Put):
                errand = Errand((act.task, *(errand.chain if demand.task_id else ())))
            hop = Hop(OPERATIONS[demand.kind], {}, arguments_of(demand, errand))
            _must_not_be_of_ones_own(demand, found.errand, caller)
            _must_be_ones_own(demand, found.errand, caller, hop, arrival.unix_seconds)
            verdict = self.policy.decide(Query.about(caller, errand, hop, arrival.unix_seconds))
            decision = conclude(verdict)
        except Refused as refused:
            decision = Deny(refused.reason, refused.detail)
        record = Record(arrival, None, None, caller, None, errand, hop, verdict, decision)
        return Ruling(record, act)

    def act(  # noqa: PLR0911  one line a kind
        self, demand: Demand, found: Found, fresh: Fresh, name: str, unix_seconds: float
    ) -> Act | None:
        """What the store is to do for a demand of someone of that name, who is known to be allowed; raises Refused.

        It holds all rules but those about the caller, so that an operator at the store itself is bound by them too.
        """
        match demand.kind:
            case "start":
                task = _drafted(demand.must_draft(), fresh.id, name, fresh.transaction, unix_seconds)
                self._must_end_in_time(task)
                return Put(task)
            case "delegate":
                return Put(self._delegated(demand.must_draft(), found.errand, fresh, name, unix_seconds))
            case "end":
                return End(demand.task_id)
            case "suspend":
                return Suspend(demand.task_id)
            case "resume":
                return Resume(demand.task_id)
            case "approve":
                return Approve(demand.task_id, self._approval(demand, found, fresh, name, unix_seconds))
            case "reject":
                return Reject(demand.task_id, _requested(demand, found).digest)
            case "issue_token" | "get" | "list" | "watch":
                return None

    def _must_end_in_time(self, task: Task) -> None:
        if task.expires_unix_seconds - task.starts_unix_seconds > self.limits.max_lifetime_seconds:
            raise Refused(Reason.TASK_TOO_LONG, f"a task may live {self.limits.max_lifetime_seconds:g} s")

    def _delegated(self, draft: Draft, errand: Errand, fresh: Fresh, name: str, unix_seconds: float) -> Task:
        """The child task; raises Refused unless it is narrower than each task above it."""
        errand.must_be_live(unix_seconds)
        parent = errand.task
        draft = replace(draft, owner=parent.owner)
        # The random end of the id tells children of one parent apart, and leaves room for a deep chain of them.
        id = f"{parent.id}.{fresh.id[-CHILD_CHARACTERS:]}"
        child = _drafted(draft, id, name, fresh.transaction, unix_seconds)
        if child.depth > self.limits.max_depth:
            raise Refused(Reason.DELEGATION_TOO_DEEP, f"{parent.id} lies {parent.depth} delegations deep already")
        for above in errand.chain:
            if not above.agents.isdisjoint(child.agents):
                raise Refused(Reason.DELEGATION_LOOPS, f"{', '.join(sorted(map(str, above.agents & child.agents)))}")
            child.must_be_within(above, self.classes_of)
        return child

    def _approval(self, demand: Demand, found: Found, fresh: Fresh, name: str, unix_seconds: float) -> Approval:
        request = _requested(demand, found)
        if demand.approval_kind not in request.kinds:
            asked = ", ".join(sorted(request.kinds))
            raise Refused(Reason.APPROVAL_UNASKED, f"{demand.approval_kind!r} was not asked for; asked were: {asked}")
        lifetime_seconds = min(demand.lifetime_seconds, self.limits.max_approval_seconds)
        expires = min(unix_seconds + lifetime_seconds, found.errand.task.expires_unix_seconds)
        return Approval(fresh.id, request.digest, demand.approval_kind, name, expires)


@dataclass(frozen=True, slots=True)
class OperatorRules:
    """For an operator at the store itself, who could write it anyway: no policy is asked, the other rules hold."""

    lifecycle: Lifecycle
    name: str

    def rule(self, arrival: Arrival, caller: Identity, demand: Demand, found: Found, fresh: Fresh) -> Ruling:
        """The act, by whom the operator is; a refusal where a rule is broken."""
        decision: Decision
        act: Act | None = None
        try:
            act = self.lifecycle.act(demand, found, fresh, self.name, arrival.unix_seconds)
            decision = Allow(frozenset({"operator"}))
        except Refused as refused:
            decision = Deny(refused.reason, refused.detail)
        hop = Hop(OPERATIONS[demand.kind], {})
        return Ruling(Record(arrival, None, None, caller, None, found.errand, hop, None, decision), act)


def _drafted(draft: Draft, id: str, started_by: str, transaction: str, unix_seconds: float) -> Task:
    starts = draft.starts_unix_seconds or unix_seconds
    return Task(
        id=id,
        owner=draft.owner,
        purpose=draft.purpose,
        agents=draft.agents,
        grants=draft.grants,
        ceiling=draft.ceiling,
        starts_unix_seconds=starts,
        expires_unix_seconds=starts + draft.lifetime_seconds,
        state=TaskState.ACTIVE,
        started_by=started_by,
        transaction=transaction,
        idle_seconds=draft.idle_seconds,
        budget_hops=draft.budget_hops,
    )


def _requested(demand: Demand, found: Found) -> AccessRequest:
    request = next((each for each in found.requests if each.digest == demand.digest), None)
    if request is None:
        raise Refused(Reason.ACCESS_REQUEST_UNKNOWN, f"{demand.task_id} has no access request {demand.digest}")
    return request


def _must_not_be_of_ones_own(demand: Demand, errand: Errand, caller: Identity) -> None:
    """Nobody approves what they, or who works with them on the errand, asked for."""
    if demand.kind == "approve" and any(caller.spiffe_id in task.agents for task in errand.chain):
        raise Refused(Reason.APPROVAL_OF_ONES_OWN, f"{caller.spiffe_id} works on {errand.task.id}")


def _must_be_ones_own(demand: Demand, errand: Errand, caller: Identity, hop: Hop, unix_seconds: float) -> None:
    """Who delegates, or asks for a token, works on the task; and it grants delegation, like all that is done on it."""
    if demand.kind in {"delegate", "issue_token"}:
        errand.must_name(caller)
        errand.must_be_live(unix_seconds)
    if demand.kind == "delegate":
        errand.must_cover(hop.operation)
