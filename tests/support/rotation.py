"""Rotation as SPIRE does it, before a running authz: authorities that follow one another, and where authz learns of it.

An authority is published before it signs and stays for a while after, so that nobody who follows is ever unproven.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from authz.demo.ca import Certificate, DevelopmentCa
from authz.demo.workload_api import DevelopmentWorkloadApi, bundle_der
from tests.support.servers import Server, free_port, serve
from tests.support.world import AUTHZ, DOMAIN, SUPPORT, World

OVERLAP = 2
"""How many rotations an authority is trusted before it signs, and how many after."""


class Succession:
    """The authorities of one trust domain, one after another. `anchor` signs what is not rotated, and always counts."""

    def __init__(self, rotations: int) -> None:
        """With as many authorities as that many rotations need."""
        self.anchor = DevelopmentCa(DOMAIN)
        self.place = OVERLAP
        self._authorities = [DevelopmentCa(DOMAIN) for _ in range(OVERLAP + 1 + rotations + OVERLAP)]
        self._agents: dict[int, Certificate] = {}

    @property
    def oldest(self) -> int:
        """The place of the authority that the next rotation takes away."""
        return self.place - OVERLAP

    @property
    def trusted(self) -> Sequence[DevelopmentCa]:
        """Whom the trust bundle holds now."""
        return self.anchor, *self._authorities[self.oldest : self.place + OVERLAP + 1]

    @property
    def all_pem(self) -> str:
        """Everyone whom it has held or will hold, for peers that must not be the ones who refuse."""
        return "".join(each.bundle_pem for each in (self.anchor, *self._authorities))

    def agent(self, place: int) -> Certificate:
        """The support agent's SVID by the authority in that place, minted once."""
        if place not in self._agents:
            self._agents[place] = self._authorities[place].mint(SUPPORT)
        return self._agents[place]

    def mint_own(self) -> Certificate:
        """A new SVID for authz, by the authority that signs now."""
        return self._authorities[self.place].mint(AUTHZ, dns=("localhost",))


class Origin(Protocol):
    """Where authz learns whom to trust and who it is itself, with what its configuration says about that."""

    server: Mapping[str, object]
    identity: Mapping[str, object]

    def publish(self, trusted: Sequence[DevelopmentCa], own: Certificate) -> None:
        """Replace bundle and SVID."""

    def stop(self) -> None:
        """Tell nothing any more."""


OriginOf = Callable[[Path, DevelopmentCa], Origin]
"""The origin that lives in a folder; the authority is the trust domain's first."""


class Files:
    """The files of `World.guarded`, a bundle renamed into place, a certificate and its key written one by one."""

    server: Mapping[str, object] = {}
    identity: Mapping[str, object] = {}

    def __init__(self, folder: Path, _anchor: DevelopmentCa) -> None:
        self._folder = folder

    def publish(self, trusted: Sequence[DevelopmentCa], own: Certificate) -> None:
        """Replace bundle and SVID; authz looks once a second."""
        new = self._folder / "bundle.pem.new"
        new.write_text("".join(each.bundle_pem for each in trusted))
        new.rename(self._folder / "bundle.pem")
        own.write(self._folder, "authz")

    def stop(self) -> None:
        """Nothing runs."""


class WorkloadApi:
    """The development Workload API, which pushes what is new."""

    server: Mapping[str, object] = {"svid": "workload-api"}

    def __init__(self, folder: Path, anchor: DevelopmentCa) -> None:
        self._api = DevelopmentWorkloadApi(folder / "api.sock", AUTHZ, anchor)
        self._api.start()
        self.identity: Mapping[str, object] = {
            "trust_domains": {DOMAIN: {"bundle": "workload-api"}},
            "workload_api": {"socket": self._api.endpoint},
        }

    def publish(self, trusted: Sequence[DevelopmentCa], own: Certificate) -> None:
        """Push both at once."""
        with self._api.tell() as told:
            told.svids = [own]
            told.x509_bundles[DOMAIN] = bundle_der([each.root for each in trusted])

    def stop(self) -> None:
        """Take the socket away."""
        self._api.stop()


@dataclass(frozen=True)
class Place:
    """A folder with a world whose authorities rotate, as one origin tells it."""

    world: World
    succession: Succession
    origin: Origin
    port: int
    health_port: int

    def publish(self) -> Certificate:
        """Tell authz whom to trust now, and give it a new SVID, which is returned."""
        own = self.succession.mint_own()
        self.origin.publish(self.succession.trusted, own)
        return own

    def rotate(self) -> float:
        """Let the next authority sign and take the oldest away; returns when that was told, by perf_counter."""
        self.succession.place += 1
        own = self.succession.mint_own()
        told = time.perf_counter()
        self.origin.publish(self.succession.trusted, own)
        return told

    @contextmanager
    def serving(self) -> Iterator[Server]:
        """A running authz; its address is that of its health port."""
        with serve(self.world.config_file, f"127.0.0.1:{self.health_port}") as server:
            yield server


@contextmanager
def place_of(folder: Path, origin_of: OriginOf, *, rotations: int, connection_seconds: int = 600) -> Iterator[Place]:
    """A place that can rotate so often, and whose first bundle and SVID are told.

    Envoy must connect to authz anew after `connection_seconds`: it would not see that our SVID changes.
    """
    succession = Succession(rotations)
    origin = origin_of(folder, succession.anchor)
    port, health_port = free_port(), free_port()
    server = {
        "listen": f"127.0.0.1:{port}",
        "health_listen": f"127.0.0.1:{health_port}",
        "max_connection_age_seconds": connection_seconds,
        **origin.server,
    }
    try:
        world = World.guarded(folder, ca=succession.anchor, server=server, identity=origin.identity)
        place = Place(world, succession, origin, port, health_port)
        place.publish()
        yield place
    finally:
        origin.stop()
