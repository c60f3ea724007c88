"""The real authz: `authz serve` as a child with a configuration of its own, and `authz task` as a user types it."""

import json
import os
import shutil
import socket
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from authz.demo.children import Child, Command
from authz.demo.credentials import spiffe_id
from authz.demo.envoys import LOOPBACK, Address

_FILES = Path(__file__).parent / "files"
_PACKAGE_ROOT = Path(__file__).parents[2]
_START_SECONDS = 60.0
_HEALTH_SECONDS = 1.0
_BUNDLE_SECONDS = 30.0
_READ_ANEW = "trust bundles: read anew"  # what the server logs once a changed bundle is in force
_RECONNECT_OPTIONS = [(f"grpc.{which}_reconnect_backoff_ms", 100) for which in ("initial", "min", "max")]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOrder:
    """A task to start, in the words of `authz task start`."""

    agents: tuple[str, ...]  # names of agents and tools of the mesh
    purpose: str
    grants: tuple[str, ...]
    ceiling: str = "internal"
    expires_in: str = "15m"

    @property
    def options(self) -> list[str]:
        """The command's options."""
        options = ["--owner", "alice@example.org", "--purpose", self.purpose]
        options += [text for name in self.agents for text in ("--agent", spiffe_id(name))]
        options += [text for grant in self.grants for text in ("--grant", grant)]
        return [*options, "--ceiling", self.ceiling, "--expires-in", self.expires_in]


class AuthzServer:
    """A started server. Whoever makes one must `stop` it. The folder already holds the certificates it names."""

    def __init__(self, folder: Path) -> None:
        """Write the configuration, catalog and policies, and start serving. Raises Unavailable."""
        self.config_file = folder / "authz.yaml"
        self.audit_file = folder / "audit.jsonl"
        self.address, self._health = free_addresses(2)
        shutil.copy(_FILES / "catalog.yaml", folder)
        shutil.copytree(_FILES / "policies", folder / "policies")
        settings = yaml.safe_load((_FILES / "authz.yaml").read_text(encoding="utf-8"))
        settings["server"] |= {"listen": _text(self.address), "health_listen": _text(self._health)}
        self.config_file.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        command = [*authz_command("serve"), "--config", str(self.config_file)]
        self._child = Child("authz", command, folder / "authz.log", environment())

    @property
    def log_file(self) -> Path:
        """What it says."""
        return self._child.log_file

    def wait_until_serving(self) -> None:
        """Return once its health says so; raises Unavailable."""
        with grpc.insecure_channel(_text(self._health), options=_RECONNECT_OPTIONS) as channel:
            stub = health_pb2_grpc.HealthStub(channel)

            def is_serving() -> bool:
                try:
                    answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=_HEALTH_SECONDS)
                except grpc.RpcError:
                    return False
                return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

            self._child.wait_until(is_serving, _START_SECONDS)

    def replace_bundle(self, bundle_file: Path, document: str) -> None:
        """Replace a bundle file that it reads; returns once what is in it counts, or raises Unavailable."""
        before = self._bundles_read_anew()
        written = bundle_file.with_suffix(".new")
        written.write_text(document, encoding="utf-8")
        written.replace(bundle_file)
        self._child.wait_until(lambda: self._bundles_read_anew() > before, _BUNDLE_SECONDS)

    def _bundles_read_anew(self) -> int:
        return self.log_file.read_text(encoding="utf-8", errors="replace").count(_READ_ANEW)

    def kill(self) -> None:
        """End it without a word to it, as a machine that fails would."""
        self._child.kill()

    def stop(self) -> None:
        """End it. Stopping twice is stopping once."""
        self._child.stop()

    def start_task(self, order: TaskOrder) -> Command:
        """The running command that starts a task; `started_id` reads its output."""
        return self._command("task", "start", *order.options, "--json")

    def end_task(self, task_id: str) -> Command:
        """The running command that ends a task."""
        return self._command("task", "end", task_id)

    def audit_lines(self) -> list[dict[str, Any]]:
        """The audit record so far."""
        return [json.loads(line) for line in self.audit_file.read_text(encoding="utf-8").splitlines()]

    def _command(self, *words: str) -> Command:
        first, second, *rest = words
        command = [*authz_command(first, second), "--config", str(self.config_file), *rest]
        return Command(f"authz {first} {second}", command, environment())


def started_id(output: str) -> str:
    """The id of the task that `authz task start --json` has started."""
    return str(json.loads(output)["id"])


def authz_command(*words: str) -> list[str]:
    """The command line that runs this very authz."""
    return [sys.executable, "-m", "authz", *words]


def environment() -> dict[str, str]:
    """Ours, with this very package first, wherever we were started."""
    paths = [str(_PACKAGE_ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def free_addresses(count: int) -> list[Address]:
    """Addresses that are free now. The server tells nobody which port it was given, so it cannot be left to choose."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server((LOOPBACK, 0))) for _ in range(count)]
        return [Address(*opened.getsockname()) for opened in sockets]


def _text(address: Address) -> str:
    return f"{address.host}:{address.port}"
