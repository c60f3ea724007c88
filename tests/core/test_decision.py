"""Decisions: what a verdict amounts to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.core.decision import Allow, Deny, Verdict, conclude
from authz.core.reasons import Reason

names = st.frozensets(st.sampled_from(["a", "b", "c"]))
errors = st.lists(st.sampled_from(["a: overflow", "b: no such attribute"])).map(tuple)
verdicts = st.builds(Verdict, names, names, errors, st.just("v1"), st.booleans())


def verdict(permits: str = "", forbids: str = "", *failed: str) -> Verdict:
    """A verdict with these policies, one letter each."""
    return Verdict(frozenset(permits), frozenset(forbids), failed, "v1")


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (Deny(Reason.POLICY_PERMITS_NOTHING), verdict()),
        (Allow(frozenset("p")), verdict("p")),
        (Allow(frozenset("pq")), verdict("pq")),
        (Deny(Reason.POLICY_FORBIDS, "f", frozenset("f")), verdict("", "f")),
        (Deny(Reason.POLICY_FORBIDS, "f, g", frozenset("fg")), verdict("p", "gf")),
        (Deny(Reason.POLICY_ERROR, "x: overflow"), verdict("p", "", "x: overflow")),
        (Deny(Reason.POLICY_ERROR, "x: overflow; y: type"), verdict("p", "f", "x: overflow", "y: type")),
    ],
)
def test_what_a_verdict_amounts_to(expected: Allow | Deny, found: Verdict) -> None:
    """Errors deny first, then forbids, then the lack of a permit; every denial says why, with its policies."""
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
    worse = Verdict(found.permits, found.forbids | more.forbids, found.errors + more.errors, "v1")
    if isinstance(conclude(found), Deny):
        assert isinstance(conclude(worse), Deny)


@given(found=verdicts, version=st.text(), from_cache=st.booleans())
def test_a_remembered_verdict_decides_like_a_fresh_one(found: Verdict, version: str, from_cache: bool) -> None:  # noqa: FBT001  a drawn value
    """Neither the version nor the cache it came from changes what a verdict amounts to."""
    again = Verdict(found.permits, found.forbids, found.errors, version, from_cache)
    assert conclude(found) == conclude(again)
