"""The rules that hold along a chain of delegations, and what a hop leaves behind."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.core.approval import MAX_REQUESTS, AccessRequest, Approval
from authz.core.errand import Errand
from authz.core.errors import Refused
from authz.core.facts import Facts
from authz.core.hop import ActionClass, Hop, Operation, Sensitivity
from authz.core.identity import Identity, Proof
from authz.core.ids import hop_key
from authz.core.reasons import Reason
from authz.core.spiffe import SpiffeId
from authz.core.task import Grant, Task, TaskState
from tests.support.refusals import outcome

AGENT = SpiffeId.parse("spiffe://example.org/agent/support")
IDENTITY = Identity(AGENT, Proof.CERTIFICATE, 10_000)
READ = Operation(
    "crm.contact.read", frozenset({ActionClass.READ}), "GET /c", "crm", "crm.contacts", Sensitivity.INTERNAL
)
ROOT = Task(
    id="0190aaaa",
    owner="alice",
    purpose="p",
    agents=frozenset({AGENT}),
    grants=(Grant.parse("read,write:crm"),),
    ceiling=Sensitivity.CONFIDENTIAL,
    starts_unix_seconds=1000,
    expires_unix_seconds=2000,
    state=TaskState.ACTIVE,
)
CHILD = dataclasses.replace(ROOT, id="0190aaaa.bbbb", grants=(Grant.parse("read:crm.contacts"),))
MESSAGE = b"one check"


def errand(*changes: dict[str, object]) -> Errand:
    """The child's errand, with the child and the root changed."""
    child, root = changes or ({}, {})
    return Errand((dataclasses.replace(CHILD, **child), dataclasses.replace(ROOT, **root)))  # type: ignore[arg-type]


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(
    ("reason", "change"),
    [
        (Reason.TASK_ENDED, {"state": TaskState.ENDED}),
        (Reason.TASK_SUSPENDED, {"is_suspended": True}),
        (Reason.TASK_EXPIRED, {"expires_unix_seconds": 1400}),
        (Reason.TASK_NOT_STARTED, {"starts_unix_seconds": 1600}),
    ],
)
def test_what_stops_one_of_the_chain_stops_the_errand(place: int, reason: Reason, change: dict[str, object]) -> None:
    """The end, suspension or expiry of a task, or of one that it was delegated from, denies its hops."""
    changed = errand(*([change, {}] if place == 0 else [{}, change]))
    assert outcome(lambda: changed.must_be_live(1500)) is reason
    assert outcome(lambda: errand().must_be_live(1500)) is None


@pytest.mark.parametrize("change", [{"grants": (Grant.parse("write:crm"),)}, {"grants": ()}])
def test_a_hop_is_covered_by_every_task_above(change: dict[str, object]) -> None:
    """Narrowing a task narrows what was delegated from it before."""
    assert outcome(lambda: errand({}, change).must_cover(READ)) is Reason.ACTION_NOT_GRANTED
    assert outcome(lambda: errand({}, {"ceiling": Sensitivity.PUBLIC}).must_cover(READ)) is (
        Reason.SENSITIVITY_ABOVE_CEILING
    )
    assert outcome(lambda: errand().must_cover(READ)) is None


def test_a_session_that_rests_too_long_is_over() -> None:
    """The idle time counts from the session's last activity, wherever in the tree it was."""
    resting = errand({}, {"idle_seconds": 60.0, "active_unix_seconds": 1400.0})
    assert outcome(lambda: resting.must_be_live(1459.9)) is None
    assert outcome(lambda: resting.must_be_live(1460)) is Reason.TASK_IDLE


@given(st.floats(1000, 1999), st.sampled_from([8.0, 60.0, 900.0]))
def test_activity_is_never_told_late_and_seldom_written(unix_seconds: float, idle_seconds: float) -> None:
    """What is written of the last activity is at most an eighth of the idle time before it, and never after it."""
    proceeding = errand({}, {"idle_seconds": idle_seconds}).proceeding(READ, (), MESSAGE, unix_seconds)
    assert proceeding is not None
    assert 0 <= unix_seconds - proceeding.active_unix_seconds <= idle_seconds / 8 + 1e-6


