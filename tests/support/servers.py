"""Real servers in child processes: `authz serve` on a free port, watched, and ended by pid."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse

CHECK = "/envoy.service.auth.v3.Authorization/Check"
START_SECONDS = 180  # a bound for machines that stall; bench/start.py measures


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A running `authz serve`."""

    process: subprocess.Popen[bytes]
    address: str
    log_file: Path
    credentials: grpc.ChannelCredentials | None = None

    def channel(self) -> grpc.Channel:
        """A channel to it."""
        if self.credentials is not None:
            return grpc.secure_channel(self.address, self.credentials)
        return grpc.insecure_channel(self.address)

    def check(self, message: bytes, timeout_seconds: float = 30) -> CheckResponse:
        """One check over the wire."""
        with self.channel() as channel:
            return CheckResponse.FromString(channel.unary_unary(CHECK)(message, timeout=timeout_seconds))

    def health(self, service: str = "") -> int:
        """Its health, for a service name."""
        with self.channel() as channel:
            request = health_pb2.HealthCheckRequest(service=service)
            return int(health_pb2_grpc.HealthStub(channel).Check(request, timeout=30).status)

    def log(self) -> str:
        """What it wrote to standard error."""
        return self.log_file.read_text()


@contextlib.contextmanager
def serve(
    config_file: Path,
    address: str,
    credentials: grpc.ChannelCredentials | None = None,
    options: tuple[str, ...] = (),
) -> Iterator[Server]:
    """Run `authz serve` until the block ends, with these options of Python's own."""
    log_file = config_file.parent / "serve.log"
    with log_file.open("wb") as log:
        command = [sys.executable, *options, "-m", "authz", "serve", "--config", str(config_file)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    server = Server(process, address, log_file, credentials)
    try:
        wait_until_serving(server)
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def wait_until_serving(server: Server) -> None:
    """Return once its health says SERVING; fail where the process ends or that takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert server.process.poll() is None, f"the server ended at start:\n{server.log()}"
        with contextlib.suppress(grpc.RpcError):
            if server.health() == health_pb2.HealthCheckResponse.SERVING:
                return
        time.sleep(0.02)
    raise AssertionError(f"the server did not serve within {START_SECONDS} s:\n{server.log()}")


def until(happened: Callable[[], bool], seconds: float = 90) -> None:
    """Wait for it; fail where it does not happen in time."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)
