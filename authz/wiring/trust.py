"""Whom we believe, and who we are: trust bundles and our own SVID, from files and the Workload API, kept up to date."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from authz.config import IdentitySettings, Settings, TlsFiles
from authz.core.errors import Place, Problem, Refused, Unavailable, Unusable, collecting
from authz.core.spiffe import SpiffeId
from authz.ports import Door, Verifier
from authz.server.tls import TlsMaterial
from authz.svid.attested import AttestedVerifier
from authz.svid.bundle_documents import load_bundle_file
from authz.svid.bundle_files import BundleFiles
from authz.svid.bundle_store import BundleStore
from authz.svid.bundles import Bundles
from authz.svid.door import GuardedDoor, OpenDoor, ProvenCaller
from authz.svid.endpoint import NotAnEndpoint, read_endpoint
from authz.svid.jwt import JwtVerifier
from authz.svid.own import OwnIdentity, OwnSvidFiles
from authz.svid.sidecar import SidecarVerifier
from authz.svid.watched import WatchedFiles
from authz.svid.workload_api import WorkloadApiFeed
from authz.svid.x509 import CertificateVerifier, Prover
from authz.svid.xfcc import XfccVerifier

_REMEMBERED = 10_000
_NS = 1_000_000_000
_WORKLOAD_API = "workload-api"


class Source(NamedTuple):
    """What there is to tell of one source of trust."""

    name: str
    is_up: bool  # in force as it stands
    refusals: int  # how much of what it told could not be used


class Trust:
    """The sources of trust that a configuration names. Made by `read`; `start` and `stop` on the event loop."""

    def __init__(self, settings: Settings) -> None:
        identity = settings.identity
        self.store = BundleStore(
            workload_api_domains=frozenset(
                domain for domain, where in identity.trust_domains.items() if where.bundle == _WORKLOAD_API
            ),
            max_staleness_ns=int(identity.workload_api.max_staleness_seconds * _NS),
        )
        self.own = OwnIdentity()
        self._settings = settings
        self._watched: list[WatchedFiles] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.feed: WorkloadApiFeed | None = None
        self._prover = Prover(self.store.source, cache_entries=_REMEMBERED)
        self._roots: tuple[str, bytes] = ("", b"")

    @classmethod
    def read(cls, config_file: Path, settings: Settings) -> "Trust":
        """The sources, files among them read; raises Unusable with all problems."""
        trust, problems = cls(settings), list[Problem]()
        identity = settings.identity
        files = {domain: where.bundle_file for domain, where in identity.trust_domains.items() if where.bundle_file}
        with collecting(problems):
            trust._watch(BundleFiles(files, trust.store, load_bundle_file).watched)
        if isinstance(settings.server.svid, TlsFiles):
            tls = settings.server.svid
            with collecting(problems):
                trust._watch(OwnSvidFiles(tls.certificate_file, tls.private_key_file, trust.own).watched)
        if trust.store.workload_api_domains or settings.server.svid == _WORKLOAD_API:
            with collecting(problems):
                trust.feed = trust._follow(config_file, identity)
        if problems:
            raise Unusable(*problems)
        return trust

    def _watch(self, watched: WatchedFiles) -> None:
        watched.start()
        self._watched.append(watched)

    def _follow(self, config_file: Path, identity: IdentitySettings) -> WorkloadApiFeed:
        try:
            endpoint = read_endpoint(identity.workload_api.socket)
            return WorkloadApiFeed(endpoint, self.store, self.own, with_jwt=identity.jwt is not None)
        except NotAnEndpoint as error:
            remedy = "Set identity.workload_api.socket, or SPIFFE_ENDPOINT_SOCKET."
            raise Unusable(Problem(Place(config_file), str(error), remedy)) from error

    def door(self) -> Door:
        """Who may ask."""
        server = self._settings.server
        if server.transport == "plaintext":
            return OpenDoor()
        return GuardedDoor(self._prover, frozenset(map(SpiffeId.parse, server.envoys)))

    def caller(self) -> ProvenCaller:
        """Who calls our own API."""
        return ProvenCaller(self._prover)

    def verifier(self) -> Verifier:
        """Who is proven to call, in the configured mode, with a layer for tokens where they are configured."""
        identity, source = self._settings.identity, self.store.source
        by_mode: dict[str, Callable[[], Verifier]] = {
            "certificate": lambda: CertificateVerifier(self._prover),
            "attested": lambda: AttestedVerifier(source, self._prover),
            "xfcc": lambda: XfccVerifier(source, self._prover),
            "sidecar": SidecarVerifier,
        }
        verifier = by_mode[identity.mode]()
        if identity.jwt is None:
            return verifier
        return JwtVerifier(
            verifier,
            source,
            header=identity.jwt.header,
            audiences=frozenset(identity.jwt.audience),
            leeway_seconds=identity.jwt.leeway_seconds,
            required=identity.jwt.required,
            cache_entries=_REMEMBERED,
        )

    def tls_material(self) -> TlsMaterial:
        """What our port shows and accepts at this moment; raises Unavailable or Refused."""
        svid, bundles = self.own.current(), self.bundles()
        version, roots = self._roots
        if version != bundles.version:
            roots = bundles.authorities_pem
            self._roots = (bundles.version, roots)
        return TlsMaterial(svid.chain_pem, svid.key_pem, roots)

    def why_unready(self) -> str:
        """Why checks would be denied for want of trust; empty where they would not."""
        try:
            bundles = self.bundles()
            if not bundles.by_trust_domain:
                late = ", ".join(sorted(bundles.stale))
                return f"no trust bundle counts; told too long ago, or not yet: {late or 'none'}"
            if self._settings.server.transport == "tls":
                svid = self.own.current()
                if svid.expires_unix_seconds <= time.time():
                    return f"our own SVID {svid.spiffe_id} has expired"
        except Refused as refused:
            return f"{refused.reason}: {refused.detail}"
        except Unavailable as error:
            return str(error)
        return ""

    def look(self) -> None:
        """Look at the watched files now, besides the looks that `start` begins."""
        for watched in self._watched:
            watched.look()

    @property
    def sources(self) -> list[Source]:
        """The sets of files, and the streams of the Workload API."""
        files = [Source(each.what, not each.trouble, each.refusals) for each in self._watched]
        streams = () if self.feed is None else self.feed.streams
        return [*files, *(Source(each.method, each.lost_at_ns is None, each.faults) for each in streams)]

    def bundles(self) -> Bundles:
        """The snapshot that counts at this moment; raises Refused where none does."""
        return self.store.source.current(_boot_ns())

    async def wait_for_first(self, timeout_seconds: float) -> None:
        """Return once every origin has told something; raises Unavailable. Files have, when they were read."""
        if self.feed is not None:
            await self.feed.wait_for_first(timeout_seconds)

    def start(self) -> None:
        """Begin to follow what changes."""
        if self.feed is not None:
            self.feed.start()
        self._tasks = [asyncio.create_task(watched.watch()) for watched in self._watched]

    async def stop(self) -> None:
        """Follow no longer."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.feed is not None:
            await self.feed.stop()


def _boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
