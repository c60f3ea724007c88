"""The fast lane: what memory decides is answered at once, the rest in the event loop, and both from one state."""

import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from authz.core.acts import End
from authz.core.task import Grant
from authz.server.lanes import NotTested, choose, this_platform
from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from tests.support.servers import CHECK, free_port, serve
from tests.support.world import World


@pytest.fixture(autouse=True)
def _where_it_is_tested() -> None:
    try:
        choose("fast", this_platform())
    except NotTested as error:
        pytest.skip(str(error))


def plain(address: str, **more: object) -> dict[str, object]:
    """A server section in plain text, in the fast lane."""
    section = {"listen": address, "transport": "plaintext", "drain_seconds": 0, "stop_grace_seconds": 1, "lane": "fast"}
    return {"server": {**section, **more}}


def test_hops_that_wait_for_the_store_do_not_hold_up_those_that_need_not(tmp_path: Path) -> None:
    """While another process holds the store's lock, hops that change nothing go on; others are denied in time."""
    address = f"127.0.0.1:{free_port()}"
    world = World(tmp_path, settings=plain(address, check_timeout_seconds=1.0))
    quick, counted = world.start_task(), world.start_task(budget_hops=1000)
    with serve(world.config_file, address) as server:
        assert server.check(world.check(quick.id)).status.code == 0
        hold = (
            "import fcntl, sys, time; f = open(sys.argv[1], 'a'); fcntl.flock(f, 2); print(flush=True); time.sleep(3)"
        )
        command = [sys.executable, "-c", hold, f"{world.database}.lock"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            holder.stdout.readline()
            with ThreadPoolExecutor(1) as pool:
                slow = pool.submit(server.check, world.check(counted.id))
                started = time.monotonic()
                for _ in range(50):
                    assert server.check(world.check(quick.id)).status.code == 0
                assert time.monotonic() - started < 1
                assert not slow.done()
                reason = slow.result().dynamic_metadata.fields["reason"].string_value
            holder.terminate()
    assert reason == "check_timed_out"


def test_an_end_that_was_acknowledged_counts_for_the_very_next_check(tmp_path: Path) -> None:
    """While eight callers ask without a pause, tasks end one by one; each is dead at the next check that begins."""
    address = f"127.0.0.1:{free_port()}"
    world = World(tmp_path, settings=plain(address))
    tasks = [world.start_task() for _ in range(60)]
    over = threading.Event()

    def ask_on() -> None:
        with grpc.insecure_channel(address) as channel:
            ask = channel.unary_unary(CHECK)
            while not over.is_set():
                ask(world.check(random.choice(tasks).id), timeout=20, wait_for_ready=True)  # noqa: S311  no secret

    with serve(world.config_file, address) as server, ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(ask_on) for _ in range(8)]
        try:
            for task in tasks:
                world.do(End(task.id))
                response = server.check(world.check(task.id))
                assert response.dynamic_metadata.fields["reason"].string_value == "task_ended"
        finally:
            over.set()
        for each in asking:
            each.result()


def test_budgets_are_exact_while_many_ask_at_once(tmp_path: Path) -> None:
    """Of two hundred hops at once on a budget of fifty, fifty are allowed."""
    address = f"127.0.0.1:{free_port()}"
    world = World(tmp_path, settings=plain(address))
    task = world.start_task(budget_hops=50, grants=(Grant.parse("read:crm.contacts"),))
    with serve(world.config_file, address) as server, ThreadPoolExecutor(16) as pool:
        messages = [world.check(task.id, path=f"/contacts/{number}") for number in range(200)]
        codes = [each.status.code for each in pool.map(server.check, messages)]
    assert codes.count(0) == 50


def test_ten_thousand_hostile_messages_are_denied(tmp_path: Path) -> None:
    """Good checks with bytes changed, cut or added: each has an explicit answer, none an allow it should not have."""
    address = f"127.0.0.1:{free_port()}"
    world = World(tmp_path, settings=plain(address))
    good = world.check("0190aaaa-bbbb")  # there is no such task
    chance = random.Random(4711)  # noqa: S311  no secret

    def spoiled() -> bytes:
        message = bytearray(good)
        for _ in range(chance.randint(1, 6)):
            message[chance.randrange(len(message))] = chance.randrange(256)
        return bytes(message[: chance.randint(0, len(message))]) if chance.random() < 0.3 else bytes(message)

    with serve(world.config_file, address) as server, server.channel() as channel, ThreadPoolExecutor(8) as pool:
        ask = channel.unary_unary(CHECK, response_deserializer=CheckResponse.FromString)
        answers = pool.map(lambda message: ask(message, timeout=20), [spoiled() for _ in range(10_000)])
        assert all(answer.status.code != 0 and answer.HasField("denied_response") for answer in answers)
        assert server.process.poll() is None
        assert "Traceback" not in server.log()


def test_callers_that_give_up_leave_nothing_behind(tmp_path: Path) -> None:
    """After two thousand calls that were cut off at random moments the server answers, and stops at once."""
    address = f"127.0.0.1:{free_port()}"
    world = World(tmp_path, settings=plain(address))
    task = world.start_task(budget_hops=100_000)
    with serve(world.config_file, address) as server:
        for _ in range(20):
            with grpc.insecure_channel(address) as channel:
                ask = channel.unary_unary(CHECK)
                calls = [ask.future(world.check(task.id), timeout=20) for _ in range(100)]
                time.sleep(random.random() * 0.02)  # noqa: S311  no secret
                for call in calls[::2]:
                    call.cancel()
        assert server.check(world.check(task.id)).status.code == 0
        files = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
        assert files < 60
        server.process.terminate()
        assert server.process.wait(10) == 0
        assert "Traceback" not in server.log()
