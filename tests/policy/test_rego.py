"""Rego in process: what rules come to, that nothing but a clear yes allows, and that no question touches another."""

import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import regorus
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.core.decision import Allow, Deny, StepUp, conclude
from authz.core.facts import Facts
from authz.core.hop import Sensitivity
from authz.core.query import Query
from authz.policy import rego
from authz.policy.rego import RegoPolicy
from authz.policy.rego_engines import _here
from tests.policy import examples, rego_examples
from tests.policy.random_policies import queries

VALUES = st.recursive(
    st.sampled_from(
        ["true", "false", "null", "0", "1.5", '"true"', '"<undefined>"', "{}", "set()", "[]", '"owner"', "{1}"]
    ),
    lambda inner: (
        inner.map(lambda each: f"[{each}]")
        | st.tuples(inner, inner).map(lambda pair: f"{{{pair[0]}, {pair[1]}}}")
        | st.tuples(st.sampled_from(["allow", "allowed", "policies", "step_up", "other"]), inner).map(
            lambda pair: f'{{"{pair[0]}": {pair[1]}}}'
        )
    ),
    max_leaves=4,
)


def decided(policy: RegoPolicy, query: Query) -> tuple[str, frozenset[str]]:
    """The decision's word and the policies behind it."""
    decision = conclude(policy.decide(query))
    return decision.word, decision.policies


def reason(policy: RegoPolicy, query: Query) -> str:
    """Why it is denied."""
    decision = conclude(policy.decide(query))
    assert isinstance(decision, Deny | StepUp)
    return str(decision.reason)


@pytest.fixture(scope="module")
def guardrails(tmp_path_factory: pytest.TempPathFactory) -> RegoPolicy:
    """The rules of the same name, loaded as a server would."""
    return rego_examples.load(tmp_path_factory.mktemp("guardrails"), rego_examples.GUARDRAILS)


def test_rules_allow_deny_and_ask_for_approvals(guardrails: RegoPolicy) -> None:
    """A permit allows and is named; a forbid denies and is named; a kind of approval makes a step-up of an allow."""
    assert decided(guardrails, examples.query()) == ("allow", frozenset({"front-office-works-on-the-crm"}))
    assert decided(guardrails, examples.query(agent=examples.BILLING)) == ("deny", frozenset())
    low = replace(examples.query(), ceiling=Sensitivity.PUBLIC)
    assert decided(guardrails, low) == ("deny", frozenset({"within-the-ceiling"}))
    night = examples.at(examples.query(examples.SET_CONTACT), 2, 23)
    decision = conclude(guardrails.decide(night))
    assert isinstance(decision, StepUp)
    assert decision.kinds == {"owner"}


def test_a_set_that_loads_says_what_it_reads(guardrails: RegoPolicy) -> None:
    """The places of the question that the decision depends on are known, for replay."""
    assert ("task", "ceiling") in guardrails.reads
    assert ("arguments",) not in guardrails.reads


@pytest.mark.parametrize(
    ("body", "reason_id"),
    [
        ("decision if input.task.depth > 5", "policy_permits_nothing"),
        ("decision := false", "policy_permits_nothing"),
        ('decision := "<undefined>"', "policy_permits_nothing"),
        ("decision := 1", "policy_error"),
        ("decision := null", "policy_error"),
        ('decision := "true"', "policy_error"),
        ("decision := [true]", "policy_error"),
        ("decision := {true}", "policy_error"),
        ('decision := {"allow": 1}', "policy_error"),
        ('decision := {"allow": true, "stepup": ["owner"]}', "policy_error"),
        ('decision := {"allow": true, "step_up": [1]}', "policy_error"),
        ("decision if to_number(input.task.purpose) > 0", "policy_error"),
        ("decision if input.task.depth / 0 == 0", "policy_error"),
        ("decision if startswith(input.task.depth, `a`)", "policy_error"),
        ("decision := true if input.task.depth < 5\ndecision := false if input.task.depth < 9", "policy_error"),
    ],
)
def test_whatever_is_no_clear_yes_denies(tmp_path: Path, body: str, reason_id: str) -> None:
    """Undefined, false, another type, an unknown member, an error and a conflict are denials."""
    policy = rego_examples.load(tmp_path, f"package authz\n\n{body}\n")
    assert reason(policy, examples.query()) == reason_id


def test_an_error_where_not_would_hide_it_denies(tmp_path: Path) -> None:
    """A built-in that errs makes the decision an error, where OPA would go on as if the rule did not hold."""
    text = "package authz\n\ndecision if not bad\n\nbad if to_number(input.task.purpose) > 3\n"
    assert reason(rego_examples.load(tmp_path, text), examples.query()) == "policy_error"


@given(VALUES)
@settings(max_examples=1500)
def test_only_true_and_an_object_that_says_so_can_allow(value: str) -> None:
    """For every value that a rule can have: it allows only if it is true, or an object whose allow is true."""
    decision = conclude(rego_examples.unexamined(f"package authz\n\ndecision := {value}\n").decide(examples.query()))
    if value not in ("true", '{"allow": true}', '{"allowed": true}'):
        assert isinstance(decision, Deny), value


@pytest.mark.parametrize("name", rego_examples.SETS)
def test_no_question_leaves_a_trace(name: str) -> None:
    """An engine that has answered many questions, errors among them, answers each as one that was asked nothing."""
    texts = rego_examples.texts_of(name)
    lasting = rego_examples.unexamined(*texts, data=rego_examples.DATA)
    limits = rego_examples.DATA["limits"]

    @given(st.lists(queries, min_size=1, max_size=3))
    @settings(max_examples=150)
    def check(asked: list[Query]) -> None:
        for query in asked:
            fresh = rego_examples.unexamined(*texts, data=rego_examples.DATA).decide(query)
            assert lasting.decide(query) == fresh

    check()
    assert rego_examples.DATA["limits"] is limits


