"""The parts of the trust bundles, each from its own origin, in; the one snapshot that checks verify against, out.

Files are their own origin and never go stale. The Workload API can be lost, and then its trust domains alone go stale.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from authz.svid.bundles import Bundles, BundleSource, TrustBundle

_NOTHING: Mapping[str, TrustBundle] = MappingProxyType({})


class BundleStore:
    """Composes the bundles of files and of the Workload API. Each trust domain has one origin, by configuration.

    There is no lock: whoever puts and whoever checks run in one thread, so a change is seen whole.
    """

    def __init__(self, *, workload_api_domains: frozenset[str], max_staleness_ns: int) -> None:
        """Until the Workload API has answered once, its trust domains count as stale."""
        self.source = BundleSource(Bundles.of((), stale=workload_api_domains), max_staleness_ns=max_staleness_ns)
        self.workload_api_domains = workload_api_domains
        self._from_files = _NOTHING
        self._from_workload_api: Mapping[str, TrustBundle] | None = None
        self._lost_at_ns: int | None = None

    def put_files(self, bundles: Iterable[TrustBundle]) -> None:
        """Let these count instead of what files held before; raises ValueError for a domain of the Workload API."""
        self._from_files = Bundles.of(bundles).by_trust_domain
        if both := self._from_files.keys() & self.workload_api_domains:
            raise ValueError(f"{', '.join(sorted(both))}: from a file and from the Workload API")
        self._compose()

    def put_workload_api(self, bundles: Iterable[TrustBundle], *, lost_at_ns: int | None = None) -> None:
        """Let these count instead of what the Workload API said before; raises ValueError for any other domain.

        They are fresh, unless a part of the Workload API is lost since `lost_at_ns` (CLOCK_BOOTTIME).
        """
        told = Bundles.of(bundles).by_trust_domain
        if strange := told.keys() - self.workload_api_domains:
            raise ValueError(f"{', '.join(sorted(strange))}: not to be taken from the Workload API")
        self._from_workload_api, self._lost_at_ns = told, lost_at_ns
        self._compose()

    def workload_api_lost(self, boot_ns: int) -> None:
        """The Workload API does not answer since this moment; told twice, the first counts."""
        if self._lost_at_ns is None:
            self._lost_at_ns = boot_ns
            self.source.lost(boot_ns)

    def _compose(self) -> None:
        files, told = self._from_files.values(), self._from_workload_api
        once_stale = Bundles.of(files, stale=self.workload_api_domains)
        fresh = once_stale if told is None else Bundles.of((*files, *told.values()))
        self.source.replace(fresh, once_stale=once_stale)
        # A file that changes while the Workload API is lost makes nothing of the latter's fresh again.
        if self._lost_at_ns is not None:
            self.source.lost(self._lost_at_ns)
