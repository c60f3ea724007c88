"""The engine: what the policies say, whatever is asked."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import cedarpy
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from authz.core.decision import Allow, Deny, StepUp, Verdict, conclude
from authz.core.hop import Operation, Sensitivity
from authz.core.query import Query
from authz.core.reasons import Reason
from authz.core.spiffe import SpiffeId
from authz.policy.blocks import MAX_ROWS
from authz.policy.cedar import CedarPolicy
from authz.policy.schema import Vocabulary
from authz.ports import Policy
from tests.policy import examples
from tests.policy.random_policies import policy_texts, queries


@pytest.fixture
def company(tmp_path: Path) -> CedarPolicy:
    """The policies of a company that lets its support agent work on the CRM."""
    return examples.load(tmp_path, examples.COMPANY)


def test_a_workload_has_the_rights_that_a_policy_gives_to_its_spiffe_id(company: Policy) -> None:
    """`principal == Agent::"spiffe://..."` permits that workload, and no other."""
    ours = conclude(company.decide(examples.query()))
    other = conclude(company.decide(examples.query(agent=examples.BILLING)))
    assert Allow(frozenset({"support-works-on-the-crm"})) == ours
    assert Deny(Reason.POLICY_PERMITS_NOTHING) == other


def test_an_agent_whose_id_only_begins_like_a_permitted_one_is_denied(company: Policy) -> None:
    """SPIFFE IDs are compared whole."""
    longer = SpiffeId.parse(f"{examples.SUPPORT}/x")
    assert Deny(Reason.POLICY_PERMITS_NOTHING) == conclude(company.decide(examples.query(agent=longer)))


def test_confidential_data_do_not_leave(company: Policy) -> None:
    """A forbid on the class egress beats the permit, and only it is named as the cause."""
    verdict = company.decide(examples.query(examples.SEND_CONTACTS))
    assert (frozenset({"support-sends"}), frozenset({"no-egress-of-confidential-data"})) == (
        verdict.permits,
        verdict.forbids,
    )
    policies = frozenset({"no-egress-of-confidential-data"})
    assert Deny(Reason.POLICY_FORBIDS, "no-egress-of-confidential-data", policies) == conclude(verdict)


def test_public_data_may_leave(company: Policy) -> None:
    """The same forbid lets other data pass."""
    assert Allow(frozenset({"support-sends"})) == conclude(company.decide(examples.query(examples.SEND_MAIL)))


@pytest.mark.parametrize(
    ("weekday", "hour", "allowed"), [(5, 17, True), (5, 18, False), (1, 8, True), (1, 7, False), (6, 12, False)]
)
def test_writes_are_for_working_hours(company: Policy, weekday: int, hour: int, *, allowed: bool) -> None:
    """Policies see the hour and the weekday, in UTC."""
    query = examples.at(examples.query(examples.SET_CONTACT), weekday, hour)
    assert allowed == isinstance(conclude(company.decide(query)), Allow)


def test_two_permits_are_both_named(tmp_path: Path) -> None:
    """The verdict names every satisfied policy by its @id, not the first one only."""
    again = '@id("crm-is-open") permit (principal, action, resource in Dataset::"crm");'
    policy = examples.load(tmp_path, examples.SUPPORT_RIGHTS, again)
    expected = Verdict(
        frozenset({"support-works-on-the-crm", "crm-is-open"}), frozenset(), (), policy.version, from_cache=False
    )
    assert expected == policy.decide(examples.query())


def test_forbids_do_not_hide_the_permits(tmp_path: Path) -> None:
    """A verdict tells whether lifting the forbids would be enough."""
    forbid = '@id("never") forbid (principal, action, resource);'
    verdict = examples.load(tmp_path, examples.SUPPORT_RIGHTS, forbid).decide(examples.query())
    assert (frozenset({"support-works-on-the-crm"}), frozenset({"never"})) == (verdict.permits, verdict.forbids)


def test_a_set_without_a_satisfied_policy_denies(tmp_path: Path) -> None:
    """No determining policy is a denial, also where a forbid exists that does not apply."""
    policy = examples.load(tmp_path, examples.NO_CONFIDENTIAL_EGRESS)
    assert Deny(Reason.POLICY_PERMITS_NOTHING) == conclude(policy.decide(examples.query()))


def test_an_empty_set_denies() -> None:
    """An engine without any policy permits nothing."""
    policy = CedarPolicy.of([], Vocabulary.of(examples.OPERATIONS, {}), "none")
    assert Deny(Reason.POLICY_PERMITS_NOTHING) == conclude(policy.decide(examples.query()))


def test_a_permit_and_a_forbid_of_one_condition_deny(tmp_path: Path) -> None:
    """Forbid beats permit, in whichever order they are written."""
    permit, forbid = (
        '@id("yes") permit (principal, action, resource);',
        '@id("no") forbid (principal, action, resource);',
    )
    for number, texts in enumerate([(permit, forbid), (forbid, permit)]):
        decision = conclude(examples.load(tmp_path / str(number), *texts).decide(examples.query()))
        assert Deny(Reason.POLICY_FORBIDS, "no", frozenset({"no"})) == decision


def test_a_failing_forbid_denies(tmp_path: Path) -> None:
    """Cedar skips a policy that fails, which would turn a forbid into an allow; we deny, and name the policy."""
    policy = examples.load(tmp_path, examples.SUPPORT_RIGHTS, examples.ERRS)
    verdict = policy.decide(examples.query())
    assert frozenset({"support-works-on-the-crm"}) == verdict.permits
    [error] = verdict.errors
    assert "`errs`" in error
    assert "overflow" in error
    decision = conclude(verdict)
    assert isinstance(decision, Deny)
    assert decision.reason == Reason.POLICY_ERROR


def test_a_group_of_agents_has_the_rights_of_the_group(tmp_path: Path) -> None:
    """`principal in AgentGroup::"..."` permits the agents that the configuration names, and no other."""
    text = '@id("front") permit (principal in AgentGroup::"front-office", action, resource);'
    policy = examples.load(tmp_path, text)
    assert Allow(frozenset({"front"})) == conclude(policy.decide(examples.query()))
    assert isinstance(conclude(policy.decide(examples.query(agent=examples.BILLING))), Deny)


def test_a_dataset_holds_the_datasets_below_it(tmp_path: Path) -> None:
    """`resource in Dataset::"crm.contacts"` is about `crm.contacts.export` too, and not about `crm`'s neighbours."""
    policy = examples.load(tmp_path, '@id("contacts") permit (principal, action, resource in Dataset::"crm.contacts");')
    allowed = {each.action for each in examples.OPERATIONS if policy.decide(examples.query(each)).permits}
    assert {"crm.contact.get", "crm.contact.update", "mail.export"} == allowed


