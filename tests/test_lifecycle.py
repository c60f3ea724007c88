"""The rules for demands on tasks that need no server to be seen: how far, how deep and to whom a task is delegated."""

import dataclasses
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.core.acts import Put
from authz.core.demand import Demand, Draft
from authz.core.errand import Errand
from authz.core.hop import ActionClass, Sensitivity
from authz.core.ids import uuid7
from authz.core.reasons import Reason
from authz.core.spiffe import SpiffeId
from authz.core.task import MAX_DEPTH, Grant, Task, parse_task_id
from authz.lifecycle import NOTHING_FOUND, Found, Fresh, Lifecycle, Limits
from tests.support.refusals import outcome
from tests.support.world import World

NOW = 1_800_000_000.0
DESK = "spiffe://example.org/desk"
READS = {"crm.contact.read": frozenset({ActionClass.READ})}
DRAFT = Draft(
    owner="alice",
    purpose="answer a question",
    agents=frozenset({SpiffeId.parse("spiffe://example.org/agent/0")}),
    grants=(Grant.parse("read:crm"),),
    ceiling=Sensitivity.INTERNAL,
    lifetime_seconds=600,
)


@pytest.fixture(scope="module")
def lifecycle(tmp_path_factory: pytest.TempPathFactory) -> Lifecycle:
    """The rules at their widest."""
    running = World(tmp_path_factory.mktemp("world")).pipeline()
    running.close()
    return Lifecycle(policy=running.pipeline.policy, classes_of=READS, limits=Limits(3600, MAX_DEPTH, 600))


def fresh() -> Fresh:
    """An id and a transaction as the service makes them."""
    return Fresh(uuid7(NOW, os.urandom(10)), uuid7(NOW, os.urandom(10)))


def started(lifecycle: Lifecycle, draft: Draft = DRAFT) -> Task:
    """A task of that draft."""
    act = lifecycle.act(Demand("start", draft=draft), NOTHING_FOUND, fresh(), DESK, NOW)
    assert isinstance(act, Put)
    return act.task


def delegated(lifecycle: Lifecycle, chain: tuple[Task, ...], draft: Draft) -> Task:
    """A child of the first of the chain."""
    demand = Demand("delegate", chain[0].id, draft)
    act = lifecycle.act(demand, Found(Errand(chain)), fresh(), DESK, NOW)
    assert isinstance(act, Put)
    return act.task


def to(number: int, **changes: object) -> Draft:
    """The same for another agent, or with other changes."""
    agents = frozenset({SpiffeId.parse(f"spiffe://example.org/agent/{number}")})
    return dataclasses.replace(DRAFT, agents=agents, **changes)  # type: ignore[arg-type]


def test_a_chain_may_be_as_deep_as_is_said(lifecycle: Lifecycle) -> None:
    """Seven delegations, one below the other, have ids that requests can carry; the eighth is refused."""
    chain: tuple[Task, ...] = (started(lifecycle),)
    for number in range(1, MAX_DEPTH + 1):
        chain = (delegated(lifecycle, chain, to(number)), *chain)
        assert parse_task_id((chain[0].id,)) == chain[0].id
        assert Errand(chain).task.depth == number
    assert outcome(lambda: delegated(lifecycle, chain, to(99))) is Reason.DELEGATION_TOO_DEEP


def test_nobody_is_handed_their_own_task_again(lifecycle: Lifecycle) -> None:
    """An agent that works on a task above does not get a task below: delegation has no loops."""
    root = started(lifecycle)
    child = delegated(lifecycle, (root,), to(1))
    assert outcome(lambda: delegated(lifecycle, (child, root), to(0))) is Reason.DELEGATION_LOOPS


def test_a_task_does_not_live_longer_than_is_allowed(lifecycle: Lifecycle) -> None:
    """The maximum life is a rule for every task that is started."""
    assert outcome(lambda: started(lifecycle, to(0, lifetime_seconds=3601))) is Reason.TASK_TOO_LONG


@pytest.mark.parametrize("stop", [{"is_suspended": True}, {"expires_unix_seconds": NOW - 1}])
def test_a_task_that_stands_still_delegates_nothing(lifecycle: Lifecycle, stop: dict[str, object]) -> None:
    """Neither a suspended task nor one whose time is over, nor a task below it, makes another."""
    root = dataclasses.replace(started(lifecycle), **stop)  # type: ignore[arg-type]
    child = delegated(lifecycle, (started(lifecycle),), to(1))
    assert isinstance(outcome(lambda: delegated(lifecycle, (root,), to(1))), Reason)
    assert isinstance(outcome(lambda: delegated(lifecycle, (child, root), to(2))), Reason)


@given(
    grants=st.sets(
        st.sampled_from(["read:crm", "read:crm.contacts", "write:crm", "read:mail", "crm.contact.read:crm"])
    ),
    ceiling=st.sampled_from(Sensitivity),
    lifetime_seconds=st.integers(1, 1200),
    budget_hops=st.none() | st.integers(0, 10),
)
def test_what_is_delegated_is_never_wider(
    lifecycle: Lifecycle, grants: set[str], ceiling: Sensitivity, lifetime_seconds: int, budget_hops: int | None
) -> None:
    """A child is made exactly where its grants, ceiling, time and budget all lie within its parent's."""
    parent = started(lifecycle, to(0, budget_hops=5))
    draft = to(
        1,
        grants=tuple(map(Grant.parse, sorted(grants))),
        ceiling=ceiling,
        lifetime_seconds=lifetime_seconds,
        budget_hops=budget_hops,
    )
    is_narrower = (
        grants <= {"read:crm", "read:crm.contacts", "crm.contact.read:crm"}
        and ceiling <= Sensitivity.INTERNAL
        and lifetime_seconds <= DRAFT.lifetime_seconds
        and (budget_hops is None or budget_hops <= parent.budget_hops)  # type: ignore[operator]  # it has one
    )
    found = outcome(lambda: delegated(lifecycle, (parent,), draft))
    assert isinstance(found, Task) if is_narrower else found is Reason.DELEGATION_WIDENS
