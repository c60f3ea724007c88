"""Keys change while hops go on: nobody who is trusted is refused, and nobody is believed a check too long."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from authz.core.decision import Allow, Deny
from authz.core.errors import Unavailable
from authz.core.memory import Memory
from authz.core.outcome import Answer, Needs
from authz.core.reasons import Reason
from authz.core.record import Record
from authz.demo.envoys import LOOPBACK, binary
from authz.pipeline import Pipeline
from authz.tasks.sqlite import SqliteTasks
from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from authz.wiring.knowledge import make_pipeline, read
from authz.wiring.trust import Trust
from tests.support.rotating_hops import Door, door_of, drive
from tests.support.rotation import Files, OriginOf, Place, WorkloadApi, place_of
from tests.support.servers import CHECK, until
from tests.support.world import ENVOY, SUPPORT, arrival_now, check_request

ORIGINS = pytest.mark.parametrize("origin_of", [Files, WorkloadApi], ids=["files", "Workload API"])
ROTATIONS = 5  # some twelve seconds; bench/rotation.py drives for a minute
PATIENCE_SECONDS = 60.0
CALLERS = 16
OWN_ROTATIONS = 6


@pytest.fixture(scope="module", params=[Files, WorkloadApi], ids=["files", "Workload API"])
def door(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A real Envoy before a service, asking an authz whose trust comes from one origin."""
    try:
        binary()
    except Unavailable as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("door")
    with (
        place_of(folder, request.param, rotations=ROTATIONS + 1, connection_seconds=1) as place,
        door_of(place) as opened,
    ):
        yield opened


def test_hops_go_on_while_everything_rotates(door: Door) -> None:
    """Every two seconds a new authority, new SVIDs of agent and authz: no hop fails, and no removed one is allowed."""
    tally = drive(door, rotations=ROTATIONS)
    assert not tally.failures
    assert tally.wrong_allows == 0
    assert tally.allowed > tally.denied > 0
    assert tally.handshakes > 0


def test_a_removed_authority_denies_its_agents_on_open_connections(door: Door) -> None:
    """An agent that is connected to Envoy is denied as soon as authz has been told; with files that is a second."""
    told, denied = door.removal()
    assert denied - told < PATIENCE_SECONDS


@ORIGINS
def test_the_very_next_check_after_the_bundle_arrived_denies(tmp_path: Path, origin_of: OriginOf) -> None:
    """The law: before, the agent is allowed at each check; from the moment the snapshot differs, at none."""
    with place_of(tmp_path, origin_of, rotations=1) as place:
        message = hop_of(place, place.succession.oldest)
        last = asyncio.run(checks_until_the_bundle_arrives(place, message))
    assert isinstance(last.decision, Deny)
    assert last.decision.reason is Reason.SVID_UNTRUSTED


async def checks_until_the_bundle_arrives(place: Place, message: bytes) -> Record:
    """The first check against the new snapshot; those before it are allowed."""
    knowledge, memory = read(place.world.config_file), Memory(1000)
    trust, store = knowledge.trust, SqliteTasks(place.world.database, memory)
    checks = Checks(make_pipeline(knowledge, memory), store, place, message)
    trust.start()
    try:
        await trust.wait_for_first(PATIENCE_SECONDS)
        await checks.remember_the_task()
        told = _version(trust)
        assert isinstance(checks.decide().decision, Allow)
        place.rotate()
        give_up = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < give_up:
            # Nothing is awaited between the look at the version and the check, so both see one snapshot.
            has_arrived, record = _version(trust) != told, checks.decide()
            if has_arrived:
                return record
            assert isinstance(record.decision, Allow)
            await asyncio.sleep(0.001)
        raise AssertionError("the bundle never arrived")
    finally:
        await trust.stop()
        await store.close()


