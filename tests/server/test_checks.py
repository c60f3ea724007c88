"""The handler: whatever the world does, the answer is an explicit CheckResponse, and a denial unless all went well."""

import asyncio
from collections.abc import Iterator
from typing import Protocol

import pytest

from authz.core.acts import Act
from authz.core.errors import Unavailable
from authz.core.outcome import TaskWant
from authz.core.record import Record
from authz.pipeline import Pipeline
from authz.ports import Audit, TaskKeeper, Tasks
from authz.server.checks import UNKNOWN, Checks, arrive
from authz.wire.encode import FALLBACK
from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from tests.support.world import Running, World


class Kept:
    """An audit log and observer that keeps records in a list."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def append(self, record: Record, duration_seconds: float) -> None:
        """Keep it."""
        assert duration_seconds >= 0
        self.records.append(record)

    checked = append


class FullDisk:
    """An audit log that can keep nothing."""

    def append(self, record: Record, duration_seconds: float) -> None:
        """Fail as a full disk does."""
        raise Unavailable(f"no space left after {duration_seconds:.0f} s for {record.arrival.decision_id}")


class Both(Tasks, TaskKeeper, Protocol):
    """What checks need of a task store."""


class Store:
    """A task store in front of a real one: it can be slow, gone, or forgetful."""

    def __init__(self, inner: Both, *, delay_seconds: float = 0, gone: bool = False, forgetful: bool = False) -> None:
        self.inner, self.delay_seconds, self.gone, self.forgetful = inner, delay_seconds, gone, forgetful
        self.fetches = 0

    def peek(self) -> None:
        """As the real one."""
        self.inner.peek()

    async def fetch(self, wants: frozenset[TaskWant]) -> None:
        """As the real one, after its trouble."""
        self.fetches += 1
        await asyncio.sleep(self.delay_seconds)
        if self.gone:
            raise Unavailable("the store is gone")
        if not self.forgetful:
            await self.inner.fetch(wants)

    async def do(self, act: Act) -> None:
        """As the real one, after its trouble."""
        await asyncio.sleep(self.delay_seconds)
        if self.gone:
            raise Unavailable("the store is gone")
        await self.inner.do(act)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """One world for all."""
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture
def running(world: World) -> Iterator[Running]:
    """A pipeline with an empty memory."""
    running = world.pipeline()
    yield running
    running.close()


def make(
    pipeline: Pipeline, store: Both, audit: Audit, observer: Kept | None = None, timeout_seconds: float = 0.15
) -> Checks:
    """The handler over these parts; observers are told at once."""
    return Checks(
        pipeline,
        store,
        store,
        audit,
        observer or Kept(),
        fallback=FALLBACK,
        timeout_seconds=timeout_seconds,
    )


def answer(checks: Checks, message: bytes, **arguments: float) -> tuple[int, str]:
    """The HTTP status and reason of one check's answer; (200, "") for an allow."""
    return told(asyncio.run(checks.answer(message, (), UNKNOWN, **arguments)))


def told(message: bytes) -> tuple[int, str]:
    """What Envoy would make of an answer."""
    response = CheckResponse.FromString(message)
    if response.status.code == 0:
        assert response.HasField("ok_response")
        return 200, ""
    reason = response.dynamic_metadata.fields["reason"].string_value
    return response.denied_response.status.code, reason


def test_an_allowed_check_is_audited_and_observed(world: World, running: Running) -> None:
    """An allow is in the audit log before it is given, and observers hear of the same record."""
    audit, observer = Kept(), Kept()
    task = world.start_task()
    checks = make(running.pipeline, running.store, audit, observer)
    assert answer(checks, world.check(task.id)) == (200, "")
    (record,) = audit.records
    assert observer.records == [record]
    assert record.task == task


def test_an_allow_that_cannot_be_audited_is_a_denial(world: World, running: Running) -> None:
    """With a full disk nothing is allowed, and the reason says so."""
    task = world.start_task()
    checks = make(running.pipeline, running.store, FullDisk())
    assert answer(checks, world.check(task.id)) == (503, "audit_unavailable")


def test_a_store_that_is_gone_denies(world: World, running: Running) -> None:
    """A task that is not in memory and cannot be fetched is a 503 denial."""
    task = world.start_task()
    checks = make(running.pipeline, Store(running.store, gone=True), Kept())
    assert answer(checks, world.check(task.id)) == (503, "task_store_unavailable")


