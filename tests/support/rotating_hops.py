"""Hops through a real Envoy while the authorities of its trust domain rotate, each held against what it should be.

Envoy itself trusts every authority from the first to the last, so that authz alone tells which of them count.
"""

import http.client
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Semaphore

from authz.core.reasons import Reason
from authz.demo.agents import Answered, Caller, Credentials, Outcome, Remote
from authz.demo.envoys import LOOPBACK, Address, Envoy, Sidecar
from authz.demo.tools import Received, Reply, Tool
from tests.support.rotation import OVERLAP, Place
from tests.support.world import ENVOY, HOST

ENVOY_PATIENCE_SECONDS = 10.0  # above authz's own, so that a machine's pause is no failure
HOPS_A_SECOND = 20
RETIRED_FOR = OVERLAP + 3
"""So many places behind the signing one, an authority was removed two whole rotations ago: authz knows for sure."""
_HOPS_AT_ONCE = 12
_RETIRED_EVERY = 3
_TRUSTED_PATH, _RETIRED_PATH = "/contacts/42", "/contacts/13"
_DENIED = (Reason.SVID_UNTRUSTED.http_status, Reason.SVID_UNTRUSTED.id)
_REMOVAL_GIVES_UP_SECONDS = 60.0


@dataclass
class Tally:
    """What came of a time of hops and rotations."""

    allowed: int = 0  # of the agent whose SVID is renewed with every rotation
    denied: int = 0  # of the one whose authority is gone
    seconds: float = 0
    rotations: int = 0
    handshakes: int = 0  # of Envoy with authz
    wrong_allows: int = 0  # hops that reached the service and should not have
    failures: list[str] = field(default_factory=list)  # hops that were answered otherwise than they should be


class Door:
    """The Envoy before a service that counts what reaches it, and the support agent, with the SVID of any authority."""

    def __init__(self, place: Place, envoy: Envoy, service: Tool, bundle_file: Path) -> None:
        self.place, self.envoy, self.service = place, envoy, service
        self._bundle_file = bundle_file
        self._remote = Remote(HOST, envoy.door, ENVOY)
        self._headers = {"x-task-id": place.world.start_task().id}
        self._callers: dict[int, Caller] = {}

    def caller(self, number: int) -> Caller:
        """The agent with its SVID by the authority in that place of the succession."""
        if number not in self._callers:
            certificate = self.place.succession.agent(number)
            files = Credentials(*certificate.write(self.place.world.folder, f"agent-{number}"))
            self._callers[number] = Caller(self._bundle_file, files)
        return self._callers[number]

    def warm_up(self) -> None:
        """One hop by each authority that counts, until Envoy knows its authz; raises AssertionError where one fails."""
        for number in range(self.place.succession.oldest, self.place.succession.place + OVERLAP + 1):
            headers = list(self._headers.items())
            outcome, _ = self.caller(number).call_patiently(self._remote, "GET", _TRUSTED_PATH, headers)
            assert _is_allowed(outcome), outcome

    def hop(self, caller: Caller, path: str) -> Outcome:
        """One hop on a connection of its own, asked once."""
        return caller.call(self._remote, "GET", path, list(self._headers.items()))

    @property
    def handshakes(self) -> int:
        """How often Envoy has shaken hands with authz."""
        return int(self.envoy.admin("/stats?filter=^cluster.authz.ssl.handshake$").rpartition(": ")[2])

    def removal(self) -> tuple[float, float]:
        """When an authority was removed, and when its agent, connected before, was first denied; by perf_counter."""
        with self.caller(self.place.succession.oldest)._connect(self._remote) as connection:
            client = http.client.HTTPConnection(HOST)
            client.sock = connection
            assert self._status(client) == http.client.OK
            told = self.place.rotate()
            while (status := self._status(client)) == http.client.OK:
                assert time.perf_counter() - told < _REMOVAL_GIVES_UP_SECONDS, "never denied"
            denied = time.perf_counter()
        assert status == Reason.SVID_UNTRUSTED.http_status
        return told, denied

    def _status(self, client: http.client.HTTPConnection) -> int:
        client.request("GET", _TRUSTED_PATH, headers=self._headers)
        response = client.getresponse()
        response.read()
        return response.status


