"""Queries: what policies can see, and what they cannot."""

import dataclasses
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.core.errand import Errand
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
HOP = Hop(OPERATION, {"contact_id": "42"})
TASK = Task(
    id="an-errand",
    owner="alice@example.org",
    purpose="answer ticket 4711",
    agents=frozenset({SUPPORT}),
    grants=(Grant.parse("read:crm"),),
    ceiling=Sensitivity.RESTRICTED,
    starts_unix_seconds=0,
    expires_unix_seconds=2_000_000_000,
    state=TaskState.ACTIVE,
)

moments = st.floats(0, 253_402_300_799)


def test_a_query_says_who_does_what_on_whose_behalf() -> None:
    """Each fact of the hop, the task and the caller stands in its own place."""
    expected = Query(
        agent=SUPPORT,
        action="crm.contact.read",
        classes=frozenset({ActionClass.READ}),
        resource="GET crm.example.org/contacts/{contact_id}",
        service="crm",
        dataset="crm.contacts",
        sensitivity=Sensitivity.CONFIDENTIAL,
        purpose="answer ticket 4711",
        owner="alice@example.org",
        ceiling=Sensitivity.RESTRICTED,
        utc_hour=13,
        utc_weekday=3,
    )
    assert expected == Query.about(
        IDENTITY, Errand((TASK,)), HOP, dt.datetime(2026, 11, 25, 13, 59, 59, tzinfo=dt.UTC).timestamp()
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


@given(hour=st.integers(0, 70_000_000), seconds=st.floats(0, 3599.9), task_id=st.text())
def test_what_never_repeats_is_not_in_it(hour: int, seconds: float, task_id: str) -> None:
    """Two hops of one hour that differ in task id, path values and minutes are one question, with one answer."""
    other_task = dataclasses.replace(TASK, id=task_id, expires_unix_seconds=hour)
    other_hop = dataclasses.replace(HOP, parameters={"contact_id": task_id})
    one = Query.about(IDENTITY, Errand((TASK,)), HOP, hour * 3600)
    other = Query.about(IDENTITY, Errand((other_task,)), other_hop, hour * 3600 + seconds)
    assert one == other
    assert hash(one) == hash(other)
