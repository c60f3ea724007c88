"""Decisions: what a verdict amounts to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.core.decision import Allow, Decision, Deny, StepUp, Verdict, conclude
from authz.core.reasons import Reason

names = st.frozensets(st.sampled_from(["a", "b", "c"]))
errors = st.lists(st.sampled_from(["a: overflow", "b: no such attribute"])).map(tuple)
kinds = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from(["owner", "reviewer", ""]))
verdicts = st.builds(Verdict, names, names, errors, st.just("v1"), st.booleans(), kinds)


KINDS = {"o": "owner", "p": "owner", "r": "reviewer"}


def verdict(permits: str = "", forbids: str = "", *failed: str) -> Verdict:
    """A verdict with these policies, one letter each."""
    return Verdict(frozenset(permits), frozenset(forbids), failed, "v1", liftable=KINDS)


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (Deny(Reason.POLICY_PERMITS_NOTHING), verdict()),
        (Allow(frozenset("p")), verdict("p")),
        (Allow(frozenset("pq")), verdict("pq")),
        (Deny(Reason.POLICY_PERMITS_NOTHING, "f", frozenset("f")), verdict("", "f")),
        (Deny(Reason.POLICY_PERMITS_NOTHING, "o", frozenset("o")), verdict("", "o")),
        (Deny(Reason.POLICY_FORBIDS, "f", frozenset("f")), verdict("p", "fo")),
        (StepUp(frozenset({"owner"}), frozenset("op")), verdict("a", "op")),
        (StepUp(frozenset({"owner", "reviewer"}), frozenset("or")), verdict("a", "or")),
        (Deny(Reason.POLICY_ERROR, "x: overflow"), verdict("a", "o", "x: overflow")),
        (Deny(Reason.POLICY_FORBIDS, "f, g", frozenset("fg")), verdict("p", "gf")),
        (Deny(Reason.POLICY_ERROR, "x: overflow"), verdict("p", "", "x: overflow")),
        (Deny(Reason.POLICY_ERROR, "x: overflow; y: type"), verdict("p", "f", "x: overflow", "y: type")),
    ],
)
def test_what_a_verdict_amounts_to(expected: Decision, found: Verdict) -> None:
    """Errors deny first, then the lack of a permit, then what no approval lifts; what is left asks for approvals."""
    assert expected == conclude(found)


@given(found=verdicts)
def test_an_allow_has_permits_and_nothing_against_it(found: Verdict) -> None:
    """Only a verdict with a permit, without a forbid and without an error is an allow, and it names the permits."""
    decision = conclude(found)
    may = bool(found.permits) and not found.forbids and not found.errors
    assert may == isinstance(decision, Allow)
    if isinstance(decision, Allow):
        assert found.permits == decision.policies


@given(found=verdicts, more=verdicts)
def test_more_against_it_never_turns_a_denial_into_an_allow(found: Verdict, more: Verdict) -> None:
    """Further forbids and errors leave a denial a denial."""
    errors = found.errors + more.errors
    worse = Verdict(found.permits, found.forbids | more.forbids, errors, "v1", liftable=found.liftable)
    if isinstance(conclude(found), Deny):
        assert isinstance(conclude(worse), Deny)
    if isinstance(conclude(found), StepUp):
        assert isinstance(conclude(worse), Deny | StepUp)


@given(found=verdicts)
def test_a_step_up_is_an_allow_that_only_approvals_are_missing_to(found: Verdict) -> None:
    """Approvals are asked for only where, with all of them, nothing would stand against the hop; each has a kind."""
    decision = conclude(found)
    if isinstance(decision, StepUp):
        lifted = Verdict(found.permits, found.forbids - decision.policies, found.errors, "v1")
        assert isinstance(conclude(lifted), Allow)
        assert decision.kinds == {found.liftable[policy] for policy in decision.policies}
        assert all(decision.kinds)


@given(found=verdicts, version=st.text(), from_cache=st.booleans())
def test_a_remembered_verdict_decides_like_a_fresh_one(found: Verdict, version: str, from_cache: bool) -> None:  # noqa: FBT001  a drawn value
    """Neither the version nor the cache it came from changes what a verdict amounts to."""
    again = Verdict(found.permits, found.forbids, found.errors, version, from_cache, found.liftable)
    assert conclude(found) == conclude(again)