class Checks:
    """Checks of an agent whose authority is the oldest, driven by hand."""

    def __init__(self, pipeline: Pipeline, store: SqliteTasks, place: Place, message: bytes) -> None:
        self._pipeline, self._store = pipeline, store
        self._message = message
        self._asker = place.world.svid(ENVOY).pem

    async def remember_the_task(self) -> None:
        """Fetch what the checks lack."""
        outcome = self._check()
        assert isinstance(outcome, Needs)
        await self._store.fetch(outcome.of_tasks)

    def decide(self) -> Record:
        """One check, all of which is known."""
        outcome = self._check()
        assert isinstance(outcome, Answer)
        return outcome.record

    def _check(self) -> Answer | Needs:
        self._store.peek()
        return self._pipeline.check(replace(arrival_now(), unverified_asker_certificate=self._asker), self._message)


def hop_of(place: Place, number: int) -> bytes:
    """The check for a hop of the support agent, proven by the authority in that place of the succession."""
    headers = {"x-task-id": place.world.start_task().id}
    return check_request(place.succession.agent(number), SUPPORT, headers=headers)


def _version(trust: Trust) -> str:
    return trust.store.source.current(arrival_now().boot_ns).version


@ORIGINS
def test_our_port_loses_no_call_while_its_own_svid_is_replaced(tmp_path: Path, origin_of: OriginOf) -> None:
    """Sixteen callers, each call on a connection of its own: all are answered, and each new SVID is soon shown."""
    with place_of(tmp_path, origin_of, rotations=1) as place, place.serving(), calling(place) as calls:
        for _ in range(OWN_ROTATIONS):
            replace_own_svid(place, calls)
    assert not calls.failures
    assert set(calls.answers) == {0}


@dataclass
class Calls:
    """The status of each answer, and each call that failed."""

    answers: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def replace_own_svid(place: Place, calls: Calls) -> None:
    """Give authz a new SVID; return when it shows that, and every caller may have called again."""
    serial, called = place.publish().certificate.serial_number, len(calls.answers)
    until(lambda: shown_serial(place) == serial, PATIENCE_SECONDS)
    until(lambda: bool(calls.failures) or len(calls.answers) >= called + CALLERS, PATIENCE_SECONDS)


@contextmanager
def calling(place: Place) -> Iterator[Calls]:
    """Callers at work until the block ends."""
    calls, enough, message = Calls(), threading.Event(), hop_of(place, place.succession.place)
    envoy, roots = place.world.svid(ENVOY), place.succession.all_pem.encode()
    credentials = grpc.ssl_channel_credentials(roots, envoy.key_pem.encode(), envoy.chain_pem.encode())
    options = (
        ("grpc.use_local_subchannel_pool", 1),  # or channels would share a connection
        ("grpc.enable_retries", 0),
        ("grpc.ssl_target_name_override", "localhost"),
    )

    def call_until_enough() -> None:
        while not enough.is_set():
            with grpc.secure_channel(f"{LOOPBACK}:{place.port}", credentials, options) as channel:
                try:
                    answer = channel.unary_unary(CHECK)(message, timeout=PATIENCE_SECONDS)
                    calls.answers.append(CheckResponse.FromString(answer).status.code)
                except grpc.RpcError as error:
                    calls.failures.append(str(error))

    with ThreadPoolExecutor(CALLERS) as callers:
        running = [callers.submit(call_until_enough) for _ in range(CALLERS)]
        try:
            yield calls
        finally:
            enough.set()
    for each in running:
        each.result()


def shown_serial(place: Place) -> int:
    """The serial number of the certificate that our port shows to an Envoy now."""
    folder = place.world.folder
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # its name is its URI SAN
    context.load_verify_locations(cadata=place.succession.all_pem)
    context.load_cert_chain(*place.world.svid(ENVOY).write(folder, "prober"))
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((LOOPBACK, place.port), PATIENCE_SECONDS) as plain,
        context.wrap_socket(plain) as connection,
    ):
        return x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"").serial_number