@contextmanager
def door_of(place: Place) -> Iterator[Door]:
    """A running authz in that place, an Envoy that asks it, and a service; warmed up."""
    folder = place.world.folder
    bundle_file = folder / "every-authority.pem"
    bundle_file.write_text(place.succession.all_pem)
    certificate_file, private_key_file = place.world.svid(ENVOY).write(folder, "envoy")
    with place.serving(), Tool("service", _respond) as service:
        service._server.socket.listen(_HOPS_AT_ONCE)  # or some of those at once would wait for a second TCP handshake
        sidecar = Sidecar(
            name="service",
            service=service.address,
            authz=Address(LOOPBACK, place.port),
            certificate_file=certificate_file,
            private_key_file=private_key_file,
            bundle_file=bundle_file,
            check_timeout_seconds=ENVOY_PATIENCE_SECONDS,
        )
        with Envoy(sidecar, folder) as envoy:
            door = Door(place, envoy, service, bundle_file)
            door.warm_up()
            yield door


class Traffic:
    """Hops on their way, few enough at once that each begins when it is sent; a machine that is slow sends fewer."""

    def __init__(self, door: Door, agents: ThreadPoolExecutor) -> None:
        self._door, self._agents, self._free = door, agents, Semaphore(_HOPS_AT_ONCE)
        self._trusted: dict[int, list[Future[Outcome]]] = defaultdict(list)  # by the place of the agent's authority
        self._retired: list[Future[Outcome]] = []

    def send_trusted(self) -> None:
        """A hop of the agent whose SVID is by the authority that signs now."""
        place = self._door.place.succession.place
        self._trusted[place].append(self._send(place, _TRUSTED_PATH))

    def send_retired(self) -> None:
        """One whose authority is gone; none where none is gone for long enough."""
        place = self._door.place.succession.place - RETIRED_FOR
        if place >= 0:
            self._retired.append(self._send(place, _RETIRED_PATH))

    def is_over(self, place: int) -> bool:
        """Whether nobody who is proven by that authority is on the way."""
        return all(each.done() for each in self._trusted[place])

    def count(self, tally: Tally) -> None:
        """Wait for all, and add what came of them."""
        for hops in self._trusted.values():
            tally.allowed += _count(tally, hops, _is_allowed)
        tally.denied += _count(tally, self._retired, _is_denied)
        tally.wrong_allows += sum(each.target == _RETIRED_PATH for each in self._door.service.received)

    def _send(self, place: int, path: str) -> Future[Outcome]:
        self._free.acquire()
        hop = self._agents.submit(self._door.hop, self._door.caller(place), path)
        hop.add_done_callback(lambda _: self._free.release())
        return hop


def drive(door: Door, *, rotations: int, every_seconds: float = 2.0) -> Tally:
    """Hops at a steady rate, each asked once, while everything rotates so often; the tally of them.

    No authority is taken away from a hop on its way: where rotations are hours apart, none takes that long.
    """
    tally, succession = Tally(), door.place.succession
    handshakes = door.handshakes
    began = rotated = time.monotonic()
    with ThreadPoolExecutor(_HOPS_AT_ONCE) as agents:
        traffic = Traffic(door, agents)
        for number in itertools.count(1):
            sent = time.monotonic()
            if sent - rotated >= every_seconds and traffic.is_over(succession.oldest):
                if tally.rotations == rotations:
                    break
                door.place.rotate()
                rotated = sent
                tally.rotations += 1
            traffic.send_trusted()
            if number % _RETIRED_EVERY == 0:
                traffic.send_retired()
            time.sleep(max(0.0, sent + 1 / HOPS_A_SECOND - time.monotonic()))
    traffic.count(tally)
    tally.handshakes, tally.seconds = door.handshakes - handshakes, time.monotonic() - began
    return tally


def _count(tally: Tally, hops: Sequence[Future[Outcome]], is_right: Callable[[Outcome], bool]) -> int:
    """How many were answered as they should be; the others are told."""
    outcomes = [each.result() for each in hops]
    wrong = [each for each in outcomes if not is_right(each)]
    tally.failures += map(str, wrong)
    return len(outcomes) - len(wrong)


def _is_allowed(outcome: Outcome) -> bool:
    return isinstance(outcome, Answered) and outcome.status == http.client.OK


def _is_denied(outcome: Outcome) -> bool:
    return isinstance(outcome, Answered) and (outcome.status, outcome.reason) == _DENIED


def _respond(_received: Received) -> Reply:
    return 200, {"reached": True}
