"""Both lanes before the same checks: what Envoy gets, whatever the store, the callers and the bytes are like."""

import asyncio
import contextlib
import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import grpc
import pytest

from authz.core.acts import End
from authz.core.record import Record
from authz.server.checks import MAX_WAITING, Checks
from authz.server.lanes import NotTested, Platform, choose, this_platform
from tests.server.test_checks import Both, Kept, Store, make, told
from tests.support.lanes import LANES, Lane, served
from tests.support.servers import CHECK, until
from tests.support.world import World

ALLOWED = (200, "")
HOSTILE = 10_000


@pytest.fixture(params=LANES)
def kind(request: pytest.FixtureRequest) -> str:
    """Each lane in turn."""
    name: str = request.param
    return name


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world of its own."""
    return World(tmp_path)


class Trial:
    """A lane before the real pipeline, whose store can be made slow, and the records of what it answered."""

    def __init__(self, world: World, kind: str, *, timeout_seconds: float = 20, delay_seconds: float = 0) -> None:
        self.world = world
        self.running = world.pipeline()
        self.store = Store(self.running.store, delay_seconds=delay_seconds)
        self.audit, self.observer = Kept(), Kept()
        self._serving = served(
            kind, lambda: make(self.running.pipeline, self._both, self.audit, self.observer, timeout_seconds)
        )

    @property
    def _both(self) -> Both:
        return self.store

    def __enter__(self) -> Self:
        self.lane: Lane = self._serving.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._serving.__exit__(None, None, None)
        self.running.close()

    def known(self) -> bytes:
        """A check that memory can decide: its first hop has been kept, and read back."""
        message = self.world.check(self.world.start_task().id)
        assert [self.tell(message) for _ in range(2)] == [ALLOWED] * 2
        return message

    def tell(self, message: bytes) -> tuple[int, str]:
        """What Envoy would make of the answer to a check."""
        return told(self.lane.ask(message))


def test_what_memory_knows_and_what_it_does_not_are_answered_alike(world: World, kind: str) -> None:
    """The first hop of a task is fetched for and kept, the next is answered at once; each is audited and observed."""
    with Trial(world, kind) as trial:
        message = world.check(world.start_task().id)
        assert [trial.tell(message) for _ in range(5)] == [ALLOWED] * 5
        until(lambda: len(trial.observer.records) == 5)
        assert trial.observer.records == trial.audit.records
        assert trial.store.fetches >= 1


def test_a_slow_store_delays_only_those_that_need_it(world: World, kind: str) -> None:
    """While fifty checks wait for the store, one whose task is in memory is answered."""
    with Trial(world, kind) as trial, ThreadPoolExecutor(50) as pool:
        known = trial.known()
        trial.store.delay_seconds = 3
        unknown = [pool.submit(trial.tell, world.check(world.start_task().id)) for _ in range(50)]
        until(lambda: trial.store.fetches >= 50)
        assert trial.tell(known) == ALLOWED
        assert not any(future.done() for future in unknown)
        assert {future.result() for future in unknown} == {ALLOWED}


def test_a_store_that_is_too_slow_denies_in_time(world: World, kind: str) -> None:
    """By the check's own budget, or by that of Envoy's deadline where it is nearer."""
    with Trial(world, kind, timeout_seconds=0.2, delay_seconds=30) as trial:
        message = world.check(world.start_task().id)
        assert trial.tell(message) == (503, "check_timed_out")
    with Trial(world, kind, timeout_seconds=60, delay_seconds=60) as trial:

        def is_denied_in_time() -> bool:
            with contextlib.suppress(grpc.RpcError):  # a machine that stalls lets even the denial come too late
                return told(trial.lane.ask(message, seconds=1)) == (503, "check_timed_out")
            return False

        until(is_denied_in_time)


def test_checks_beyond_those_that_may_wait_are_denied_at_once(world: World, kind: str) -> None:
    """A store that hangs does not let checks pile up without end; what needs no store goes on."""
    with Trial(world, kind, timeout_seconds=60) as trial, grpc.insecure_channel(trial.lane.address) as channel:
        known = trial.known()
        trial.store.delay_seconds = 60
        unknown, ask = world.check(world.start_task().id), channel.unary_unary(CHECK)
        futures = [ask.future(unknown, timeout=120) for _ in range(MAX_WAITING + 200)]
        until(lambda: sum(future.done() for future in futures) >= 100)  # a few more may wait than are counted yet
        assert trial.tell(known) == ALLOWED
        denied = [future for future in futures if future.done()]
        assert {told(future.result()) for future in denied} == {(503, "overloaded")}
        assert len(futures) - len(denied) >= MAX_WAITING
        for future in futures:
            future.cancel()
        trial.store.delay_seconds = 0
        until(lambda: trial.tell(world.check(world.start_task().id)) == ALLOWED)


def test_callers_that_give_up_leave_nothing_behind(world: World, kind: str) -> None:
    """In a storm of cancelled checks the others are answered; afterwards the fast lane has no task left."""
    with Trial(world, kind, timeout_seconds=60) as trial, grpc.insecure_channel(trial.lane.address) as channel:
        known, ask = trial.known(), channel.unary_unary(CHECK)
        trial.store.delay_seconds = 0.05
        answered = Counter[tuple[int, str]]()
        for number in range(300):
            future = ask.future(world.check(f"0190aaaa-bbbb-7ccc-8ddd-{number:012}"), timeout=60)
            if number % 3:
                time.sleep(0.001 * (number % 5))
            future.cancel()
            answered[told(ask(known, timeout=60))] += 1
        assert answered == {ALLOWED: 300}
        until(lambda: "fast" not in kind or tasks_of(trial.lane) == 1)  # grpc.aio keeps tasks of its own


def tasks_of(lane: Lane) -> int:
    """How many tasks its loop has; one is the server's life."""
    counted = list[int]()
    lane.on_loop(lambda: counted.append(len(asyncio.all_tasks(lane.loop))))
    return counted[0]


