"""`authz serve` as a process, asked by a real gRPC client: start, answers, TLS, health, drain."""

import contextlib
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from authz.demo.ca import Certificate, DevelopmentCa, key_usage
from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from tests.support.relay import tls_relay
from tests.support.servers import CHECK, Server, free_port, serve, until
from tests.support.world import ENVOY, SUPPORT, World

SERVICE = "envoy.service.auth.v3.Authorization"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


BOTH_LANES = pytest.mark.parametrize("lane", ["fast", "portable"])


def settings(listen: str, **more: object) -> dict[str, object]:
    """A server section in plain text."""
    return {"server": {"listen": listen, "transport": "plaintext", "drain_seconds": 0, "stop_grace_seconds": 1, **more}}


@pytest.fixture(scope="module", params=["fast", "portable"])
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[tuple[World, Server]]:
    """One plain-text server for the tests that only ask, on each lane."""
    address = f"127.0.0.1:{free_port()}"
    world = World(tmp_path_factory.mktemp("serve"), settings=settings(address, lane=request.param))
    with serve(world.config_file, address) as running:
        yield world, running


def test_it_answers_over_the_wire(server: tuple[World, Server]) -> None:
    """A hop in scope is allowed, and the same hop without a task is denied with 403."""
    world, running = server
    task = world.start_task()
    assert running.check(world.check(task.id)).status.code == 0
    assert running.check(world.check(None)).denied_response.status.code == 403


def test_a_task_ended_by_the_command_line_is_dead_at_the_next_hop(server: tuple[World, Server]) -> None:
    """`authz task end` returns, and the running server denies the very next check."""
    world, running = server
    task = world.start_task()
    assert running.check(world.check(task.id)).status.code == 0
    command = [sys.executable, "-m", "authz", "task", "end", "--config", str(world.config_file), task.id]
    subprocess.run(command, check=True, capture_output=True)
    response = running.check(world.check(task.id))
    assert response.dynamic_metadata.fields["reason"].string_value == "task_ended"


def test_hostile_bytes_get_an_answer_and_no_grpc_error(server: tuple[World, Server]) -> None:
    """Truncated, random and empty messages, and a 5 MiB one, are denied explicitly; the log shows no traceback."""
    world, running = server
    good = world.check("0190aaaa-bbbb")
    big = world.check("0190aaaa-bbbb", headers={"x": "y" * (5 * 1024 * 1024)})
    for message in (b"", good[:100], good[:-1], bytes(range(256)), b"\xff" * 10_000, big):
        assert 400 <= running.check(message).denied_response.status.code < 500
    assert "Traceback" not in running.log()


def test_another_method_is_unimplemented(server: tuple[World, Server]) -> None:
    """Only Check is served under the service's name."""
    _, running = server
    with running.channel() as channel, pytest.raises(grpc.RpcError) as error:
        channel.unary_unary(CHECK.replace("Check", "Other"))(b"", timeout=5)
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_health_is_told_for_the_server_and_for_the_service(server: tuple[World, Server]) -> None:
    """Probes may ask under the empty name and under the service's own; another service is unknown."""
    _, running = server
    assert [running.health(name) for name in ("", SERVICE)] == [SERVING, SERVING]
    with pytest.raises(grpc.RpcError) as error:
        running.health("another.Service")
    assert error.value.code() is grpc.StatusCode.NOT_FOUND


def test_it_says_where_it_listens(server: tuple[World, Server]) -> None:
    """The log names the address, the transport and how long the start took."""
    _, running = server
    assert f"checks on {running.address} (plain text)" in running.log()
    assert "serving after" in running.log()


@BOTH_LANES
def test_it_answers_on_a_unix_socket(tmp_path: Path, lane: str) -> None:
    """A sidecar on the same host may ask through a socket file."""
    address = f"unix:{tmp_path}/authz.sock"
    world = World(tmp_path, settings=settings(address, lane=lane))
    with serve(world.config_file, address) as running:
        task = world.start_task()
        assert running.check(world.check(task.id)).status.code == 0


def credentials(world: World, certificate: Certificate | None) -> grpc.ChannelCredentials:
    """For a caller who trusts this world's authority and shows this certificate, or none."""
    roots = world.ca.bundle_pem.encode()
    if certificate is None:
        return grpc.ssl_channel_credentials(roots)
    return grpc.ssl_channel_credentials(roots, certificate.key_pem.encode(), certificate.chain_pem.encode())


@dataclass(frozen=True)
class Guarded:
    """A server with mTLS that admits ENVOY alone, and its health port."""

    world: World
    server: Server
    health_address: str

    def asked_by(self, certificate: Certificate | None) -> Server:
        """The same server, for whoever shows this certificate."""
        shown = credentials(self.world, certificate)
        return Server(self.server.process, self.server.address, self.server.log_file, shown)


