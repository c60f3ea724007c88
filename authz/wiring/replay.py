"""Lines of an audit log in, how a candidate policy set would decide the same hops out, one by one.

A recorded hop becomes the question that it was, and goes through the server's own pipeline. What the log does not hold
is never guessed: where a policy that applies would read it, the hop cannot be replayed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from authz.core.decision import Allow, StepUp
from authz.core.demand import OPERATIONS
from authz.core.hop import ActionClass, Argument, Hop, Operation, Sensitivity
from authz.core.query import Query
from authz.core.reasons import Reason
from authz.core.record import Record
from authz.core.spiffe import NotASpiffeId, SpiffeId
from authz.core.task import Grant, Task, TaskState
from authz.observe.audit_read import CUT, Answered, Question, Unreadable, read_answers
from authz.policy.cedar import CedarPolicy
from authz.policy.fields import Kind
from authz.policy.fields import Place as PlaceInQuery
from authz.policy.rego import RegoPolicy
from authz.wiring.policy_sets import PolicySet
from authz.wiring.stated import HALF_SECOND, Operations, Stated, by_action, decide_stated

_EVERYTHING = Grant(frozenset(ActionClass), frozenset(), frozenset({"*"}))
_SAID_BY_POLICIES = frozenset(
    {
        "",
        *map(str, (Reason.POLICY_FORBIDS, Reason.POLICY_PERMITS_NOTHING, Reason.POLICY_ERROR, Reason.STEP_UP_REQUIRED)),
    }
)
_SAID_BY_APPROVERS = frozenset(map(str, (Reason.APPROVAL_DENIED, Reason.ACCESS_REQUESTS_EXHAUSTED)))
_RANK = {"deny": 0, "step_up": 1, "allow": 2}
_STAND_INS: dict[Kind, Argument] = {Kind.LONG: 0, Kind.STRING: "", Kind.BOOL: False, Kind.SET: frozenset()}
_ONLY_PRESENCE = frozenset({"has", "present"})


class CannotReplay(Exception):
    """The log does not hold what the candidate would be asked; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Said:
    """A decision, as far as it is compared."""

    decision: str
    reason: str
    policies: tuple[str, ...]
    step_up: frozenset[str] = frozenset()

    def __str__(self) -> str:
        kinds = f" ({', '.join(sorted(self.step_up))})" if self.step_up else ""
        shown = f"{self.decision} {self.reason}" if self.decision == "deny" and self.reason else self.decision
        return shown + kinds


@dataclass(frozen=True, slots=True)
class Replayed:
    """One line of the log. `change`: same, wider, narrower, reason, unaffected, unreplayable or unreadable."""

    line: int
    change: str
    answered: Answered | None = None
    before: Said | None = None
    after: Said | None = None
    why: str = ""


class Replay:
    """Asks a candidate about recorded hops."""

    def __init__(self, candidate: PolicySet) -> None:
        self._catalog, self._policy = candidate.catalog, candidate.policy
        self._known: Operations = by_action((*candidate.catalog.operations, *OPERATIONS.values()))

    def of_file(self, audit_file: Path) -> Iterator[Replayed]:
        """Each line of the log, as it is read; raises Unusable where the file cannot be read."""
        for answered in read_answers(audit_file):
            yield self.of(answered)

    def of(self, answered: Answered | Unreadable) -> Replayed:
        """What would become of the hop."""
        if isinstance(answered, Unreadable):
            return Replayed(answered.line, "unreadable", why=answered.why)
        before = Said(answered.decision, answered.reason, answered.policies, answered.step_up)
        if not answered.policy_version or answered.reason not in _SAID_BY_POLICIES | _SAID_BY_APPROVERS:
            return Replayed(answered.line, "unaffected", answered, before, why="policies did not decide it")
        try:
            after = _said(self.record(answered))
        except CannotReplay as error:
            return Replayed(answered.line, "unreplayable", answered, before, why=str(error))
        return Replayed(answered.line, _change(before, after), answered, before, after)

    def record(self, answered: Answered) -> Record:
        """How the hop would be decided; raises CannotReplay."""
        question = answered.question
        if question is None:
            raise CannotReplay("the line does not hold the question: it was too long, or is of an older version")
        hop, unknown = self._hop(answered, question)
        unknown |= {("context", "task", name) for name in ("owner", "purpose") if getattr(answered, name).endswith(CUT)}
        record = decide_stated(_stated(answered, question, hop), self._catalog, self._policy)
        if record.identity is None or record.errand is None:
            raise CannotReplay(f"the task {answered.task!r} cannot be made from the line")
        query = Query.about(record.identity, record.errand, hop, answered.unix_seconds)
        _must_not_read(self._policy, query, unknown)
        return record

    def _hop(self, answered: Answered, question: Question) -> tuple[Hop, set[PlaceInQuery]]:
        """The hop, and the places of which the log holds no value; other values stand in for them."""
        operation = self._operation(answered)
        self._must_have_been_chosen(operation, question)
        declared = _declared(self._policy)
        arguments, parameters = dict[str, Argument](), dict[str, str]()
        unknown = set[PlaceInQuery]()
        for name, value in question.arguments.items():
            if name in declared:  # else no policy can read it any more
                arguments[name] = _STAND_INS[declared[name]] if value is None else value
                unknown |= {("context", "arguments", name)} if value is None else set()
        for name, text in question.parameters.items():
            parameters[name] = text or ""
            unknown |= {("context", "parameters", name)} if text is None else set()
        return Hop(operation, parameters, arguments), unknown

    def _must_have_been_chosen(self, operation: Operation, question: Question) -> None:
        """The catalog chose then, for policies, what its entry requires now; raises CannotReplay."""
        later = self._catalog.required_arguments.get(operation.resource, frozenset()) - question.arguments.keys()
        if later:
            names = ", ".join(sorted(later))
            raise CannotReplay(f"the catalog's entry for {operation.action} has arguments now that it had not: {names}")

    def _operation(self, answered: Answered) -> Operation:
        operation = self._known.get(answered.action, {}).get(answered.resource)
        if operation is None:
            raise CannotReplay(f"the catalog has no {answered.action} as {answered.resource!r}")
        was = (answered.classes, answered.dataset, answered.sensitivity)
        now = (frozenset(map(str, operation.classes)), operation.dataset, str(operation.sensitivity))
        for name, then, here in zip(("classes", "dataset", "sensitivity"), was, now, strict=True):
            if then != here:
                raise CannotReplay(f"the catalog's entry for {answered.action} is of another {name} now")
        return operation