def test_hostile_messages_are_never_allowed(world: World, kind: str) -> None:
    """Ten thousand messages that are mutilated, glued together or random get explicit denials, and no gRPC error."""
    chance = random.Random(20261126)  # noqa: S311  no secret is made
    with Trial(world, kind) as trial, grpc.insecure_channel(trial.lane.address) as channel:
        good = world.check(world.start_task().id)
        assert trial.tell(good) == ALLOWED
        ask, statuses = channel.unary_unary(CHECK), Counter[int]()
        futures = [ask.future(_mutilated(good, chance), timeout=120) for _ in range(HOSTILE)]
        for future in futures:
            statuses[told(future.result())[0]] += 1
        assert sum(statuses.values()) == HOSTILE
        assert 200 not in statuses
        assert trial.tell(good) == ALLOWED


def _mutilated(good: bytes, chance: random.Random) -> bytes:
    """A message that says less than the good one, or nothing: each of these takes away what an allow needs."""
    match chance.randrange(4):
        case 0:
            return chance.randbytes(chance.randrange(2000))
        case 1:
            return good[: chance.randrange(len(good) // 2)]
        case 2:  # without its task
            return good.replace(b"x-task-id", b"x-tesk-id") + chance.randbytes(chance.randrange(3))
        case _:  # with another principal, or none
            return good.replace(b"spiffe://", chance.choice([b"spiffe:/_", b"SPIFFE://"]))


def test_a_revocation_counts_for_the_very_next_check(world: World, kind: str) -> None:
    """A task that another process has ended is dead at the first check that begins after that, every time."""
    with Trial(world, kind) as trial, grpc.insecure_channel(trial.lane.address) as channel:
        ask, other = channel.unary_unary(CHECK), world.store()
        try:
            for _ in range(100):
                task = world.start_task()
                message = world.check(task.id)
                assert told(ask(message, timeout=30)) == ALLOWED
                asyncio.run(other.do(End(task.id)))
                assert told(ask(message, timeout=30)) == (403, "task_ended")
        finally:
            asyncio.run(other.close())


def test_nothing_is_allowed_while_tasks_end_under_load(world: World, kind: str) -> None:
    """Callers hammer tasks that end meanwhile: whoever began to ask after the end is denied."""
    with Trial(world, kind) as trial:
        ended = threading.Event()
        task = world.start_task()
        message = world.check(task.id)
        wrong = list[tuple[int, str]]()

        def hammer() -> int:
            asked = 0
            with grpc.insecure_channel(trial.lane.address) as channel:
                ask = channel.unary_unary(CHECK)
                while not leave.is_set():
                    was_ended = ended.is_set()
                    answer = told(ask(message, timeout=60))
                    asked += 1
                    if was_ended and answer == ALLOWED:
                        wrong.append(answer)
            return asked

        leave = threading.Event()
        with ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(hammer) for _ in range(4)]
            time.sleep(0.5)
            world.end_task(task)
            ended.set()
            time.sleep(0.5)
            leave.set()
            assert all(future.result() > 10 for future in futures)
        assert not wrong


def test_an_audit_log_that_fails_denies(world: World, kind: str) -> None:
    """Whether the check was decided at once or had to be settled."""

    class Failing(Kept):
        def append(self, record: Record, duration_seconds: float) -> None:
            raise sqlite3.Error(f"{record.arrival.decision_id} {duration_seconds}")

    running = world.pipeline()

    def checks() -> Checks:
        return make(running.pipeline, running.store, Failing())

    with served(kind, checks) as lane:
        message = world.check(world.start_task().id)
        assert [told(lane.ask(message))[0] for _ in range(3)] == [503] * 3
    running.close()


def platforms() -> Iterator[tuple[Platform, str]]:
    """Where one may run, and what `auto` takes there."""
    for version, lane in {
        "1.84.0": "fast",
        "1.85.3": "fast",
        "1.83.9": "portable",
        "1.86.0": "portable",
        "2.0.0": "portable",
        "1.85.0rc1": "portable",
        "1.85": "portable",
        "": "portable",
    }.items():
        yield Platform(version, "linux", has_gil=True), lane
    yield Platform("1.85.3", "darwin", has_gil=True), "portable"
    yield Platform("1.85.3", "linux", has_gil=False), "portable"


@pytest.mark.parametrize(("platform", "lane"), list(platforms()))
def test_the_fast_lane_is_taken_only_where_it_was_tested(platform: Platform, lane: str) -> None:
    """Elsewhere `auto` takes the portable one and says why, and `fast` is refused; `portable` is always had."""
    found, why = choose("auto", platform)
    assert found == lane
    assert why
    assert choose("portable", platform)[0] == "portable"
    if lane == "portable":
        with pytest.raises(NotTested, match="tested"):
            choose("fast", platform)
    else:
        assert choose("fast", platform)[0] == "fast"


def test_these_tests_run_on_a_version_that_counts_as_tested() -> None:
    """Whoever installs another minor version of grpcio runs these tests, and then says so in `lanes.py`."""
    assert choose("auto", this_platform())[0] == "fast"
