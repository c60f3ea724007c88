"""What the shared store promises when its server stops answering, dies, is demoted, fills up, or is not fit."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from authz.core.errors import Unavailable, Unusable
from authz.core.reasons import Reason
from authz.core.task import Task, TaskState
from tests.tasks.nodes import Node, kept, make_task
from tests.tasks.shared_stores import Server, node_at

TIMEOUT_SECONDS = 1.0
PATIENCE_SECONDS = 30.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that acknowledges what is on its disk, as ours must."""
    server = Server("valkey", tmp_path, appendonly="yes", appendfsync="always")
    yield server
    server.kill()


@pytest.fixture
def node(server: Server) -> Iterator[Node]:
    """A node on it that soon loses patience."""
    with contextlib.closing(node_at(server.port, timeout_seconds=TIMEOUT_SECONDS)) as node:
        yield node


def _set_user(operator: Redis, *rules: str) -> None:
    operator.execute_command("ACL", "SETUSER", *rules)  # type: ignore[no-untyped-call]  # the library's


def _age_grows(node: Node) -> bool:
    before_ns = node.memory.as_of_ns
    node.catch_up()
    return node.memory.as_of_ns == before_ns


def test_a_frozen_server_lets_knowledge_age_and_holds_nobody_up(server: Server, node: Node) -> None:
    """What is in memory stays, no younger than it is; acts and reads fail within their time; and all is well after."""
    task = kept(node)
    server.send(signal.SIGSTOP)
    began = time.monotonic()
    assert _age_grows(node)
    assert node.remembers(task.id) == task
    for trouble in (node.end, node.fetch):
        with pytest.raises(Unavailable):
            trouble(task.id)
    assert time.monotonic() - began < 10 * TIMEOUT_SECONDS
    server.send(signal.SIGCONT)
    assert not _age_grows(node)
    node.end(task.id)
    found = node.finds(task.id)
    assert isinstance(found, Task)
    assert found.state is TaskState.ENDED


def test_what_was_acknowledged_is_there_after_a_crash(server: Server, node: Node) -> None:
    """Ends before the kill are ends after the restart, and the node goes on without one of its own."""
    tasks = [make_task() for _ in range(20)]
    for task in tasks:
        node.put(task)
        node.end(task.id)
    server.kill()
    assert _age_grows(node)
    with pytest.raises(Unavailable):
        node.put(make_task())
    server.start()
    assert not _age_grows(node)
    assert [node.get(task.id).state for task in tasks] == [TaskState.ENDED] * len(tasks)


def test_a_store_that_comes_back_empty_knows_no_task(tmp_path: Path) -> None:
    """The node forgets what it knew of the one before, although its numbers begin anew: checks are denied."""
    server = Server("valkey", tmp_path)  # keeps nothing
    try:
        with contextlib.closing(node_at(server.port)) as node:
            task = kept(node)
            server.kill()
            server.start()
            assert _age_grows(node), "the old connection told something"
            with contextlib.suppress(Unavailable):  # so may one more that rested
                node.fetch(task.id)
            assert node.finds(task.id) is Reason.TASK_UNKNOWN
    finally:
        server.kill()


def test_a_promoted_replica_is_another_store(server: Server, tmp_path: Path) -> None:
    """What the old primary had acknowledged and not passed on may be gone, so nothing known from it is believed."""
    folder = tmp_path / "replica"
    folder.mkdir()
    replica = Server("valkey", folder)
    try:
        with contextlib.closing(node_at(replica.port)) as node:
            task = kept(node)
            with contextlib.closing(Redis(port=replica.port)) as operator:
                operator.replicaof("127.0.0.1", server.port)
                time.sleep(1.1)  # ROLE is asked once a second
                assert _age_grows(node), "a replica's word was taken for the primary's"
                with pytest.raises(Unavailable):
                    node.fetch(task.id)
                operator.replicaof("NO", "ONE")
            assert node.remembers(task.id) is None
            assert not _age_grows(node)
    finally:
        replica.kill()


def test_a_full_server_refuses_acts_and_loses_none(server: Server, node: Node) -> None:
    """Out of memory is Unavailable for who writes; reading goes on, and nothing was dropped to make room."""
    task = kept(node)
    with contextlib.closing(Redis(port=server.port)) as operator:
        operator.config_set("maxmemory", "1")
        with pytest.raises(Unavailable):
            node.put(make_task())
        assert node.get(task.id) == task
        assert not _age_grows(node)
        operator.config_set("maxmemory", "0")
    node.end(task.id)


