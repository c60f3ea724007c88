"""The story of a check, told with the real parts: each step's refusal, and that nothing else allows."""

import dataclasses
import datetime as dt
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.core.decision import Allow, Deny, Verdict
from authz.core.hop import Sensitivity
from authz.core.outcome import Fresh, Needs
from authz.core.query import Query
from authz.core.reasons import Reason
from authz.core.record import Record
from authz.core.spiffe import SpiffeId
from authz.core.task import Grant, TaskState
from authz.demo.ca import DevelopmentCa
from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from tests.support.world import RESEARCH, SUPPORT, Running, World, arrival_now, check_request


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """One world for all stories: tasks are made per story."""
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def running(world: World) -> Iterator[Running]:
    """Its pipeline."""
    running = world.pipeline()
    yield running
    running.close()


def reason(record: Record) -> Reason | None:
    """The reason of a denial; None for an allow."""
    return record.decision.reason if isinstance(record.decision, Deny) else None


def test_a_hop_within_its_task_and_policies_is_allowed(world: World, running: Running) -> None:
    """An agent on its own live task, doing what a grant covers and a policy permits, goes on; the record tells all."""
    task = world.start_task()
    record = running.decide(world.check(task.id))
    assert Allow(frozenset({"support-works-on-contacts"})) == record.decision
    assert record.identity is not None
    assert record.hop is not None
    assert record.identity.spiffe_id == SpiffeId.parse(SUPPORT)
    assert record.task == task
    assert record.hop.operation.action == "crm.contact.read"
    assert record.hop.parameters == {"contact_id": "42"}


def test_the_second_time_the_verdict_comes_from_the_cache(world: World, running: Running) -> None:
    """Equal questions are asked of the engine once."""
    task = world.start_task()
    first, second = (running.decide(world.check(task.id)).verdict for _ in range(2))
    assert first is not None
    assert second is not None
    assert second.from_cache
    assert dataclasses.replace(second, from_cache=first.from_cache) == first


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        (Reason.TASK_MISSING, {"headers": {}}),
        (Reason.TASK_HEADER_REPEATED, {"headers": {"x-task-id": "0190aaaa,0190bbbb"}}),
        (Reason.TASK_ID_MALFORMED, {"headers": {"x-task-id": "../0190aaaa"}}),
        (Reason.TASK_ID_MALFORMED, {"headers": {"x-task-id": "caf!!!!!"}}),
        (Reason.TASK_UNKNOWN, {"headers": {"x-task-id": "0190aaaa-bbbb"}}),
        (Reason.ACTION_UNKNOWN, {"path": "/nothing/here"}),
        (Reason.ACTION_UNKNOWN, {"method": "PATCH"}),
        (Reason.ACTION_UNKNOWN, {"host": "other.example.org"}),
        (Reason.PATH_AMBIGUOUS, {"path": "/contacts/../payroll/7"}),
        (Reason.PATH_AMBIGUOUS, {"path": "//contacts/42"}),
        (Reason.PATH_AMBIGUOUS, {"path": "/contacts%2f42"}),
        (Reason.PATH_MISSING, {"path": ""}),
        (Reason.HOST_AMBIGUOUS, {"host": "crm.example.org,other.example.org"}),
        (Reason.ACTION_NOT_GRANTED, {"method": "DELETE"}),
        (Reason.ACTION_NOT_GRANTED, {"path": "/payroll/7"}),
    ],
)
def test_what_the_request_says_is_refused_for_its_reason(
    world: World, running: Running, expected: Reason, changes: dict[str, Any]
) -> None:
    """A hop that differs from an allowed one in one thing is denied, and the reason names that thing."""
    task = world.start_task()
    assert reason(running.decide(world.check(task.id, **changes))) is expected


def test_another_agents_task_is_no_use(world: World, running: Running) -> None:
    """Knowing a task's id gives nothing to an agent that the task does not name."""
    task = world.start_task()
    assert reason(running.decide(world.check(task.id, agent=RESEARCH))) is Reason.TASK_OF_ANOTHER_AGENT


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        (Reason.TASK_ENDED, {"state": TaskState.ENDED}),
        (Reason.TASK_EXPIRED, {"expires_unix_seconds": 1_000_000_000}),
        (Reason.TASK_NOT_STARTED, {"starts_unix_seconds": 9_000_000_000}),
        (Reason.ACTION_NOT_GRANTED, {"grants": ()}),
        (Reason.SENSITIVITY_ABOVE_CEILING, {"ceiling": Sensitivity.PUBLIC}),
        (Reason.TASK_OF_ANOTHER_AGENT, {"agents": frozenset({SpiffeId.parse(RESEARCH)})}),
    ],
)
def test_what_the_task_says_is_refused_for_its_reason(
    world: World, running: Running, expected: Reason, changes: dict[str, Any]
) -> None:
    """A task that differs from a sufficient one in one thing denies, and the reason names that thing."""
    task = world.start_task(**changes)
    assert reason(running.decide(world.check(task.id))) is expected


def test_a_grant_does_not_replace_a_policy(world: World, running: Running) -> None:
    """What the task grants but no policy permits is denied."""
    researcher = frozenset({SpiffeId.parse(RESEARCH)})
    task = world.start_task(agents=researcher)
    denied = running.decide(world.check(task.id, agent=RESEARCH, method="PUT"))
    assert reason(denied) is Reason.POLICY_PERMITS_NOTHING


def test_a_forbidding_policy_beats_grant_and_permit(world: World, running: Running) -> None:
    """Egress of confidential data is forbidden by class, though task and agent have the right; the policy is named."""
    task = world.start_task(grants=(Grant.parse("read,egress:crm"),), ceiling=Sensitivity.RESTRICTED)
    record = running.decide(world.check(task.id, method="POST", path="/exports"))
    assert reason(record) is Reason.POLICY_FORBIDS
    assert record.decision.policies == {"no-egress-above-internal"}


