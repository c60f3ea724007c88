"""A Workload API to follow, whoever serves it, and one who follows: the real feed, store and identity together."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from authz.demo.ca import DevelopmentCa
from authz.demo.workload_api import DevelopmentWorkloadApi
from authz.svid.bundle_store import BundleStore
from authz.svid.bundles import Bundles
from authz.svid.own import OwnIdentity
from authz.svid.workload_api import WorkloadApiFeed

NS = 1_000_000_000


@dataclass(frozen=True)
class Agent:
    """What the contract asks of whoever serves a Workload API."""

    endpoint: str
    spiffe_id: str  # of the workload that the caller is
    trust_domain: str
    federated: tuple[str, ...]
    rotate: Callable[[], None]  # forces a new SVID, or returns where one comes by itself
    rotates_within_seconds: float
    stop: Callable[[], None]
    start: Callable[[], None]

    @property
    def trust_domains(self) -> tuple[str, ...]:
        """All of which it has a bundle."""
        return (self.trust_domain, *self.federated)


@contextlib.contextmanager
def development_agent(folder: Path) -> Iterator[tuple[DevelopmentWorkloadApi, Agent]]:
    """The development Workload API for one workload of example.org, federated with partner.example."""
    ca, partner = DevelopmentCa("example.org"), DevelopmentCa("partner.example")
    api = DevelopmentWorkloadApi(folder / "api.sock", "spiffe://example.org/authz", ca, federated=[partner])
    api.start()
    agent = Agent(
        endpoint=api.endpoint,
        spiffe_id=api.spiffe_id,
        trust_domain="example.org",
        federated=("partner.example",),
        rotate=lambda: (api.rotate(), None)[1],
        rotates_within_seconds=5,
        stop=api.stop,
        start=api.start,
    )
    try:
        yield api, agent
    finally:
        api.stop()


@dataclass
class Followed:
    """A running feed and what it feeds."""

    feed: WorkloadApiFeed
    store: BundleStore
    own: OwnIdentity

    def now(self, *, later_seconds: float = 0) -> Bundles:
        """The snapshot that a check would verify against now, or later if nothing changed until then."""
        return self.store.source.current(boot_ns() + int(later_seconds * NS))

    @property
    def domains(self) -> set[str]:
        """The trust domains of which there is a bundle now."""
        return set(self.now().by_trust_domain)


@contextlib.asynccontextmanager
async def following(
    endpoint: str,
    *domains: str,
    with_jwt: bool = True,
    max_staleness_seconds: float = 60,
    first_seconds: float = 10,
    ping_seconds: float = 330,
) -> AsyncIterator[Followed]:
    """Follow the endpoint until the block ends; with `first_seconds` 0 the first update is not waited for."""
    store = BundleStore(workload_api_domains=frozenset(domains), max_staleness_ns=int(max_staleness_seconds * NS))
    own = OwnIdentity()
    feed = WorkloadApiFeed(endpoint, store, own, with_jwt=with_jwt, ping_seconds=ping_seconds)
    feed.start()
    try:
        if first_seconds:
            await feed.wait_for_first(first_seconds)
        yield Followed(feed, store, own)
    finally:
        await feed.stop()


async def until(holds: Callable[[], bool], within_seconds: float = 10) -> float:
    """Wait for it; returns after how many seconds it held."""
    began = time.perf_counter()
    while not holds():
        assert time.perf_counter() - began < within_seconds, f"did not hold within {within_seconds} s"
        await asyncio.sleep(0.0005)
    return time.perf_counter() - began


def boot_ns() -> int:
    """CLOCK_BOOTTIME, as checks arrive by."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
