"""The cache: the same answers, faster."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.core.decision import Verdict, conclude
from authz.core.hop import ActionClass, Sensitivity
from authz.core.query import Query
from authz.policy.cached import CachedPolicy
from tests.policy import examples
from tests.policy.random_policies import policy_texts, queries


@given(texts=policy_texts, asked=st.lists(queries, min_size=5, max_size=15), max_entries=st.sampled_from([1, 3, 100]))
@settings(max_examples=100, deadline=None)
def test_a_cached_answer_is_the_fresh_answer(folder: Path, texts: str, asked: list[Query], max_entries: int) -> None:
    """For any policies, any queries in any order and any size of the cache: the verdict is the engine's own."""
    engine = examples.load(folder, texts)
    cached = CachedPolicy(engine, max_entries)
    for query in [*asked, *asked[::-1], *asked]:
        fresh, remembered = engine.decide(query), cached.decide(query)
        assert fresh == replace(remembered, from_cache=False)
        assert conclude(fresh) == conclude(remembered)
        assert not (remembered.from_cache and remembered.errors)
    assert 3 * len(asked) == cached.hits + cached.misses


def test_the_second_answer_comes_from_memory(tmp_path: Path) -> None:
    """An equal query is answered without the engine, and says so."""
    cached = CachedPolicy(examples.load(tmp_path, examples.COMPANY), 10)
    first, second = cached.decide(examples.query()), cached.decide(replace(examples.query()))
    assert (first.from_cache, second.from_cache) == (False, True)
    assert first == replace(second, from_cache=False)
    assert (cached.hits, cached.misses) == (1, 1)


def test_an_error_is_never_kept(tmp_path: Path) -> None:
    """A policy that failed is asked again the next time."""
    cached = CachedPolicy(examples.load(tmp_path, examples.SUPPORT_RIGHTS, examples.ERRS), 10)
    verdicts = [cached.decide(examples.query()) for _ in range(3)]
    assert [(bool(each.errors), each.from_cache) for each in verdicts] == [(True, False)] * 3
    assert (cached.hits, cached.misses) == (0, 3)


def test_what_was_used_last_is_kept(tmp_path: Path) -> None:
    """The cache holds no more than it was given room for, and forgets what was not asked the longest."""
    cached = CachedPolicy(examples.load(tmp_path, examples.COMPANY), 2)
    first, second, third = (examples.at(examples.query(), 1, hour) for hour in (9, 10, 11))
    asked = [first, second, first, third, first, second]
    assert [cached.decide(each).from_cache for each in asked] == [False, False, True, False, True, False]


def test_a_cache_without_room_is_refused(tmp_path: Path) -> None:
    """A size below one is a mistake, not a cache that never hits."""
    with pytest.raises(ValueError, match="0 entries"):
        CachedPolicy(examples.load(tmp_path, examples.COMPANY), 0)


def _others(query: Query) -> dict[str, Query]:
    """For each field of a query, one that differs in it alone."""
    return {
        "agent": replace(query, agent=examples.BILLING),
        "action": replace(query, action="another"),
        "classes": replace(query, classes=frozenset({ActionClass.WRITE})),
        "resource": replace(query, resource="another"),
        "service": replace(query, service="another"),
        "dataset": replace(query, dataset="another"),
        "sensitivity": replace(query, sensitivity=Sensitivity.PUBLIC),
        "purpose": replace(query, purpose="another"),
        "owner": replace(query, owner="another"),
        "ceiling": replace(query, ceiling=Sensitivity.PUBLIC),
        "utc_hour": replace(query, utc_hour=13),
        "utc_weekday": replace(query, utc_weekday=3),
    }


class _Echo:
    """A policy whose verdict shows the whole query."""

    def decide(self, query: Query) -> Verdict:
        return Verdict(frozenset({repr(query)}), frozenset(), (), "echo")


@pytest.mark.parametrize("field", [each.name for each in fields(Query)])
def test_every_field_of_the_query_tells_answers_apart(field: str) -> None:
    """Whatever of a query differs, it is another question: no agent, task or hour gets another's answer."""
    cached = CachedPolicy(_Echo(), 10)
    query = examples.query()
    other = _others(query)[field]
    assert frozenset({repr(query)}) == cached.decide(query).permits
    assert frozenset({repr(other)}) == cached.decide(other).permits