@pytest.fixture(scope="module", params=["fast", "portable"])
def guarded(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Guarded]:
    """One guarded server for the tests that only ask, on each lane."""
    port, health_address = free_port(), f"127.0.0.1:{free_port()}"
    listen = {"listen": f"127.0.0.1:{port}", "health_listen": health_address, "lane": request.param}
    world = World.guarded(tmp_path_factory.mktemp("guarded"), server=listen)
    address = f"localhost:{port}"
    with serve(world.config_file, address, credentials(world, world.svid(ENVOY))) as running:
        yield Guarded(world, running, health_address)


def test_an_envoy_on_the_list_may_ask(guarded: Guarded) -> None:
    """It is answered, its SPIFFE ID is in the audit record, and probes have a port of their own."""
    task = guarded.world.start_task()
    assert guarded.server.check(guarded.world.check(task.id)).status.code == 0
    assert guarded.world.last_record()["asker"] == ENVOY
    assert Server(guarded.server.process, guarded.health_address, guarded.server.log_file).health(SERVICE) == SERVING


def test_an_envoy_of_an_intermediate_authority_may_ask(guarded: Guarded) -> None:
    """The trust bundle has the root alone; the way there is what the Envoy's TLS shows."""
    certificate = DevelopmentCa("example.org", parent=guarded.world.ca).mint(ENVOY)
    task = guarded.world.start_task()
    assert guarded.asked_by(certificate).check(guarded.world.check(task.id)).status.code == 0


def test_an_envoy_that_speaks_tls_1_2_is_nobody(guarded: Guarded) -> None:
    """With a correct SVID, but over TLS 1.2, each check is denied."""
    task = guarded.world.start_task()
    answer = check_over(ssl.TLSVersion.TLSv1_2, guarded, guarded.world.check(task.id))
    assert (answer.denied_response.status.code, reason_of(answer)) == (503, "asker_unproven")
    answer = check_over(ssl.TLSVersion.TLSv1_3, guarded, guarded.world.check(task.id))
    assert answer.status.code == 0


def check_over(version: ssl.TLSVersion, guarded: Guarded, message: bytes) -> CheckResponse:
    """One check by an Envoy on the list, over this version of TLS."""
    port = int(guarded.server.address.rpartition(":")[2])
    with tls_relay(version, port, guarded.world.folder / "bundle.pem", guarded.world.svid(ENVOY)) as address:
        return Server(guarded.server.process, address, guarded.server.log_file).check(message)


def test_whoever_shows_no_certificate_of_ours_cannot_connect(guarded: Guarded) -> None:
    """Without a certificate, or with one of another authority, there is no connection to ask on."""
    for certificate in (None, DevelopmentCa("evil.example").mint(ENVOY)):
        with pytest.raises(grpc.RpcError) as error:
            guarded.asked_by(certificate).check(guarded.world.check(None))
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_workload_that_is_not_on_the_list_gets_nothing_but_denials(guarded: Guarded) -> None:
    """An agent with a valid SVID that asks for itself is denied, and named in the audit record."""
    task = guarded.world.start_task()
    response = guarded.asked_by(guarded.world.svid(SUPPORT)).check(guarded.world.check(task.id))
    assert response.denied_response.status.code == 503
    assert reason_of(response) == "asker_not_allowed"
    assert SUPPORT in guarded.world.last_record()["detail"]


def test_an_asker_is_held_to_the_rules_of_svids(guarded: Guarded) -> None:
    """What OpenSSL lets in is no SVID yet: two IDs, a DNS name spelled like an ID, an authority's certificate."""
    ca = guarded.world.ca
    usage = key_usage(digital_signature=True, key_cert_sign=True)
    for certificate in (ca.mint(ENVOY, SUPPORT), ca.mint(dns=(ENVOY,)), ca.mint(ENVOY, ca=True, usage=usage)):
        response = guarded.asked_by(certificate).check(guarded.world.check(guarded.world.start_task().id))
        assert response.denied_response.status.code == 503
        assert reason_of(response) == "asker_unproven"


def reason_of(response: CheckResponse) -> str:
    """The reason that Envoy's access log would show."""
    return response.dynamic_metadata.fields["reason"].string_value


@BOTH_LANES
def test_it_drains_before_it_stops(tmp_path: Path, lane: str) -> None:
    """After SIGTERM it says NOT_SERVING and still answers, loses no check, and exits with 0."""
    address = f"127.0.0.1:{free_port()}"
    world = World(tmp_path, settings=settings(address, lane=lane, drain_seconds=60))
    message = world.check(world.start_task().id)
    with serve(world.config_file, address) as running, running.channel() as channel:
        ask = channel.unary_unary(CHECK)
        running.process.send_signal(signal.SIGTERM)
        until(lambda: running.health() == NOT_SERVING)
        for _ in range(20):
            assert CheckResponse.FromString(ask(message, timeout=5)).status.code == 0
        assert running.process.poll() is None
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(timeout=90) == 0
        assert "draining" in running.log()