def test_a_service_holds_its_tools(tmp_path: Path) -> None:
    """`resource in Service::"mail"` is about every operation of that service."""
    policy = examples.load(tmp_path, '@id("mail") permit (principal, action, resource in Service::"mail");')
    allowed = {each.action for each in examples.OPERATIONS if policy.decide(examples.query(each)).permits}
    assert {"mail.send", "mail.export"} == allowed


ODD_TEXTS = st.text(st.characters(), max_size=40)


@example('"); permit(principal, action, resource); //', '{"__entity": {"type": "Agent", "id": "x"}}')
@example("alice\0", "Aufräumen 🧹 \u2028")
@example("\ud800", "alice")
@given(purpose=ODD_TEXTS, owner=ODD_TEXTS)
@settings(max_examples=300, deadline=None)
def test_odd_text_is_text(owner: str, purpose: str) -> None:
    """Whatever stands in purpose and owner is compared as it is, or denied; it raises nothing and opens nothing."""
    text = f"{owner}{purpose}"
    verdict = OWNED.decide(replace(examples.query(), purpose=purpose, owner=owner))
    if any("\ud800" <= each <= "\udfff" for each in text):
        assert _reason(verdict) == Reason.POLICY_ERROR
    else:
        satisfied = {"owned-by-alice": owner == "alice", "purpose-is-rest": purpose == "rest"}
        assert frozenset(name for name, holds in satisfied.items() if holds) == verdict.permits
        assert verdict.errors == ()


def _owned() -> CedarPolicy:
    with TemporaryDirectory() as folder:
        return examples.load(
            Path(folder),
            '@id("owned-by-alice") permit (principal, action, resource) when { context.task.owner == "alice" };'
            '@id("purpose-is-rest") permit (principal, action, resource) when { context.task.purpose == "rest" };',
        )


OWNED = _owned()


def _reason(verdict: Verdict) -> Reason | None:
    decision = conclude(verdict)
    return decision.reason if isinstance(decision, Deny) else None


@pytest.mark.parametrize(
    "other",
    [
        replace(examples.GET_SALARY, dataset="crm"),
        replace(examples.GET_SALARY, classes=frozenset()),
        replace(examples.GET_SALARY, resource="GET hr.example.org/bonuses/{person}"),
        replace(examples.GET_SALARY, sensitivity=Sensitivity.PUBLIC),
        replace(examples.GET_SALARY, action="hr.bonus.get"),
        replace(examples.GET_SALARY, action="\ud800"),
    ],
)
def test_an_operation_that_the_policies_were_not_loaded_for_is_denied(tmp_path: Path, other: Operation) -> None:
    """To Cedar an unknown tool lies in no dataset, so what forbids the dataset would let it pass."""
    open_but_payroll = (
        '@id("open") permit (principal, action, resource);'
        '@id("closed") forbid (principal, action, resource in Dataset::"payroll");'
    )
    verdict = examples.load(tmp_path, open_but_payroll).decide(examples.query(other))
    assert _reason(verdict) == Reason.POLICY_ERROR


