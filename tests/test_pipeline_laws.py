"""Laws of every check: who asks for less, or shows less, is never given more."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.core.acts import End, Suspend
from authz.core.decision import Allow, Deny
from authz.core.hop import Sensitivity
from authz.core.reasons import Reason
from authz.core.spiffe import SpiffeId
from authz.core.task import Grant, Task
from authz.lifecycle import CHILD_CHARACTERS
from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from tests.support.world import RESEARCH, SUPPORT, Running, World, make_task

Place = tuple[str | int, ...]
"""Where something stands in a message: names of fields and keys of maps, from the outside to the inside."""


@dataclass(frozen=True)
class Story:
    """A hop that is denied for want of authority, and why."""

    reason: Reason
    message: bytes


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """One world for all stories."""
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def running(world: World) -> Iterator[Running]:
    """Its pipeline."""
    running = world.pipeline()
    yield running
    running.close()


@pytest.fixture(scope="module")
def stories(world: World, running: Running) -> list[Story]:
    """A denied hop for each thing that an agent can lack, proved to be denied for that."""
    ended, suspended, parent = (world.start_task() for _ in range(3))
    delegated = make_task(id=f"{parent.id}.{make_task().id}")
    broken_off = replace(delegated, id=f"{suspended.id}.{make_task().id}")
    world.start_task(id=broken_off.id)
    world.do(End(ended.id))
    world.do(Suspend(suspended.id))
    mail = {"method": "POST", "path": "/mail"}
    egress = {"grants": (Grant.parse("read,egress:crm.contacts"),), "ceiling": Sensitivity.RESTRICTED}
    told = [
        Story(Reason.TASK_UNKNOWN, world.check(delegated.id)),
        Story(Reason.TASK_MISSING, world.check()),
        Story(Reason.TASK_ENDED, world.check(ended.id)),
        Story(Reason.TASK_SUSPENDED, world.check(broken_off.id)),
        Story(Reason.TASK_OF_ANOTHER_AGENT, world.check(world.start_task().id, agent=RESEARCH)),
        Story(Reason.TASK_EXPIRED, world.check(world.start_task(expires_unix_seconds=1).id)),
        Story(Reason.ACTION_UNKNOWN, world.check(world.start_task().id, path="/secrets")),
        Story(Reason.ACTION_NOT_GRANTED, world.check(world.start_task().id, path="/payroll/7")),
        Story(Reason.SENSITIVITY_ABOVE_CEILING, world.check(world.start_task(ceiling=Sensitivity.PUBLIC).id)),
        Story(Reason.POLICY_FORBIDS, world.check(world.start_task(**egress).id, **mail)),
        Story(Reason.BUDGET_EXHAUSTED, world.check(world.start_task(budget_hops=0).id)),
    ]
    for story in told:
        assert _reason(running, story.message) is story.reason
    return told


@settings(max_examples=1000)
@given(data=st.data())
def test_removing_anything_never_turns_a_denial_into_an_allow(
    stories: Sequence[Story], running: Running, data: st.DataObject
) -> None:
    """A hop that lacks authority is denied still when any part of what Envoy says of it is left out.

    Parts that contradict each other are another matter: there the denial is about the contradiction.
    """
    story = data.draw(st.sampled_from(stories))
    check = CheckRequest.FromString(story.message)
    for place in data.draw(st.lists(st.sampled_from(sorted(_places(check), key=str)), min_size=1, unique=True)):
        _remove(check, place)
    assert not isinstance(running.decide(check.SerializeToString()).decision, Allow)


@given(
    parts=st.sets(st.sampled_from(["agents", "grants", "ceiling", "expires_unix_seconds", "budget_hops"]), min_size=1)
)
def test_a_task_of_which_something_is_taken_allows_no_more(world: World, running: Running, parts: set[str]) -> None:
    """A task without its agent, its grants, its time or its budget, or under a lower ceiling, allows nothing."""
    less = {
        "agents": frozenset(),
        "grants": (),
        "ceiling": Sensitivity.PUBLIC,
        "expires_unix_seconds": 1,
        "budget_hops": 0,
    }
    whole = world.start_task(budget_hops=5)
    taken = world.start_task(**({"budget_hops": 5} | {part: less[part] for part in parts}))
    assert isinstance(running.decide(world.check(whole.id)).decision, Allow)
    assert isinstance(running.decide(world.check(taken.id)).decision, Deny)


_LINKS = st.fixed_dictionaries(
    {
        "agents": st.sampled_from([(SUPPORT,), (SUPPORT, RESEARCH), (RESEARCH,)]),
        "grants": st.sampled_from([("read:crm",), ("read,write:crm.contacts",), ()]),
        "ceiling": st.sampled_from(Sensitivity),
        "budget_hops": st.sampled_from([None, 0, 9]),
    }
)
_HOPS = st.sampled_from([{}, {"method": "PUT"}, {"path": "/payroll/7"}])


@given(links=st.lists(_LINKS, min_size=2, max_size=4), hop=_HOPS)
def test_a_longer_chain_of_delegation_never_allows_more(
    world: World, running: Running, links: list[dict[str, Any]], hop: dict[str, Any]
) -> None:
    """What a delegated task may do, the task above it that names the same agent may do, link by link."""
    chain = list[Task]()
    for link in links:
        above = f"{chain[-1].id}." if chain else ""
        agents, grants = frozenset(map(SpiffeId.parse, link["agents"])), tuple(map(Grant.parse, link["grants"]))
        chain.append(
            world.start_task(
                id=above + make_task().id[-CHILD_CHARACTERS:], **link | {"agents": agents, "grants": grants}
            )
        )
    named = [_is_allowed(running, world, task, hop) for task in chain if SpiffeId.parse(SUPPORT) in task.agents]
    assert named == sorted(named, reverse=True)


def _is_allowed(running: Running, world: World, task: Task, hop: dict[str, Any]) -> bool:
    return isinstance(running.decide(world.check(task.id, **hop)).decision, Allow)


def _reason(running: Running, message: bytes) -> Reason | None:
    decision = running.decide(message).decision
    return decision.reason if isinstance(decision, Deny) else None


def _places(message: Message, above: Place = ()) -> Iterator[Place]:
    """Every part of a message that is there, the inner ones of each part behind it."""
    for field, value in message.ListFields():
        place = (*above, field.name)
        yield place
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            yield from ((*place, key) for key in value)
        elif field.message_type is not None and not field.is_repeated:
            yield from _places(value, place)


def _remove(message: Message, place: Place) -> None:
    """Leave that part out, unless it is gone with one around it."""
    *above, last = place
    part: Any = message
    for name in above:
        part = getattr(part, str(name))
    if isinstance(part, Message):
        part.ClearField(str(last))
    else:
        part.pop(last, None)
