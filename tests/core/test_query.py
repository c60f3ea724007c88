"""Queries: what policies can see, and what they cannot."""

import dataclasses
import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.core.errand import Errand
from authz.core.facts import Facts
from authz.core.hop import ActionClass, Hop, Operation, Sensitivity
from authz.core.identity import Identity, Proof
from authz.core.query import Query
from authz.core.spiffe import SpiffeId
from authz.core.task import Grant, Task, TaskState

SUPPORT = SpiffeId.parse("spiffe://example.org/agent/support")
IDENTITY = Identity(SUPPORT, Proof.CERTIFICATE, 2_000_000_000)
OPERATION = Operation(
    "crm.contact.read",
    frozenset({ActionClass.READ}),
    "GET crm.example.org/contacts/{contact_id}",
    "crm",
    "crm.contacts",
    Sensitivity.CONFIDENTIAL,
)
HOP = Hop(OPERATION, {"contact_id": "42"}, {"amount": 5})
FACTS = Facts(high_water=Sensitivity.INTERNAL, untrusted_input=True)
TASK = Task(
    id="an-errand.of.another",
    owner="alice@example.org",
    purpose="answer ticket 4711",
    agents=frozenset({SUPPORT}),
    grants=(Grant.parse("read:crm"),),
    ceiling=Sensitivity.RESTRICTED,
    starts_unix_seconds=0,
    expires_unix_seconds=2_000_000_000,
    state=TaskState.ACTIVE,
    facts=FACTS,
)

moments = st.floats(0, 253_402_300_799)


def test_a_query_says_who_does_what_on_whose_behalf() -> None:
    """Each fact of the hop, the task and the caller stands in its own place."""
    expected = Query(
        agent=SUPPORT,
        operation=OPERATION,
        purpose="answer ticket 4711",
        owner="alice@example.org",
        ceiling=Sensitivity.RESTRICTED,
        depth=2,
        age_seconds=1_764_165_599,
        remaining_seconds=235_834_401,
        utc_hour=13,
        utc_weekday=3,
        facts=FACTS,
        arguments={"amount": 5},
        parameters={"contact_id": "42"},
    )
    assert expected == Query.about(
        IDENTITY, Errand((TASK,)), HOP, dt.datetime(2025, 11, 26, 13, 59, 59, tzinfo=dt.UTC).timestamp()
    )


@given(unix_seconds=moments)
def test_hour_and_weekday_are_those_of_the_calendar(unix_seconds: float) -> None:
    """At any moment until the year 9999, hour and ISO weekday are those that the standard library's calendar tells."""
    moment = dt.datetime.fromtimestamp(int(unix_seconds), dt.UTC)
    query = Query.about(IDENTITY, Errand((TASK,)), HOP, unix_seconds)
    assert (moment.hour, moment.isoweekday()) == (query.utc_hour, query.utc_weekday)


@pytest.mark.parametrize(
    ("hour", "weekday", "moment"),
    [
        (0, 4, "1970-01-01T00:00:00+00:00"),
        (23, 7, "2026-11-29T23:59:59+00:00"),
        (0, 1, "2026-11-30T00:00:00+00:00"),
        (23, 4, "2024-02-29T23:00:00+00:00"),
    ],
)
def test_the_day_turns_at_midnight_utc(hour: int, weekday: int, moment: str) -> None:
    """The first second of Monday is Monday, the last of Sunday is Sunday."""
    query = Query.about(IDENTITY, Errand((TASK,)), HOP, dt.datetime.fromisoformat(moment).timestamp())
    assert (hour, weekday) == (query.utc_hour, query.utc_weekday)


@given(seconds=st.floats(0, 0.9), task_id=st.text("abc"))
def test_what_names_one_task_or_one_hop_is_not_in_it(seconds: float, task_id: str) -> None:
    """Two hops of one second that differ in nothing but the task's id are one question, with one answer."""
    other_task = dataclasses.replace(TASK, id=f"{task_id}.x.y")
    one, other = (
        Query.about(IDENTITY, Errand((TASK,)), HOP, 3600),
        Query.about(IDENTITY, Errand((other_task,)), HOP, 3600 + seconds / 10**6),
    )
    assert dataclasses.replace(one, remaining_seconds=0) == dataclasses.replace(other, remaining_seconds=0)
    assert hash(one) == hash(dataclasses.replace(one))


@pytest.mark.parametrize(
    "changes",
    [
        {"purpose": "\ud800"},
        {"owner": "a\udfffb"},
        {"utc_hour": 2**63},
        {"age_seconds": -(2**63)},
        {"arguments": {"to": "\ud800"}},
        {"arguments": {"tags": frozenset({"\ud800"})}},
        {"arguments": {"amount": 2**63}},
        {"parameters": {"contact_id": "\udc80"}},
    ],
    ids=str,
)
def test_what_an_engine_cannot_be_told_is_a_fault_of_the_question(changes: dict[str, Any]) -> None:
    """Lone surrogates and numbers beyond 64 bits are seen before any policy is asked, read by one or not."""
    query = Query.about(IDENTITY, Errand((TASK,)), HOP, 3600)
    assert query.fault() == ""
    assert dataclasses.replace(query, **changes).fault()
