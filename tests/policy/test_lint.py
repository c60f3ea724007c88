"""What `authz policy check` finds beyond what loading refuses: each finding is true, and each kind is found."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from authz.core.errors import Unusable
from authz.core.query import Query
from authz.core.task import MAX_DEPTH
from authz.policy.accounts import sources
from authz.policy.cedar import CedarPolicy
from authz.policy.files import policy_files
from authz.policy.lint import Finding, lint, unpermitted
from authz.policy.source import load_policies
from tests.policy import examples
from tests.policy.random_policies import policy_texts, queries

quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

PERMIT = '@id("ok") permit (principal in AgentGroup::"front-office", action in Action::"read", resource);'
FORBIDS = (
    "forbid (principal, action, resource);",
    'forbid (principal, action in [Action::"egress", Action::"read"], resource);',
    f'forbid (principal == Agent::"{examples.SUPPORT}", action, resource in Dataset::"crm");',
    'forbid (principal in AgentGroup::"front-office", action in Action::"write", resource);',
)


def find(folder: Path, *texts: str) -> list[Finding]:
    """The findings about these policies."""
    policy = examples.load(folder, *texts)
    return lint(policy, sources(policy_files(folder)))


@pytest.mark.parametrize(
    ("text", "level", "told"),
    [
        ("permit (principal, action, resource);", "error", "it permits everything to everybody"),
        ("permit (principal is Agent, action, resource is Tool);", "error", "it permits everything to everybody"),
        ('permit (principal, action in Action::"read", resource);', "warning", "it permits this to every agent"),
        (
            'forbid (principal, action == Action::"mail.send", resource in Dataset::"payroll");',
            "warning",
            'none is action == Action::"mail.send" and resource in Dataset::"payroll"',
        ),
        (
            'forbid (principal, action in Action::"admin", resource);',
            "warning",
            "it applies to no entry of the catalog",
        ),
        (
            "forbid (principal, action, resource) when { context.utc_hour > 23 };",
            "warning",
            "utc_hour is 0 to 23, and so never context.utc_hour > 23",
        ),
        (
            "forbid (principal, action, resource) unless { context.task.ceiling <= 3 };",
            "warning",
            "never not (context.task.ceiling <= 3)",
        ),
        (
            "forbid (principal, action, resource) when { context.task.age_seconds < 0 };",
            "warning",
            "age_seconds is 0 to",
        ),
        (
            'forbid (principal, action in Action::"write", resource) when { context.sensitivity == 3 };',
            "warning",
            "for no entry that it applies to is it so that context.sensitivity == 3",
        ),
        (
            'forbid (principal, action, resource) when { context.dataset == "crm.contcts" };',
            "warning",
            "for no entry that it applies to",
        ),
        (
            'forbid (principal, action, resource) when { context.session.datasets.contains("crm.contcts") };',
            "warning",
            'no dataset is called "crm.contcts"',
        ),
        (
            'forbid (principal, action, resource) when { context.session.classes.containsAny(["egres"]) };',
            "warning",
            'no action class is called "egres"',
        ),
        (
            'forbid (principal, action, resource) when { context.session.actions.contains("read") };',
            "warning",
            'no action is called "read"',
        ),
    ],
)
def test_what_was_hardly_meant_is_found(tmp_path: Path, text: str, level: str, told: str) -> None:
    """A policy that does nothing, or too much, is named with its file, its line and a hint."""
    found = [each for each in find(tmp_path, PERMIT + "\n" + f'@id("odd") {text}') if each.policy == "odd"]
    assert [each.level for each in found if told in each.what] == [level], found
    assert all(each.hint and each.place.line == 2 and each.place.file == tmp_path / "0.cedar" for each in found)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            '@id("odd") permit (principal in AgentGroup::"front-office", action == Action::"mail.send", resource);',
            "never counts",
        ),
        (
            '@id("odd") @step_up("owner") forbid (principal, action == Action::"mail.send", resource);',
            "no approval ever lifts",
        ),
        (
            '@id("odd") forbid (principal, action == Action::"mail.send", resource) when { context.sensitivity < 1 };',
            "adds nothing",
        ),
    ],
)
def test_what_a_forbid_without_conditions_makes_meaningless_is_found(tmp_path: Path, text: str, told: str) -> None:
    """What an unconditional forbid covers whole is told, with the forbid and its place."""
    forbid = '@id("no-egress") forbid (principal, action in Action::"egress", resource);\n'
    (found,) = (each for each in find(tmp_path, forbid + text) if each.policy == "odd")
    assert told in found.what
    assert f"no-egress ({tmp_path / '0.cedar'}:1:1)" in found.what


def test_of_two_forbids_that_say_the_same_one_is_told(tmp_path: Path) -> None:
    """Twins are not both called needless."""
    twins = "".join(f'@id("{id}") forbid (principal, action in Action::"egress", resource);\n' for id in ("a", "b"))
    assert [each.policy for each in find(tmp_path, twins)] == ["b"]


def test_an_empty_group_is_found(tmp_path: Path) -> None:
    """A policy about a group that has nobody is told."""
    (tmp_path / "0.cedar").write_text('@id("odd") forbid (principal in AgentGroup::"nobody", action, resource);')
    policy = load_policies(policy_files(tmp_path), examples.OPERATIONS, {"nobody": ()})
    (found,) = lint(policy, sources(policy_files(tmp_path)))
    assert 'AgentGroup::"nobody" is empty' in found.what


def test_what_an_operator_would_write_is_not_complained_about(tmp_path: Path) -> None:
    """Sound policies give no finding."""
    assert find(tmp_path, examples.COMPANY) == []


def test_actions_that_nothing_permits_are_named(tmp_path: Path) -> None:
    """An entry of the catalog that no permit reaches is told: its requests are always denied."""
    policy = examples.load(tmp_path, examples.COMPANY)
    assert unpermitted(policy, examples.OPERATIONS) == ["hr.salary.get"]


@quick
@given(text=policy_texts, forbid=st.sampled_from(FORBIDS), asked=st.lists(queries, min_size=1, max_size=10))
def test_what_is_said_never_to_fire_never_does(folder: Path, text: str, forbid: str, asked: list[Query]) -> None:
    """Over random policies and hops: no policy that is said never to fire or to count does."""
    policy, found = _loaded(folder, f'{text}@id("whole") {forbid}')
    never = {each.policy for each in found if "never fires" in each.what or "no entry of the catalog" in each.what}
    covered = {each.policy for each in found if "never counts" in each.what}
    for query in asked:
        if query.depth <= MAX_DEPTH:
            verdict = policy.decide(query)
            assert not never & (verdict.permits | verdict.forbids)
            assert not covered & verdict.permits or verdict.forbids or verdict.errors


def _loaded(folder: Path, text: str) -> tuple[CedarPolicy, list[Finding]]:
    try:
        policy = examples.load(folder, text)
    except Unusable:
        assume(False)  # noqa: FBT003  hypothesis's signature
        raise
    return policy, lint(policy, sources(policy_files(folder)))