def _stated(answered: Answered, question: Question, hop: Hop) -> Stated:
    try:
        agent = SpiffeId.parse(answered.agent)
    except NotASpiffeId as error:
        raise CannotReplay(f"the agent's name was cut: {error}") from error
    ids, task_id = list[str](), answered.task
    while task_id:
        ids.append(task_id)
        task_id = task_id.rpartition(".")[0]
    chain = tuple(_task(id, agent, answered, question) for id in ids)
    if not chain:
        raise CannotReplay("the line names no task")
    return Stated(agent=agent, chain=chain, unix_seconds=answered.unix_seconds, what=hop, approved=question.approved)


def _task(id: str, agent: SpiffeId, answered: Answered, question: Question) -> Task:
    """A task that poses the same question. Grants and budgets were asked before, and are not asked again."""
    return Task(
        id=id,
        owner=answered.owner,
        purpose=answered.purpose,
        agents=frozenset({agent}),
        grants=(_EVERYTHING,),
        ceiling=max(Sensitivity) if id != answered.task else question.ceiling,
        starts_unix_seconds=answered.unix_seconds - question.age_seconds - HALF_SECOND,
        expires_unix_seconds=answered.unix_seconds + question.remaining_seconds + HALF_SECOND,
        state=TaskState.ACTIVE,
        facts=question.session,
    )


def _declared(policy: CedarPolicy | RegoPolicy) -> Mapping[str, Kind]:
    """The arguments that policies can read."""
    return policy.input.arguments if isinstance(policy, RegoPolicy) else policy.fields.arguments


def _must_not_read(policy: CedarPolicy | RegoPolicy, query: Query, unknown: set[PlaceInQuery]) -> None:
    """No policy that applies reads the value of such a place; raises CannotReplay."""
    if isinstance(policy, RegoPolicy):
        _rules_must_not_read(policy, unknown)
        return
    if not unknown:
        return
    for block in policy.blocks(query):
        for written in block.policies:
            for word, *rest in written.observed:
                read = next((place for place in rest if place in unknown), None)
                if read is not None and word not in _ONLY_PRESENCE:
                    where = ".".join(map(str, read))
                    remedy = "" if read[1] == "task" else f"; name {read[-1]!r} in audit.values"
                    raise CannotReplay(f"{written.id} reads {where}, whose value the log does not hold{remedy}")


def _rules_must_not_read(policy: RegoPolicy, unknown: set[PlaceInQuery]) -> None:
    """As above. Of rules, every read counts, whether this query would come to it or not."""
    facts = policy.input.place_of_facts
    for read in policy.reads:
        where = ".".join(("input", *read))
        if facts and read[: len(facts)] != facts:
            raise CannotReplay(f"the rules read {where}, and the log does not hold the request")
        for place in sorted(unknown):
            there = (*facts, *place[1:])
            if read[: len(there)] == there or there[: len(read)] == read:
                remedy = "" if place[1] == "task" else f"; name {place[-1]!r} in audit.values"
                raise CannotReplay(f"the rules read {where}, whose value the log does not hold{remedy}")


def _said(record: Record) -> Said:
    decision = record.decision
    if isinstance(decision, Allow):
        return Said(decision.word, "", tuple(sorted(decision.policies)))
    kinds = decision.kinds if isinstance(decision, StepUp) else frozenset[str]()
    return Said(decision.word, decision.reason.id, tuple(sorted(decision.policies)), kinds)


def _change(before: Said, after: Said) -> str:
    if before.reason in _SAID_BY_APPROVERS:
        # They were asked, and what they said stands: only a hop that needs no approval any more is another.
        return "wider" if after.decision == "allow" else "same"
    if before.decision != after.decision:
        return "wider" if _RANK[after.decision] > _RANK[before.decision] else "narrower"
    return "same" if (before.reason, before.step_up) == (after.reason, after.step_up) else "reason"
