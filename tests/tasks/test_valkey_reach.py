"""The ways to the primary: through Sentinels, in a cluster, over TLS; each with real servers."""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from authz.core.errors import Unavailable
from authz.core.reasons import Reason
from authz.demo.ca import DevelopmentCa
from authz.tasks.valkey_connection import Access
from tests.tasks.nodes import Node, kept, make_task
from tests.tasks.shared_stores import Server, free_port, node_at

PATIENCE_SECONDS = 60.0
MASTER = "tasks"


@contextlib.contextmanager
def started(folder: Path, name: str, kind: str = "valkey", **options: Any) -> Iterator[Server]:  # noqa: ANN401  the server's
    """A server in a folder of that name."""
    (folder / name).mkdir()
    server = Server(kind, folder / name, **options)
    try:
        yield server
    finally:
        server.kill()


def eventually(is_so: Callable[[], bool]) -> None:
    """It will be; servers agree in seconds."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def knows_more(node: Node) -> bool:
    """Whether a poll just now was answered."""
    before_ns = node.memory.as_of_ns
    node.catch_up()
    return node.memory.as_of_ns > before_ns


def test_sentinels_say_who_is_the_primary(tmp_path: Path) -> None:
    """After a failover the node goes over to the promoted server, forgets what it knew, and goes on."""
    with contextlib.ExitStack() as running:
        first = running.enter_context(started(tmp_path, "first"))
        second = running.enter_context(started(tmp_path, "second", replicaof=f"127.0.0.1 {first.port}"))
        sentinel = running.enter_context(sentinel_of(tmp_path, first.port))
        node = running.enter_context(contextlib.closing(node_at(sentinel, kind="sentinel", sentinel_name=MASTER)))
        task = kept(node)
        with contextlib.closing(Redis(port=second.port)) as replica:
            eventually(lambda: bool(replica.exists(f"{{authz}}:record:{task.id}")))
        first.kill()
        assert not knows_more(node)
        with contextlib.closing(Redis(port=second.port)) as promoted:
            eventually(lambda: promoted.role()[0] == b"master")
        eventually(lambda: knows_more(node))
        assert node.remembers(task.id) is None
        assert node.finds(task.id) == task
        node.end(task.id)


@contextlib.contextmanager
def sentinel_of(folder: Path, primary: int) -> Iterator[int]:
    """The port of a Sentinel that gives a primary up after half a second."""
    configuration = folder / "sentinel.conf"
    port = free_port()
    configuration.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
        f"sentinel monitor {MASTER} 127.0.0.1 {primary} 1\n"
        f"sentinel down-after-milliseconds {MASTER} 500\nsentinel failover-timeout {MASTER} 5000\n"
    )
    server = Server("valkey", folder, port=str(port), arguments=(str(configuration), "--sentinel"))
    try:
        with contextlib.closing(Redis(port=port)) as client:
            eventually(lambda: len(client.sentinel_slaves(MASTER)) == 1)
        yield port
    finally:
        server.kill()


def test_a_cluster_keeps_all_tasks_in_one_slot(tmp_path: Path) -> None:
    """Of three nodes the one that has our slot is found, and every script runs there."""
    with contextlib.ExitStack() as running:
        names = ("one", "two", "three")
        servers = [
            running.enter_context(started(tmp_path, name, cluster_enabled="yes", cluster_port=str(free_port())))
            for name in names
        ]
        clients: list[Any] = [running.enter_context(contextlib.closing(Redis(port=each.port))) for each in servers]
        for number, client in enumerate(clients):
            first, last = number * 5461, 16383 if number == 2 else number * 5461 + 5460
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", servers[0].port, servers[0].cluster_port)
        eventually(lambda: all(b"cluster_state:ok" in _cluster(each) for each in clients))
        node = running.enter_context(contextlib.closing(node_at(servers[0].port, kind="cluster")))
        eventually(lambda: knows_more(node))
        task = kept(node)
        node.end(task.id)
        assert node.list() != []
        assert sum(each.dbsize() > 0 for each in clients) == 1


def _cluster(client: Any) -> bytes:  # noqa: ANN401  the library's
    told: bytes | dict[str, str] = client.execute_command("CLUSTER", "INFO")
    return told if isinstance(told, bytes) else f"cluster_state:{told['cluster_state']}".encode()


@pytest.fixture
def authorities(tmp_path: Path) -> DevelopmentCa:
    """An authority whose certificates lie in the folder."""
    ca = DevelopmentCa("example.org")
    (tmp_path / "ca.pem").write_text(ca.bundle_pem)
    ca.mint("spiffe://example.org/valkey", dns=("localhost",)).write(tmp_path, "server")
    ca.mint("spiffe://example.org/authz").write(tmp_path, "client")
    (tmp_path / "other.pem").write_text(DevelopmentCa("example.org").bundle_pem)
    return ca


@pytest.mark.usefixtures("authorities")
def test_the_way_there_can_be_tls_with_certificates_on_both_sides(tmp_path: Path) -> None:
    """The server must be of our authority and bear its name, and we show our own certificate; else there is no way."""
    if shutil.which("redis-server") is None:
        pytest.skip("the wheel's server speaks no TLS, and there is no redis-server on the PATH")
    port = free_port()
    files = {"tls_cert_file": "server.pem", "tls_key_file": "server.key", "tls_ca_cert_file": "ca.pem"}
    with started(
        tmp_path, "server", "redis", tls_port=str(port), **{name: str(tmp_path / file) for name, file in files.items()}
    ):
        ours: dict[str, Any] = {
            "certificate_file": tmp_path / "client.pem",
            "private_key_file": tmp_path / "client.key",
        }
        with contextlib.closing(node_at(port, host="localhost", authorities_file=tmp_path / "ca.pem", **ours)) as node:
            kept(node)
        for host, access in (
            ("127.0.0.1", Access(authorities_file=tmp_path / "ca.pem", **ours)),  # a name that it does not bear
            ("localhost", Access(authorities_file=tmp_path / "other.pem", **ours)),
            ("localhost", Access(authorities_file=tmp_path / "ca.pem")),
        ):
            given = {field: getattr(access, field) for field in Access.__slots__}
            with contextlib.closing(node_at(port, host=host, **given)) as node, pytest.raises(Unavailable):
                node.put(make_task())


def test_what_is_no_server_is_unavailable_and_denies(tmp_path: Path) -> None:
    """Nothing listens there: reads fail at once, and no task is taken for unknown."""
    assert tmp_path.is_dir()
    with contextlib.closing(node_at(free_port())) as node:
        with pytest.raises(Unavailable):
            node.fetch("0190aaaa")
        assert node.remembers("0190aaaa") is not Reason.TASK_UNKNOWN
