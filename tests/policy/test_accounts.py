"""Accounts of policies: they say what the engine says, and name what keeps a policy from firing."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authz.core.query import Query
from authz.policy.accounts import accounts, sources
from authz.policy.conditions import conditions
from authz.policy.files import policy_files
from tests.policy import examples
from tests.policy.random_policies import policy_texts, queries

quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@quick
@given(text=policy_texts, asked=st.lists(queries, min_size=1, max_size=6))
def test_an_account_says_of_a_policy_what_the_engine_says(folder: Path, text: str, asked: list[Query]) -> None:
    """Over random policies and hops: a policy fires by its account exactly where the engine has it satisfied.

    A condition that fails keeps a policy from firing in both.
    """
    policy = examples.load(folder, text)
    for query in asked:
        verdict = policy.decide(query)
        if query.fault() or any(each.startswith("no policy can be asked") for each in verdict.errors):
            continue
        assert {each.id for each in accounts(policy, query) if each.fires} == verdict.permits | verdict.forbids


@pytest.mark.parametrize(
    ("clauses", "expected"),
    [
        ("", []),
        ("when { context.sensitivity >= 2 }", ["context.sensitivity >= 2"]),
        (
            "when { context.sensitivity >= 2 && // why\n  context.privileged }",
            ["context.sensitivity >= 2", "context.privileged"],
        ),
        (
            'unless { context.utc_hour < 7 || principal in AgentGroup::"a || b" }',
            ["not (context.utc_hour < 7)", 'not (principal in AgentGroup::"a || b")'],
        ),
        (
            "when { context.privileged || context.sensitivity > 1 && true }",
            ["context.privileged || context.sensitivity > 1 && true"],
        ),
        (
            "when { if context.privileged then true else false && true }",
            ["if context.privileged then true else false && true"],
        ),
        ("unless { context.privileged && context.utc_hour < 7 }", ["not (context.privileged && context.utc_hour < 7)"]),
        ("when { (context.privileged && true) } when { true }", ["(context.privileged && true)", "true"]),
        (
            "when { if true then true else true } unless { if true then true else true || true }",
            ["if true then true else true", "not (if true then true else true || true)"],
        ),
    ],
)
def test_conditions_are_divided_where_each_must_be_as_it_must(clauses: str, expected: list[str]) -> None:
    """`when` is divided at its ands, `unless` at its ors, nothing within brackets, texts or an if."""
    text = f'@id("when") forbid (principal, action, resource) {clauses};'
    assert [str(each) for each in conditions(text)] == expected


def test_what_keeps_a_policy_from_firing_is_named_with_its_value(tmp_path: Path) -> None:
    """Scope parts that do not match, and conditions that do not hold, each with what the hop has there."""
    policy = examples.load(tmp_path, examples.COMPANY)
    told = {each.id: each for each in accounts(policy, examples.query(examples.SEND_MAIL))}
    assert told["support-sends"].fires
    confidential = told["no-egress-of-confidential-data"]
    assert not confidential.scope_misses
    assert [(str(each.condition), each.values) for each in confidential.unmet] == [
        ("context.sensitivity >= 2", ("context.sensitivity is 0",))
    ]
    assert told["support-works-on-the-crm"].scope_misses == ('resource in Dataset::"crm"',)


def test_a_condition_that_cannot_be_told_says_why(tmp_path: Path) -> None:
    """Where Cedar fails over a condition, the failure is part of the account."""
    policy = examples.load(tmp_path, examples.ERRS)
    (told,) = accounts(policy, replace(examples.query(), utc_hour=14))
    assert "overflow" in told.unmet[0].error


def test_each_policy_is_found_where_it_stands(tmp_path: Path) -> None:
    """The place of a policy is the file and line of its first annotation."""
    examples.load(tmp_path, examples.SUPPORT_RIGHTS, examples.ERRS)
    found = sources(policy_files(tmp_path))
    assert [(source.place.file.name, source.place.line) for source in found.values()] == [
        ("0.cedar", 2),
        ("0.cedar", 9),
        ("1.cedar", 2),
    ]