def test_ending_a_task_denies_its_very_next_hop(world: World, running: Running) -> None:
    """A task ended by another process is dead at the next check, a hundred times out of a hundred."""
    for _ in range(100):
        task = world.start_task()
        assert reason(running.decide(world.check(task.id))) is None
        world.end_task(task)
        assert reason(running.decide(world.check(task.id))) is Reason.TASK_ENDED


def test_a_foreign_trust_domain_is_unknown(world: World, running: Running) -> None:
    """A correct SVID of a trust domain that is not configured proves nothing here."""
    uri = "spiffe://evil.example/agent/support"
    certificate = DevelopmentCa("evil.example").mint(uri)
    task = world.start_task()
    message = check_request(certificate, uri, headers={"x-task-id": task.id})
    assert reason(running.decide(message)) is Reason.TRUST_DOMAIN_UNKNOWN


def test_an_expired_certificate_is_refused_at_the_moment_it_expires(world: World, running: Running) -> None:
    """The one `now` of the check decides: allowed a second before the certificate's end, denied a second after."""
    end = int(time.time()) + 600
    start = dt.datetime.fromtimestamp(end - 3600, dt.UTC)
    certificate = world.ca.mint(SUPPORT, not_before=start, lifetime=dt.timedelta(seconds=3600))
    task = world.start_task()
    message = check_request(certificate, SUPPORT, headers={"x-task-id": task.id})
    assert reason(running.decide(message, at=end - 1)) is None
    assert reason(running.decide(message, at=end + 1)) is Reason.SVID_EXPIRED


def test_stale_knowledge_denies(world: World) -> None:
    """When the store has not been read within the declared staleness, a remembered task must be read anew."""
    running = world.pipeline()
    task = world.start_task()
    assert reason(running.decide(world.check(task.id))) is None
    later = dataclasses.replace(arrival_now(), boot_ns=arrival_now().boot_ns + 2_000_000_000)
    outcome = running.pipeline.check(later, world.check(task.id))
    assert isinstance(outcome, Needs)
    assert outcome.wants == {Fresh(task.id)}
    assert reason(outcome.record) is Reason.INTERNAL_ERROR
    running.close()


def test_a_hop_that_can_do_harm_needs_present_knowledge(world: World) -> None:
    """A delete is not decided on knowledge from before it arrived, however fresh that is."""
    running = world.pipeline()
    task = world.start_task(grants=(Grant.parse("delete:crm"),))
    message = world.check(task.id, method="DELETE")
    assert reason(running.decide(message)) is None
    outcome = running.pipeline.check(arrival_now(), message)
    assert isinstance(outcome, Needs)
    assert outcome.wants == {Fresh(task.id)}
    assert reason(outcome.record) is Reason.INTERNAL_ERROR
    running.close()


def test_a_task_that_is_not_in_memory_is_asked_for(world: World) -> None:
    """The check does no I/O: it says which task it lacks, and what it says meanwhile is a denial."""
    running = world.pipeline()
    task = world.start_task()
    running.store.peek()
    outcome = running.pipeline.check(arrival_now(), world.check(task.id))
    assert isinstance(outcome, Needs)
    assert {want.task_id for want in outcome.of_tasks} == {task.id}
    assert reason(outcome.record) is Reason.INTERNAL_ERROR
    running.close()


class _Panic(BaseException):
    """As native libraries raise it: no Exception."""


@dataclasses.dataclass
class _Failing:
    error: BaseException

    def decide(self, query: Query) -> Verdict:
        assert query.operation
        raise self.error


class _Silent:
    def decide(self, query: Query) -> Verdict:
        return Verdict(frozenset(), frozenset(), (), f"empty for {query.operation.action}")


@pytest.mark.parametrize("error", [RuntimeError("a defect"), _Panic("a panic")], ids=["exception", "panic"])
def test_a_defect_of_ours_is_a_denial(world: World, running: Running, error: BaseException) -> None:
    """An exception that nobody expected denies the hop with 503 and is kept for the log."""
    task = world.start_task()
    broken = Running(dataclasses.replace(running.pipeline, policy=_Failing(error)), running.store)
    answer = broken.answer(world.check(task.id))
    assert reason(answer.record) is Reason.INTERNAL_ERROR
    assert answer.record.fault is error
    assert CheckResponse.FromString(answer.message).denied_response.status.code == 503


def test_no_determining_policy_is_a_denial(world: World, running: Running) -> None:
    """A verdict that names no policy denies."""
    task = world.start_task()
    silent = Running(dataclasses.replace(running.pipeline, policy=_Silent()), running.store)
    assert reason(silent.decide(world.check(task.id))) is Reason.POLICY_PERMITS_NOTHING


@pytest.fixture(scope="module")
def denied_check(world: World) -> bytes:
    """A check that is denied for want of a task alone."""
    return world.check(None)


@given(st.data())
def test_damage_never_turns_a_denial_into_an_allow(denied_check: bytes, running: Running, data: st.DataObject) -> None:
    """Bytes cut out of a denied check, doubled in it or overwritten leave it denied."""
    message = denied_check
    start = data.draw(st.integers(0, len(message)))
    end = data.draw(st.integers(start, min(len(message), start + 64)))
    middle = data.draw(st.one_of(st.just(b""), st.just(message[start:end] * 2), st.binary(max_size=8)))
    record = running.decide(message[:start] + middle + message[end:])
    assert isinstance(record.decision, Deny)
    assert record.fault is None
