"""Two servers on one shared store: what is done at one counts at the other, also while the store fails."""

import re
import shlex
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from tests.support.commands import Ended, authz
from tests.support.servers import Server, free_port, serve, until
from tests.support.world import SUPPORT, World
from tests.tasks.shared_stores import Server as Store

PAGE = Path(__file__).parents[2] / "docs" / "stores.md"
STALENESS_SECONDS = 1.0
PATIENCE_SECONDS = 30.0
OUT_OF_SERVICE = 503


@dataclass
class Replicas:
    """Two servers, their configurations, and what they share."""

    world: World
    store: Store
    servers: tuple[Server, Server]

    def status(self, replica: int, task_id: str, **hop: str) -> int:
        """What a hop of the task gets there: 200 where it may go on."""
        return status(self.servers[replica].check(self.world.check(task_id, **hop)))


def status(response: CheckResponse) -> int:
    """The HTTP status that a caller sees."""
    return 200 if response.status.code == 0 else response.denied_response.status.code


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """A Valkey that keeps what it acknowledges, and two servers on it."""
    folder = tmp_path_factory.mktemp("replicas")
    (folder / "valkey").mkdir()
    store = Store("valkey", folder / "valkey", appendonly="yes", appendfsync="always")
    try:
        addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        world = World(folder)
        plain = yaml.safe_load(world.config_file.read_text())
        del plain["tasks"]["sqlite_file"]
        plain["tasks"]["valkey"] = {"servers": [f"127.0.0.1:{store.port}"], "timeout_seconds": 1}
        for name, address in zip(("one.yaml", "two.yaml"), addresses, strict=True):
            plain["server"]["listen"] = address
            plain["audit"]["file"] = f"{name}.jsonl"
            (folder / name).write_text(yaml.safe_dump(plain))
        with serve(folder / "one.yaml", addresses[0]) as one, serve(folder / "two.yaml", addresses[1]) as two:
            yield Replicas(world, store, (one, two))
    finally:
        store.kill()


def start(replicas: Replicas) -> str:
    """A task that was started as the page says, with the command line alone."""
    first, *_ = commands(replicas, "")
    ended = authz(*first)
    return told(ended)


def told(ended: Ended) -> str:
    """The id of the task that was started."""
    assert ended.status == 0, ended.err
    found = re.search(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", ended.out)
    assert found
    return found[0]


def commands(replicas: Replicas, task_id: str) -> list[list[str]]:
    """The commands of the page's story, with the configurations and the task of this test."""
    [story] = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ authz ") for line in story.replace("\\\n", " ").splitlines()]
    folder = str(replicas.world.folder)
    put = {"one.yaml": f"{folder}/one.yaml", "two.yaml": f"{folder}/two.yaml", "TASK": task_id}
    return [[put.get(word, word) for word in shlex.split(line)] for line in lines]


def test_the_story_of_the_page_is_true(replicas: Replicas) -> None:
    """Started at one, used at both, delegated at the other, ended at one: dead at both, with what was delegated."""
    task_id = start(replicas)
    assert [replicas.status(replica, task_id) for replica in (0, 1)] == [200, 200]
    _, get, delegate, end = commands(replicas, task_id)
    assert "alice@example.org" in authz(*get).out
    delegated = authz(*delegate)
    assert delegated.status == 0, delegated.err
    found = re.search(rf"{task_id}\.[0-9a-f]+", delegated.out)
    assert found
    assert authz(*end).status == 0
    until(lambda: replicas.status(1, task_id) == 403, PATIENCE_SECONDS)
    assert replicas.status(0, task_id) == 403
    reading = replicas.world.check(found[0], agent=SUPPORT.replace("support", "research"))
    assert [status(server.check(reading)) for server in replicas.servers] == [403, 403]


def test_a_harmful_hop_is_denied_at_the_very_next_check(replicas: Replicas) -> None:
    """After the end is acknowledged, the other server allows no deletion, fifty times of fifty."""
    for _ in range(50):
        task_id = start_deleter(replicas)
        removal = {"method": "DELETE"}
        before = replicas.status(1, task_id, **removal)
        assert authz("task", "end", "--config", replicas.world.folder / "one.yaml", task_id).status == 0
        assert (before, replicas.status(1, task_id, **removal)) == (200, 403)


def start_deleter(replicas: Replicas) -> str:
    """A task that may delete contacts."""
    options = shlex.split(
        f"--owner alice --purpose p --agent {SUPPORT} --grant delete:crm.contacts --ceiling internal --expires-in 15m"
    )
    ended = authz("task", "start", "--config", replicas.world.folder / "one.yaml", *options)
    return told(ended)


def test_while_the_store_hangs_hops_go_on_for_as_long_as_was_declared(replicas: Replicas) -> None:
    """From memory within the staleness, then 503; never an allow beyond it; and all is well when it is back."""
    task_id = start(replicas)
    # The first hop teaches the session something, so the record is read anew once that news has come round.
    assert replicas.status(0, task_id) == 200
    time.sleep(0.5)
    assert replicas.status(0, task_id) == 200
    replicas.store.send(signal.SIGSTOP)
    try:
        stopped = time.monotonic()
        seen = list[tuple[float, int]]()
        while time.monotonic() < stopped + 4 * STALENESS_SECONDS:
            asked = time.monotonic()
            seen.append((asked - stopped, replicas.status(0, task_id)))
        # Where the machine itself stood still, the first hop may have come too late for memory.
        assert seen[0][1] == 200 or seen[1][0] > STALENESS_SECONDS / 2
        assert seen[-1][1] == OUT_OF_SERVICE
        assert all(found == OUT_OF_SERVICE for after, found in seen if after > STALENESS_SECONDS + 0.05)
    finally:
        replicas.store.send(signal.SIGCONT)
    until(lambda: replicas.status(0, task_id) == 200, PATIENCE_SECONDS)


def test_after_a_crash_of_the_store_nothing_acknowledged_is_lost(replicas: Replicas) -> None:
    """An end before the crash is an end after it, a live task goes on, and no server was restarted for it."""
    live, ended = start(replicas), start(replicas)
    assert authz("task", "end", "--config", replicas.world.folder / "one.yaml", ended).status == 0
    replicas.store.kill()
    replicas.store.start()
    for replica in (0, 1):
        until(lambda replica=replica: replicas.status(replica, live) == 200, PATIENCE_SECONDS)  # type: ignore[misc]  # a loop's
        assert replicas.status(replica, ended) == 403