@BOTH_LANES
def test_calls_in_flight_are_answered_before_it_stops(tmp_path: Path, lane: str) -> None:
    """Callers that ask without a pause until health says NOT_SERVING get an answer to each of their checks."""
    address = f"127.0.0.1:{free_port()}"
    world = World(tmp_path, settings=settings(address, lane=lane, drain_seconds=60))
    message = world.check(world.start_task().id)
    answered: list[int] = []
    leave = threading.Event()

    def ask_until_told() -> None:
        with grpc.insecure_channel(address) as channel:
            while not leave.is_set():
                response = CheckResponse.FromString(channel.unary_unary(CHECK)(message, timeout=5))
                answered.append(response.status.code)

    with serve(world.config_file, address) as running, ThreadPoolExecutor(4) as callers:
        futures = [callers.submit(ask_until_told) for _ in range(4)]
        until(lambda: len(answered) > 20)
        running.process.send_signal(signal.SIGTERM)
        until(lambda: running.health() == NOT_SERVING)
        leave.set()
        for future in futures:
            future.result()
        running.process.send_signal(signal.SIGTERM)  # all have left: no need to drain on
        assert running.process.wait(timeout=90) == 0
    assert set(answered) == {0}


@BOTH_LANES
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_draining(tmp_path: Path, number: int, lane: str) -> None:
    """An operator in a hurry says it twice."""
    address = f"127.0.0.1:{free_port()}"
    world = World(tmp_path, settings=settings(address, lane=lane, drain_seconds=60))
    with serve(world.config_file, address) as running:
        running.process.send_signal(number)
        time.sleep(0.2)
        running.process.send_signal(number)
        assert running.process.wait(timeout=90) == 0


def test_a_port_that_is_taken_is_said_plainly(server: tuple[World, Server], tmp_path: Path) -> None:
    """Exit status 1 and one message with the address; no traceback."""
    _, running = server
    world = World(tmp_path, settings=settings(running.address))
    command = [sys.executable, "-m", "authz", "serve", "--config", str(world.config_file)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert ended.returncode == 1
    assert f"cannot listen on {running.address}" in ended.stderr
    assert "Traceback" not in ended.stderr


@BOTH_LANES
def test_audit_lines_tell_of_every_check(tmp_path: Path, lane: str) -> None:
    """Ten allowed and ten denied checks are twenty lines, in order, written before their answers."""
    address = f"127.0.0.1:{free_port()}"
    world = World(tmp_path, settings=settings(address, lane=lane))
    with serve(world.config_file, address) as running, running.channel() as channel:
        task = world.start_task()
        ask = channel.unary_unary(CHECK)
        for number in range(20):
            ask(world.check(task.id if number % 2 == 0 else None), timeout=5)
            lines = (tmp_path / "audit.jsonl").read_text().splitlines()
            assert len(lines) == number + 1
    assert ['"decision":"allow"' in line for line in lines] == [True, False] * 10


def test_a_rotated_audit_log_is_reopened_on_sighup(tmp_path: Path) -> None:
    """After the file was renamed and SIGHUP sent, lines go into a new file, and none is lost."""
    address = f"127.0.0.1:{free_port()}"
    world = World(tmp_path, settings=settings(address))
    log, old = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    with serve(world.config_file, address) as running:
        running.check(world.check(None))
        log.rename(old)
        running.process.send_signal(signal.SIGHUP)
        until(log.exists)
        running.check(world.check(None))
    assert [len(file.read_text().splitlines()) for file in (old, log)] == [1, 1]


@BOTH_LANES
def test_a_full_audit_log_denies(tmp_path: Path, lane: str) -> None:
    """With the audit log on a full device, what would be allowed is denied with 503."""
    if not os.path.exists("/dev/full"):  # noqa: PTH110  a device, not a path of ours
        pytest.skip("this machine has no /dev/full")
    address = f"127.0.0.1:{free_port()}"
    world = World(tmp_path, settings={**settings(address, lane=lane), "audit": {"file": "/dev/full"}})
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(serve(world.config_file, address))
        task = world.start_task()
        assert running.check(world.check(task.id)).denied_response.status.code == 503


@BOTH_LANES
def test_changed_policies_count_without_a_restart_and_bad_ones_never(tmp_path: Path, lane: str) -> None:
    """SIGHUP takes a changed policy set into use; a bad one leaves the last in force, and health as it is."""
    address = f"127.0.0.1:{free_port()}"
    world = World(tmp_path, settings=settings(address, lane=lane))
    hop, policies = world.check(world.start_task().id), tmp_path / "policies" / "crm.cedar"
    with serve(world.config_file, address) as running:
        assert running.check(hop).status.code == 0
        policies.write_text("permit (principal, action")
        running.process.send_signal(signal.SIGHUP)
        until(lambda: "is refused" in running.log())
        assert running.check(hop).status.code == 0
        assert running.health() == SERVING
        policies.write_text('@id("nothing")\nforbid (principal, action, resource);\n')
        running.process.send_signal(signal.SIGHUP)
        until(lambda: running.check(hop).status.code != 0)
        assert "are in force" in running.log()
