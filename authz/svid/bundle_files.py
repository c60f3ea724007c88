"""Trust bundles from files that are replaced while we run: paths in, parts of the bundle store out."""

from collections.abc import Callable, Mapping
from pathlib import Path

from authz.core.errors import Problem, Unusable, collecting
from authz.svid.bundle_store import BundleStore
from authz.svid.bundles import TrustBundle
from authz.svid.watched import WatchedFiles

LoadBundle = Callable[[str, Path], TrustBundle]
"""The bundle of a trust domain from its file; raises Unusable."""


class BundleFiles:
    """One file for each trust domain.

    A file that breaks keeps its own domain's last good bundle and no other's: what another file takes back must count.
    """

    def __init__(self, files: Mapping[str, Path], store: BundleStore, load_bundle: LoadBundle) -> None:
        self._files, self._store, self._load_bundle = dict(files), store, load_bundle
        self._good: dict[str, TrustBundle] = {}
        self.watched = WatchedFiles("trust bundles", tuple(self._files.values()), self.load)

    def load(self) -> None:
        """Read every file and put all that is good in force at once; raises Unusable with the problems of the rest."""
        problems: list[Problem] = []
        for trust_domain, path in self._files.items():
            with collecting(problems):
                self._good[trust_domain] = self._load_bundle(trust_domain, path)
        self._store.put_files(self._good.values())
        if problems:
            raise Unusable(*problems)