def test_taking_a_rule_that_permits_away_allows_nothing_more() -> None:
    """Without a rule that permits, every question has the same answer or a denial; so it is without all of them."""
    permits = [part for part in rego_examples.GUARDRAILS.split("\n\n") if part.startswith("permits contains")]
    whole = rego_examples.unexamined(rego_examples.GUARDRAILS)
    fewer = [
        rego_examples.unexamined(rego_examples.GUARDRAILS.replace(part, "permits := set() if false"))
        for part in permits[:0]
    ]
    fewer += [
        rego_examples.unexamined(rego_examples.GUARDRAILS.replace(part, "")) for part in permits if len(permits) > 1
    ]
    assert fewer

    @given(queries)
    @settings(max_examples=300)
    def check(query: Query) -> None:
        for each in fewer:
            if isinstance(conclude(each.decide(query)), Allow):
                assert isinstance(conclude(whole.decide(query)), Allow)

    check()


def test_an_engine_belongs_to_one_thread(guardrails: RegoPolicy) -> None:
    """Another thread that asks has an engine of its own, and the same answer; the first goes on as it was."""
    before, found = guardrails.decide(examples.query()), []
    thread = threading.Thread(target=lambda: found.append(guardrails.decide(examples.query())))
    thread.start()
    thread.join()
    assert found == [before] == [guardrails.decide(examples.query())]


def test_each_thread_frees_its_own_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules that two threads asked are freed by neither for the other: each frees its engine when it makes the next."""
    complaints: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    made, left, freed = threading.Event(), threading.Event(), threading.Event()
    policies = [rego_examples.unexamined(rego_examples.GUARDRAILS)]

    def other() -> None:
        policies[0].decide(examples.query())
        made.set()
        left.wait()
        rego_examples.unexamined(rego_examples.SETS["plain"]).decide(examples.query())
        freed.set()

    thread = threading.Thread(target=other)
    thread.start()
    policies[0].decide(examples.query())
    made.wait()
    before = _here.engines.copy()
    policies[0].leave()
    assert len(_here.engines) == len(before) - 1
    before.clear()
    policies.clear()
    left.set()
    assert freed.wait(30)
    thread.join()
    assert complaints == []


def test_rules_that_have_the_place_of_others_in_memory_are_not_taken_for_them() -> None:
    """However many rules come and go, each is answered by its own."""
    for number in range(200):
        policy = rego_examples.unexamined(f"package authz\n\ndecision if input.time.utc_hour == {number % 24}\n")
        expected = "allow" if number % 24 == examples.query().utc_hour else "deny"
        assert decided(policy, examples.query())[0] == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"facts": Facts(datasets=frozenset(f"crm.d{number}" for number in range(257)))},
        {"arguments": {"tags": frozenset(f"t{number}" for number in range(257))}},
        {"arguments": {"to": "a" * 2001}},
        {"purpose": "a" * 2001},
        {"parameters": {"contact_id": "a" * 2001}},
        {"arguments": {"tags": frozenset(f"{number}" + "a" * 1000 for number in range(100))}},
        {"owner": "\ud800"},
    ],
)
def test_a_question_that_is_too_large_is_not_put(guardrails: RegoPolicy, changes: dict[str, Any]) -> None:
    """Long lists, long texts, large questions and broken Unicode are a policy error, whatever the rules would say."""
    assert reason(guardrails, replace(examples.query(), **changes)) == "policy_error"


def test_a_panic_of_the_engine_denies_and_the_next_question_is_answered(tmp_path: Path) -> None:
    """A panic in native code, here of a remainder of a huge number, is a policy error, and leaves nothing behind."""
    text = "package authz\n\ndecision if round(input.task.age_seconds / 2) % 2 >= 0\n"
    policy = rego_examples.load(tmp_path, text)
    for _ in range(3):
        assert reason(policy, replace(examples.query(), age_seconds=2**63 - 1)) == "policy_error"
        assert decided(policy, examples.query())[0] == "allow"


def test_rules_that_are_slow_again_and_again_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """After three slow questions in a row the rules are asked no more for a while: checks are denied at once."""
    slow = "package authz\n\ndecision if {\n    some x in numbers.range(1, 100000)\n    x > 99999\n}\n"
    policy = rego_examples.unexamined(slow)
    monkeypatch.setattr(rego, "SLOW_SECONDS", 0.001)
    assert [decided(policy, examples.query())[0] for _ in range(3)] == ["allow"] * 3
    assert policy.slow == 3
    began = time.perf_counter()
    assert reason(policy, examples.query()) == "policy_error"
    assert time.perf_counter() - began < 0.01
    policy._breaker._closed_until = 0.0
    assert decided(policy, examples.query())[0] == "allow"


def test_what_the_engine_says_has_no_stack(guardrails: RegoPolicy) -> None:
    """The detail of a policy error is a line that a person can read."""
    policy = rego_examples.unexamined("package authz\n\ndecision if to_number(input.task.purpose) > 0\n")
    (error,) = policy.decide(examples.query()).errors
    assert "could not parse" in error
    assert "backtrace" not in error
    assert "\n" not in error
    assert guardrails.slow == 0


def test_the_engine_is_the_version_that_was_tested() -> None:
    """The table of built-ins holds for this engine alone."""
    assert regorus.Engine().eval_query("1 == 1")["result"]