@pytest.mark.parametrize(
    ("setting", "value", "said"), [("maxmemory-policy", "allkeys-lru", "noeviction"), ("schema", "2:x", "version 2")]
)
def test_an_unfit_server_is_refused(server: Server, setting: str, value: str, said: str) -> None:
    """One that may drop tasks, or whose records a later program wrote, is not used, and the message says why."""
    with contextlib.closing(Redis(port=server.port)) as operator:
        if setting == "schema":
            operator.set("{authz}:schema", value)
        else:
            operator.config_set(setting, value)
    with pytest.raises(Unusable, match=said):
        node_at(server.port)


def test_a_store_that_was_emptied_is_another_store(server: Server, node: Node) -> None:
    """Somebody deletes everything under a running server: nothing that was known before is believed."""
    task = kept(node)
    with contextlib.closing(Redis(port=server.port)) as operator:
        operator.flushall()
    assert _age_grows(node)
    assert node.finds(task.id) is Reason.TASK_UNKNOWN
    assert not _age_grows(node)


def test_a_user_with_a_password_may_do_all_that_is_needed(server: Server, tmp_path: Path) -> None:
    """An ACL user that sees our keys alone is enough; a wrong password is Unavailable, and is not in the message."""
    with contextlib.closing(Redis(port=server.port)) as operator:
        rules = "on >secret ~{authz}:* resetchannels -@all +@read +@write +@scripting +@transaction +@connection"
        _set_user(operator, "authz", *rules.split(), "+info", "+role", "+time")
        _set_user(operator, "default", "off")
    password = tmp_path / "password"
    password.write_text("secret\n")
    with contextlib.closing(node_at(server.port, user="authz", password_file=password)) as node:
        task = kept(node)
        node.end(task.id)
        assert node.get(task.id).state is TaskState.ENDED
    password.write_text("hunter2\n")
    with contextlib.closing(node_at(server.port, user="authz", password_file=password)) as stranger:
        with pytest.raises(Unavailable) as told:
            stranger.put(make_task())
        assert "hunter2" not in str(told.value)


def test_a_change_that_too_few_replicas_know_is_not_acknowledged(server: Server, tmp_path: Path) -> None:
    """Where one replica must know of it, an act is acknowledged with that replica there, and not without."""
    folder = tmp_path / "replica"
    folder.mkdir()
    replica = Server("valkey", folder, replicaof=f"127.0.0.1 {server.port}")
    try:
        with contextlib.closing(node_at(server.port, timeout_seconds=1, min_replicas=1)) as node:
            _eventually(lambda: not _age_grows(node))
            task = kept(node)
            replica.kill()
            with pytest.raises(Unavailable, match="0 of 1 replicas"):
                node.end(task.id)
            time.sleep(0.3)  # longer than the last proof counts
            assert _age_grows(node), "knowledge is young though nobody follows this primary"
            with pytest.raises(Unavailable):
                node.fetch(task.id)
    finally:
        replica.kill()


def _eventually(is_so: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("key", "field", "value"),
    [
        ("record", "", b"{"),
        ("record", "", b"\xff\xfe"),
        ("record", "", b'{"owner":"eve"}'),
        ("facts", "state", b"7"),
        ("facts", "state", b"live"),
        ("facts", "expires", b"-1"),
        ("facts", "suspended", b""),
        ("facts", "high", b"99"),
        ("facts", "spent", b"many"),
        ("facts", "seen:c:fly", b""),
        ("facts", "seen:nonsense", b""),
        ("facts", "txn", b"\xff"),
        ("requests", "digest", b"no form"),
        ("approvals", "id", b"[]"),
        ("approvals", "id", b'["d","k","a","soon"]'),
    ],
)
def test_a_record_that_was_tampered_with_denies(server: Server, node: Node, key: str, field: str, value: bytes) -> None:
    """Whatever part of a task cannot be read, its hops are denied for that, and it is not shown as if it could be."""
    task = kept(node)
    with contextlib.closing(Redis(port=server.port)) as operator:
        name = f"{{authz}}:{key}:{task.id}"
        if field:
            operator.hset(name, field, value)
        else:
            operator.set(name, value)
    with contextlib.closing(node_at(server.port)) as other:
        assert other.finds(task.id) is Reason.TASK_RECORD_MALFORMED
        with pytest.raises(Unavailable, match="cannot be read"):
            other.get(task.id)
        assert other.list() == []


@pytest.mark.parametrize("lost", ["record", "facts"])
def test_half_a_task_is_none(server: Server, node: Node, lost: str) -> None:
    """A record without its facts, or facts without their record, is no task."""
    task = kept(node)
    with contextlib.closing(Redis(port=server.port)) as operator:
        operator.delete(f"{{authz}}:{lost}:{task.id}")
    with contextlib.closing(node_at(server.port)) as other:
        assert other.finds(task.id) is Reason.TASK_UNKNOWN