def test_a_slow_store_denies_within_the_time_budget(world: World, running: Running) -> None:
    """The check's own budget ends the waiting, before Envoy's would."""
    task = world.start_task()
    checks = make(running.pipeline, Store(running.store, delay_seconds=5), Kept(), timeout_seconds=0.05)
    assert answer(checks, world.check(task.id)) == (503, "check_timed_out")


def test_a_caller_with_less_time_gets_its_denial_in_time(world: World, running: Running) -> None:
    """Where Envoy's deadline is nearer than our budget, it is the one that counts."""
    task = world.start_task()
    checks = make(running.pipeline, Store(running.store, delay_seconds=5), Kept(), timeout_seconds=60)
    assert answer(checks, world.check(task.id), remaining_seconds=0.05) == (503, "check_timed_out")


def test_a_store_that_never_brings_what_is_lacking_denies(world: World, running: Running) -> None:
    """A check is run again only so often."""
    task = world.start_task()
    checks = make(running.pipeline, Store(running.store, forgetful=True), Kept())
    assert answer(checks, world.check(task.id)) == (503, "internal_error")


def test_a_timed_out_check_is_audited_with_what_it_knew(world: World, running: Running) -> None:
    """The audit record of a 503 names the caller and the request."""
    audit = Kept()
    task = world.start_task()
    checks = make(running.pipeline, Store(running.store, delay_seconds=5), audit, timeout_seconds=0.05)
    answer(checks, world.check(task.id))
    (record,) = audit.records
    assert record.identity is not None
    assert record.request is not None


def test_checks_that_lack_the_same_task_share_one_fetch(world: World, running: Running) -> None:
    """A hundred first hops of one task are one look into the store."""
    task = world.start_task()
    store = Store(running.store, delay_seconds=0.02)
    checks = make(running.pipeline, store, Kept(), timeout_seconds=30)
    message = world.check(task.id)

    async def hundred() -> list[bytes]:
        return await asyncio.gather(*(checks.answer(message, ()) for _ in range(100)))

    assert [told(message) for message in asyncio.run(hundred())] == [(200, "")] * 100
    assert store.fetches == 1


def test_one_impatient_check_does_not_end_the_others_wait(world: World, running: Running) -> None:
    """A check that gives up leaves the shared fetch to those that still wait."""
    task = world.start_task()
    checks = make(running.pipeline, Store(running.store, delay_seconds=0.5), Kept(), timeout_seconds=30)
    message = world.check(task.id)

    async def both() -> tuple[bytes, bytes]:
        return await asyncio.gather(checks.answer(message, (), UNKNOWN, 0.03), checks.answer(message, ()))

    assert [told(each) for each in asyncio.run(both())] == [(503, "check_timed_out"), (200, "")]


def test_a_defect_outside_the_pipeline_is_the_denial_of_last_resort(world: World, running: Running) -> None:
    """Even where the handler itself fails, by what is no Exception too, Envoy gets an explicit denial."""

    class Panic(BaseException):
        pass

    class Broken(Kept):
        def append(self, record: Record, duration_seconds: float) -> None:
            raise Panic(f"{record} {duration_seconds}")

    task = world.start_task()
    checks = make(running.pipeline, running.store, Broken())
    message = asyncio.run(checks.answer(world.check(task.id), ()))
    assert message == FALLBACK


@pytest.mark.parametrize("message", [b"", b"\xff\xff\xff", b"\x00" * 1000, bytes(range(256))])
def test_hostile_bytes_are_denied(running: Running, message: bytes) -> None:
    """What is no CheckRequest gets a 400 with its reason."""
    status, reason = answer(make(running.pipeline, running.store, Kept()), message)
    assert status == 400
    assert reason in {"request_malformed", "request_not_http"}


def test_the_trace_parent_is_taken_from_the_calls_metadata() -> None:
    """Envoy's own span context is the parent; binary values and other names are ignored."""
    arrival = arrive([("x", "y"), ("traceparent", "00-a-b-01"), ("tracestate", "k=v"), ("traceparent-bin", b"z")])
    assert (arrival.traceparent, arrival.tracestate) == ("00-a-b-01", "k=v")


def test_a_repeated_trace_parent_is_none() -> None:
    """Of two parents neither is believed; several tracestates are one list."""
    arrival = arrive([("traceparent", "a"), ("traceparent", "b"), ("tracestate", "k=v"), ("tracestate", "l=w")])
    assert (arrival.traceparent, arrival.tracestate) == ("", "k=v,l=w")


def test_no_two_checks_share_a_decision_id() -> None:
    """Decision ids are unique and sort by time."""
    ids = [arrive(()).decision_id for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert [each[:13] for each in sorted(ids)] == [each[:13] for each in ids]