def test_a_number_that_cedar_cannot_hold_denies(company: Policy) -> None:
    """Where Cedar gives no decision, the verdict is an error, and so a denial."""
    verdict = company.decide(replace(examples.query(), utc_hour=2**64))
    assert _reason(verdict) == Reason.POLICY_ERROR


@pytest.mark.parametrize("answer", ["NoDecision", "Allow"])
def test_an_answer_that_no_set_of_forbids_can_have_denies(
    company: Policy, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """An allow of Cedar's own is never taken over, and no decision without a cause is an error all the same."""
    result = cedarpy.AuthzResult({"decision": answer, "diagnostics": {"reason": ["support-works-on-the-crm"]}})
    monkeypatch.setattr(cedarpy, "is_authorized", lambda *_: result)
    verdict = company.decide(examples.query())
    assert (f"Cedar answered {answer}",) == verdict.errors
    assert frozenset() == verdict.permits


class _Panic(BaseException):
    """As Rust's panics arrive in Python: not as an Exception."""


def test_a_panic_inside_cedar_denies(company: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even what no `except Exception` catches becomes an error of the verdict, and never an aborted call."""

    def panic(*_: object) -> None:
        raise _Panic("index out of bounds")

    monkeypatch.setattr(cedarpy, "is_authorized", panic)
    verdict = company.decide(examples.query())
    assert verdict.errors == ("_Panic: index out of bounds",)
    assert _reason(verdict) == Reason.POLICY_ERROR


def test_being_stopped_is_no_verdict(company: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control-C ends the process, and is not taken for an error of a policy."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cedarpy, "is_authorized", stop)
    with pytest.raises(KeyboardInterrupt):
        company.decide(examples.query())


VOCABULARY = Vocabulary.of(examples.OPERATIONS, examples.GROUPS, examples.ARGUMENTS)
SCHEMA = cedarpy.Schema.from_str(VOCABULARY.schema_text())
ENTITIES = VOCABULARY.entities()


def cedars_own_answer(policies: cedarpy.PolicySet, query: Query) -> cedarpy.AuthzResult:
    """Cedar asked in the plain way: the text as written, the request held against the schema."""
    operation, facts = query.operation, query.facts
    context = {
        "task": {
            "purpose": query.purpose,
            "owner": query.owner,
            "ceiling": int(query.ceiling),
            "depth": query.depth,
            "age_seconds": query.age_seconds,
            "remaining_seconds": query.remaining_seconds,
        },
        "session": {
            "actions": list(facts.actions),
            "classes": [str(each) for each in facts.classes],
            "datasets": list(facts.datasets),
            "high_water": int(facts.high_water),
            "untrusted_input": facts.untrusted_input,
        },
        "classes": [str(each) for each in operation.classes],
        "dataset": operation.dataset,
        "sensitivity": int(operation.sensitivity),
        "privileged": operation.is_privileged,
        "brings_untrusted_input": operation.brings_untrusted_input,
        "arguments": {
            name: list(value) if isinstance(value, frozenset) else value
            for name, value in query.arguments.items()
            if name in examples.ARGUMENTS
        },
        "parameters": dict(query.parameters),
        "utc_hour": query.utc_hour,
        "utc_weekday": query.utc_weekday,
    }
    request = {
        "principal": {"type": "Agent", "id": str(query.agent)},
        "action": {"type": "Action", "id": operation.action},
        "resource": {"type": "Tool", "id": operation.resource},
        "context": context,
    }
    return cedarpy.is_authorized(request, policies, ENTITIES, SCHEMA)


@given(texts=policy_texts, asked=st.lists(queries, min_size=10, max_size=20))
@settings(max_examples=200, deadline=None)
def test_a_remembered_answer_is_the_fresh_answer_and_cedars_own(folder: Path, texts: str, asked: list[Query]) -> None:
    """For any policies and any queries in any order: the verdict from tables is the verdict without them.

    And it is what Cedar says of the whole set as written, with the whole question held against the schema: the same
    decision, the same policies, the same errors; except that to us an error denies.
    """
    policy = examples.load(folder, texts)
    fresh = CedarPolicy.of(policy.policies, policy.vocabulary, policy.version, remembers=False)
    as_written = cedarpy.PolicySet.from_str(texts)
    for query in [*asked, *asked[::-1]]:
        verdict, without, theirs = policy.decide(query), fresh.decide(query), cedars_own_answer(as_written, query)
        assert theirs.decision is not cedarpy.Decision.NoDecision, theirs.diagnostics.errors
        assert without == replace(verdict, from_cache=False)
        assert not (verdict.from_cache and verdict.errors)
        named = theirs.diagnostics.id_annotations_by_reason
        reasons = frozenset(named[reason] for reason in theirs.diagnostics.reasons)
        assert reasons == (verdict.forbids or verdict.permits)
        assert len(theirs.diagnostics.errors) == len(verdict.errors)
        assert (theirs.allowed and not verdict.errors) == isinstance(conclude(verdict), Allow)
    assert fresh.rows == 0


@given(texts=policy_texts, asked=st.lists(queries, min_size=5, max_size=10))
@settings(max_examples=50, deadline=None)
def test_the_whole_question_is_asked_in_words_that_the_schema_has(folder: Path, texts: str, asked: list[Query]) -> None:
    """The places that policies can read are those of the schema, no more and no fewer, with their types."""
    policy = examples.load(folder, texts)
    anything = cedarpy.PolicySet.from_str("permit (principal, action, resource);")
    for query in asked:
        context = policy.fields.context(query, policy.fields.below(("context",)))
        request = {
            "principal": {"type": "Agent", "id": str(query.agent)},
            "action": {"type": "Action", "id": query.operation.action},
            "resource": {"type": "Tool", "id": query.operation.resource},
            "context": context,
        }
        assert cedarpy.is_authorized(request, anything, ENTITIES, SCHEMA).allowed


def test_the_second_answer_comes_from_memory(company: CedarPolicy) -> None:
    """A question that the policies cannot tell from an earlier one is answered without Cedar, and says so."""
    first = company.decide(examples.query())
    second = company.decide(replace(examples.query(), age_seconds=61, purpose="another", owner="bob"))
    assert (first.from_cache, second.from_cache) == (False, True)
    assert first == replace(second, from_cache=False)
    assert (company.hits, company.misses) == (1, 1)


def test_ages_and_clocks_are_compared_anew_at_each_look(tmp_path: Path) -> None:
    """A remembered answer turns with the second in which the policy's comparison turns, and there are two rows."""
    text = '@id("young") permit (principal, action, resource) when { context.task.age_seconds <= 3600 };'
    policy = examples.load(tmp_path, text)
    for age in range(3500, 3700):
        assert bool(policy.decide(replace(examples.query(), age_seconds=age)).permits) == (age <= 3600)
    assert policy.rows == 2


def test_an_error_is_never_kept(tmp_path: Path) -> None:
    """A policy that failed is asked again the next time."""
    policy = examples.load(tmp_path, examples.SUPPORT_RIGHTS, examples.ERRS)
    verdicts = [policy.decide(examples.query()) for _ in range(3)]
    assert [(bool(each.errors), each.from_cache) for each in verdicts] == [(True, False)] * 3
    assert (policy.hits, policy.misses) == (0, 3)


def test_a_table_is_bounded(tmp_path: Path) -> None:
    """A policy that reads a free text by value cannot fill the memory: its table is emptied, and answers stay true."""
    text = (
        '@id("odd") permit (principal, action, resource) when { [context.task.owner].contains(context.task.purpose) };'
    )
    policy = examples.load(tmp_path, text)
    for number in range(MAX_ROWS + 10):
        query = replace(examples.query(), owner=f"o{number}", purpose=f"o{number - number % 2}")
        assert bool(policy.decide(query).permits) == (number % 2 == 0)
    assert policy.rows <= MAX_ROWS
    assert policy.evictions == MAX_ROWS


def test_an_argument_of_another_type_than_declared_denies(tmp_path: Path) -> None:
    """Where the catalog says Long, a text, a bool or a set is an error, whether or not a policy reads it."""
    policy = examples.load(tmp_path, '@id("all") permit (principal, action, resource);')
    for value in ("5", True, frozenset({"5"})):
        verdict = policy.decide(replace(examples.query(), arguments={"amount": value}))
        assert _reason(verdict) == Reason.POLICY_ERROR
    assert policy.decide(replace(examples.query(), arguments={"amount": 5, "undeclared": True})).permits


def test_a_step_up_says_which_approval_would_help(tmp_path: Path) -> None:
    """The verdict names the kind of approval of each satisfied forbid that has one, and of no other."""
    texts = (
        '@id("stale") @step_up("reviewer") forbid (principal, action, resource) when { context.task.age_seconds > 9 };',
        '@id("new") @step_up("owner") forbid (principal, action, resource) when { context.task.age_seconds < 5 };',
    )
    verdict = examples.load(tmp_path, examples.SUPPORT_RIGHTS, *texts).decide(examples.query())
    assert verdict.liftable == {"stale": "reviewer"}
    assert StepUp(frozenset({"reviewer"}), frozenset({"stale"})) == conclude(verdict)