def test_a_hop_that_teaches_nothing_leaves_nothing() -> None:
    """The first hop of its kind is kept before it goes on, the second costs nothing."""
    first = errand().proceeding(READ, (), MESSAGE, 1500)
    assert first is not None
    assert (first.facts, first.hop_key, first.task_id) == (Facts.of(READ), hop_key(MESSAGE), CHILD.id)
    assert errand({}, {"facts": Facts.of(READ)}).proceeding(READ, (), MESSAGE, 1500) is None


def test_a_budget_anywhere_above_is_spent_and_bounds() -> None:
    """Each hop is paid for by every task of the chain that has a budget; the hop that paid last may be asked again."""
    rich = errand({"budget_hops": 5}, {"budget_hops": 9, "facts": Facts.of(READ)})
    proceeding = rich.proceeding(READ, (), MESSAGE, 1500)
    assert proceeding is not None
    assert proceeding.spends == {CHILD.id, ROOT.id}
    poor = errand({}, {"budget_hops": 2, "spent_hops": 2})
    assert outcome(lambda: poor.must_afford(MESSAGE)) is Reason.BUDGET_EXHAUSTED
    again = errand({}, {"budget_hops": 2, "spent_hops": 2, "last_hop_key": hop_key(MESSAGE)})
    assert outcome(lambda: again.must_afford(MESSAGE)) is None


def approved(**changes: object) -> Approval:
    """A fitting approval, or as changed."""
    plain = Approval("a1", REQUEST.digest, "owner", "spiffe://example.org/reviewer", 1600)
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


REQUEST = AccessRequest.of(CHILD.id, IDENTITY, Hop(READ, {"id": "42"}, {}, "00ff"), frozenset({"owner"}))


@pytest.mark.parametrize(
    ("helping", "changes"),
    [
        (1, {}),
        (1, {"spent_by": hop_key(MESSAGE)}),
        (0, {"spent_by": hop_key(b"another check")}),
        (0, {"kind": "reviewer"}),
        (0, {"digest": "ff"}),
        (0, {"expires_unix_seconds": 1500}),
    ],
)
def test_an_approval_helps_one_hop_of_its_shape_in_its_time(helping: int, changes: dict[str, object]) -> None:
    """Of another kind, for another hop, expired, or spent by another hop, it is none."""
    found = errand({"approvals": (approved(**changes),)}, {}).approvals_for(REQUEST, MESSAGE, 1500)
    assert len(found) == helping


@pytest.mark.parametrize("name", ["task_id", "agent", "action", "resource", "arguments_digest"])
def test_an_approval_is_bound_to_all_of_the_hop(name: str) -> None:
    """Another task, agent, action, resource or argument makes another request, which the approval does not cover."""
    swapped = dataclasses.replace(REQUEST, **{name: "another"})  # type: ignore[arg-type]
    assert swapped.digest != REQUEST.digest
    assert dataclasses.replace(REQUEST, parameters=(("id", "43"),)).digest != REQUEST.digest
    assert not errand({"approvals": (approved(),)}, {}).approvals_for(swapped, MESSAGE, 1500)


def test_all_kinds_must_be_approved() -> None:
    """One of two approvals that are asked for is none."""
    both = dataclasses.replace(REQUEST, kinds=frozenset({"owner", "legal"}))
    one = errand({"approvals": (approved(),)}, {})
    two = errand({"approvals": (approved(), approved(id="a2", kind="legal"))}, {})
    assert one.approvals_for(both, MESSAGE, 1500) == ()
    assert len(two.approvals_for(both, MESSAGE, 1500)) == 2


def test_a_no_is_a_no() -> None:
    """A request that was said no to is denied, whatever approvals there are."""
    refused = errand({"approvals": (approved(),), "rejected": frozenset({REQUEST.digest})}, {})
    assert outcome(lambda: refused.approvals_for(REQUEST, MESSAGE, 1500)) is Reason.APPROVAL_DENIED


def test_requests_are_kept_once_and_bounded() -> None:
    """A request that is kept already is not kept again, and a task can only ask so often."""
    assert errand().asking(REQUEST) is not None
    assert errand({"asked": frozenset({REQUEST.digest})}, {}).asking(REQUEST) is None
    full = errand({"asked": frozenset(map(str, range(MAX_REQUESTS)))}, {})
    with pytest.raises(Refused) as refused:
        full.asking(REQUEST)
    assert refused.value.reason is Reason.ACCESS_REQUESTS_EXHAUSTED
