"""A recorded check or an audited decision in; how it is decided and what would have to change for an allow, out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from authz.core.decision import Allow, Deny, StepUp
from authz.core.errand import Errand
from authz.core.errors import Place, Problem, Unusable
from authz.core.hop import Operation
from authz.core.query import Query
from authz.core.reasons import Reason
from authz.core.record import Record
from authz.core.spiffe import SpiffeId
from authz.core.task import Grant
from authz.observe.audit_read import Answered, read_answers
from authz.policy.accounts import Account, accounts, sources
from authz.policy.cedar import CedarPolicy
from authz.policy.files import PolicyFile
from authz.policy.rego import RegoPolicy
from authz.policy.rego_account import RegoAccount, RegoCoverage
from authz.wiring.engines import LoadedPolicy, must_decide_in_process
from authz.wiring.knowledge import read
from authz.wiring.policy_sets import Named, parts_of
from authz.wiring.recorded import decide_recorded
from authz.wiring.replay import CannotReplay, Replay

__all__ = ["Account", "Answered", "Explained", "RegoAccount", "explain_answered", "explain_recorded"]

NEAREST = 3
"""How many permits that might have permitted are told."""

_A_LIVE_TASK = "a live task: authz task start"
_FIXED_REMEDIES = {
    Reason.TASK_MISSING: _A_LIVE_TASK,
    Reason.TASK_UNKNOWN: _A_LIVE_TASK,
    Reason.TASK_EXPIRED: _A_LIVE_TASK,
    Reason.TASK_ENDED: _A_LIVE_TASK,
    Reason.TASK_IDLE: _A_LIVE_TASK,
    Reason.BUDGET_EXHAUSTED: "another task, with a budget of its own",
    Reason.ACCESS_REQUESTS_EXHAUSTED: "another task, with access requests of its own",
    Reason.ACTION_UNSET: "class, dataset and sensitivity of its entry in the catalog",
    Reason.APPROVAL_DENIED: "another hop: somebody said no to this one",
    Reason.POLICY_ERROR: "policies that do not fail over it",
}


@dataclass(frozen=True, slots=True)
class Explained:
    """A check, decided: the record, an account of each policy with its place, and what would make it an allow."""

    record: Record
    accounts: tuple[Account, ...]
    places: dict[str, Place]
    remedies: tuple[str, ...]
    answered: Answered | None = None  # the line of the audit log that it was made from
    rego: RegoAccount | None = None  # where the policies are rules in Rego


def explain_recorded(
    config_file: Path, recorded_file: Path, unix_seconds: float | None, asker: SpiffeId | None
) -> Explained:
    """The check in the file, as the server would decide it now or at another time."""
    knowledge = read(config_file)
    must_decide_in_process(knowledge.settings, config_file)
    record = decide_recorded(knowledge, recorded_file, unix_seconds, asker)
    return _explained(record, knowledge.policy, knowledge.origin.files())


def explain_answered(named: Named, audit_file: Path, decision_id: str) -> Explained:
    """The decision of that id in the audit log, asked anew; raises Unusable where that cannot be."""
    policy_set = parts_of(named).read()
    answered = _find(audit_file, decision_id)
    if not answered.policy_version:
        what = f"{decision_id} was decided before policies were asked: {answered.reason}"
        remedy = "Its line tells the detail; record the CheckRequest to have it explained whole."
        raise Unusable(Problem(Place(audit_file, answered.line), what, remedy))
    try:
        record = Replay(policy_set).record(answered)
    except CannotReplay as error:
        what = f"{decision_id} cannot be asked again: {error}"
        remedy = "Record the CheckRequest to have it explained."
        raise Unusable(Problem(Place(audit_file, answered.line), what, remedy)) from error
    return _explained(record, policy_set.policy, policy_set.files, answered)


def _find(audit_file: Path, decision_id: str) -> Answered:
    for answered in read_answers(audit_file):
        if isinstance(answered, Answered) and answered.decision_id == decision_id:
            return answered
    remedy = "The id stands in the answer, the span and the log line; look into the file of that time."
    raise Unusable(Problem(Place(audit_file), f"holds no decision {decision_id}", remedy))


def _explained(
    record: Record, policy: LoadedPolicy, files: Sequence[PolicyFile], answered: Answered | None = None
) -> Explained:
    told: list[Account] = []
    query = _query(record)
    if isinstance(policy, RegoPolicy):
        can_be_told = query is not None and record.verdict is not None and not record.verdict.errors
        account = RegoCoverage(policy).account(query) if can_be_told and query is not None else None
        return Explained(record, (), {}, tuple(_remedies_of_rules(record)), answered, account)
    if not isinstance(policy, CedarPolicy):
        raise TypeError(f"{type(policy).__name__} cannot be explained")
    if query is not None and record.verdict is not None:
        told = accounts(policy, query)
    places = {id: source.place for id, source in sources(files).items()}
    return Explained(record, tuple(told), places, tuple(_remedies(record, told)), answered)


def _query(record: Record) -> Query | None:
    """What policies were asked about; none where it did not come to that."""
    identity, errand, hop = record.identity, record.errand, record.hop
    if identity is None or errand is None or hop is None:
        return None
    return Query.about(identity, errand, hop, record.arrival.unix_seconds, record.request)


def _remedies(record: Record, told: list[Account]) -> Iterator[str]:
    """What would have to change, each on a line; all of it together makes an allow."""
    match record.decision:
        case Allow():
            return
        case StepUp(kinds):
            yield _approvals(record, kinds)
        case Deny(Reason.POLICY_FORBIDS | Reason.POLICY_PERMITS_NOTHING):
            if record.decision.reason is Reason.POLICY_PERMITS_NOTHING:
                yield from _permits(told)
            forbids = [each for each in told if each.fires and each.effect == "forbid"]
            yield from (_without(each) for each in forbids if not each.step_up)
            kinds = frozenset(each.step_up for each in forbids if each.step_up)
            if kinds:
                yield f"then approvals by: {', '.join(sorted(kinds))}"
        case Deny(reason):
            yield _FIXED_REMEDIES.get(reason) or _of_the_rest(record, reason)


def _remedies_of_rules(record: Record) -> Iterator[str]:
    """As above. Which rule should have held is not known: a denial in Rego is what is left where none does."""
    match record.decision:
        case Deny(Reason.POLICY_FORBIDS | Reason.POLICY_PERMITS_NOTHING):
            yield "other values of the rules above: each that stopped is told with the line that it got to"
        case _:
            yield from _remedies(record, [])


def _permits(told: list[Account]) -> Iterator[str]:
    near = [each for each in told if each.effect == "permit"]
    if not near:
        yield "a policy that permits it: there is no permit at all"
    for number, each in enumerate(near[:NEAREST]):
        wanted = [*each.scope_misses, *(_wanted(found.condition, found.values) for found in each.unmet)]
        yield f"{'or ' if number else ''}{each.id} would permit it if {'; and '.join(wanted)}"


def _wanted(condition: object, values: tuple[str, ...]) -> str:
    return f"{condition}" + (f" ({', '.join(values)})" if values else "")


def _without(forbid: Account) -> str:
    if not forbid.met:
        return f"{forbid.id} would have to go, or to be narrowed: it forbids whatever is in its scope"
    held = (f"{found.condition}" + (f" ({', '.join(found.values)})" if found.values else "") for found in forbid.met)
    return f"{forbid.id} would not forbid it if it were not so that {', or not so that '.join(held)}"


def _approvals(record: Record, kinds: frozenset[str]) -> str:
    listed = ", ".join(sorted(kinds))
    if record.access_request is None or record.task is None:
        return f"approvals by: {listed}"
    return f"approvals by: {listed}, of this hop: authz task approve {record.task.id} {record.access_request.digest}"


def _of_the_rest(record: Record, reason: Reason) -> str:
    errand, hop, request = record.errand, record.hop, record.request
    match reason:
        case Reason.ACTION_NOT_GRANTED if errand and hop:
            lacking = ", ".join(task.id for task in errand.chain if not _grants(task.grants, hop.operation))
            return f"a grant such as {hop.operation.action}:{hop.operation.dataset} in {lacking}"
        case Reason.SENSITIVITY_ABOVE_CEILING if hop:
            return f"a task, and tasks above it, with a ceiling of at least {hop.operation.sensitivity}"
        case Reason.TASK_OF_ANOTHER_AGENT if errand:
            return f"a caller among its agents: {', '.join(sorted(map(str, errand.task.agents)))}"
        case Reason.TASK_SUSPENDED if errand:
            return f"somebody to resume it: authz task resume {_suspended(errand)}"
        case Reason.ACTION_UNKNOWN if request:
            return f"an entry of the catalog for {request.method} {request.host}{request.path_without_query}"
        case _:
            return f"a request of which this is not so: {reason.meaning}"


def _grants(grants: tuple[Grant, ...], operation: Operation) -> bool:
    return any(grant.covers(operation) for grant in grants)


def _suspended(errand: Errand) -> str:
    return next((task.id for task in errand.chain if task.is_suspended), errand.task.id)
