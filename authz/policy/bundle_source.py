"""A place where bundles are published in; the newest one that is proven, and the one in force, out.

What comes from the server, or lies in the cache, is unverified each time that it is read. A bundle that was signed no
later than the one in force is refused: a server, or whoever stands before it, cannot go back to older policies. For
threads; `taken` is for the one that puts policies in force.
"""

import hashlib
import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from authz.core.errors import Place, Problem, Unavailable, Unusable
from authz.policy.bundle import Bundle, Terms, read_bundle
from authz.policy.bundle_cache import BundleCache
from authz.policy.bundle_fetch import Fetcher
from authz.policy.files import PolicyFile

_FETCH_REMEDY = "Look at the server and at policy.bundle. A start needs the one or a policy.bundle.cache_file."

_log = logging.getLogger("authz.bundle")


class _Unfetched(Unusable):
    """There was nothing to judge."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A bundle that was proven, by which terms; what asks the server for another; when the server published it."""

    bundle: Bundle
    terms: str
    tag: str
    confirmed_unix_seconds: float


class BundleSource:
    """Follows the bundles of one place."""

    def __init__(
        self,
        fetcher: Fetcher,
        place: Place,
        terms: Callable[[], Terms],
        cache: BundleCache | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`terms` are asked for anew each time, and raise Unusable; `clock` tells Unix seconds."""
        self._fetcher, self._place, self._terms, self._cache, self._clock = fetcher, place, terms, cache, clock
        self._lock = threading.Lock()
        self._kept: _Known | None = None  # what the cache held at the start
        self._known: _Known | None = None  # the newest
        self._read: _Known | None = None
        self._confirmed_unix_seconds = -math.inf
        self.in_force: Bundle | None = None
        self.refusals = 0
        self.trouble = ""
        """Why what is published is not in force, or cannot be known; empty where it is, or is about to be."""

    def start(self) -> None:
        """Fetch once; where that brings nothing, go on with what was kept. Raises Unusable where there is neither."""
        with self._lock:
            problems = self._recall()
            try:
                self._known = self._newest(self._kept.bundle if self._kept else None)
            except Unusable as unusable:
                if not self._goes_on_with_kept(unusable):
                    raise Unusable(*unusable.problems, *problems) from unusable
            else:
                if problems:
                    _log.warning("the bundle that was kept is refused: %s", "\n".join(map(str, problems)))

    def goes_back(self, why: Unusable) -> bool:
        """Whether there is the bundle that was kept, in place of a newer one that is proven but cannot be used."""
        with self._lock:
            return self._known is not self._kept and self._goes_on_with_kept(why)

    def poll(self) -> None:
        """Look what is published now. Raises nothing for it: it is counted, logged once and told by `trouble`."""
        with self._lock:
            try:
                self._known = self._newest(self.in_force)
            except Exception as error:  # noqa: BLE001  whatever a server sends, it is seen that it was not taken
                why = str(error) if isinstance(error, Unusable) else f"{type(error).__name__}: {error}"
                over = "; the bundle in force has expired: nothing is permitted until another is in force"
                self._tell(f"{why}{over if self.is_over else ''}", is_refusal=not isinstance(error, _Unfetched))
                return
            if self.in_force is not None and self._known.bundle.digest == self.in_force.digest:
                self._confirmed_unix_seconds = self._known.confirmed_unix_seconds
            self._tell("")

    def stop(self) -> None:
        """Let no poll wait for the server any more."""
        self._fetcher.cut()

    @property
    def newest(self) -> Bundle | None:
        """The newest bundle that was proven, be it in force or not."""
        return self._known.bundle if self._known else None

    def look(self) -> tuple[tuple[str, str], ...]:
        """The digest of the newest bundle."""
        return (("policy.bundle", self._known.bundle.digest if self._known else ""),)

    def files(self) -> list[PolicyFile]:
        """The policies of the newest bundle, fetched first where none was; raises Unusable."""
        if self._known is None:
            self.start()
        known = self._known
        if known is None:
            raise Unusable(Problem(self._place, "there is no bundle", _FETCH_REMEDY))
        known.bundle.must_follow(self.in_force)  # since it was proven, another one may have come into force
        self._read = known
        return list(known.bundle.files)

    def keep(self) -> None:
        """Keep the bundle that was read last for a start without its server."""
        if self._cache is None or self._read is None:
            return
        try:
            self._cache.write(self._read.bundle)
        except Unavailable as error:
            _log.error("%s; a start without the server of the bundles would fail", error)

    def taken(self) -> None:
        """The policies that were read last are in force now."""
        if self._read is None:
            return
        bundle, self._confirmed_unix_seconds = self._read.bundle, self._read.confirmed_unix_seconds
        if self.in_force is None or bundle.digest != self.in_force.digest:
            _log.info("bundle %s is in force", bundle)
        self.in_force = bundle

    @property
    def age_seconds(self) -> float:
        """Since the bundle in force was last known to be what is published."""
        return max(0.0, self._clock() - self._confirmed_unix_seconds)

    @property
    def remaining_seconds(self) -> float:
        """Until the bundle in force expires; infinity where it does not."""
        return math.inf if self.in_force is None else self.in_force.expires_unix_seconds - self._clock()

    @property
    def is_over(self) -> bool:
        """Whether the bundle in force has expired."""
        return not self.remaining_seconds > 0

    def _newest(self, before: Bundle | None) -> _Known:
        """What is published now, proven, in its time and no older than the one before; raises Unusable."""
        terms, now = self._terms(), self._clock()
        known = self._known if self._known is not None and self._known.terms == terms.version else None
        if known is not None and known.bundle.digest == terms.digest:
            found = replace(known, confirmed_unix_seconds=now)  # nothing else could count, so nobody is asked
        else:
            found = self._fetched(known, terms, now)
        found.bundle.must_hold_at(now)
        found.bundle.must_follow(before)
        return found

    def _fetched(self, known: _Known | None, terms: Terms, now: float) -> _Known:
        try:
            fetched = self._fetcher.fetch(known.tag if known else "")
        except Unavailable as error:
            raise _Unfetched(Problem(self._place, str(error), _FETCH_REMEDY)) from error
        content = fetched.unverified_content
        is_known = content is None or (known and known.bundle.digest == hashlib.sha256(content).hexdigest())
        if known is not None and is_known:
            return replace(known, tag=fetched.tag, confirmed_unix_seconds=now)
        if content is None:
            raise _Unfetched(Problem(self._place, "the server says that nothing changed, unasked", _FETCH_REMEDY))
        return _Known(read_bundle(content, self._place, terms), terms.version, fetched.tag, now)

    def _recall(self) -> tuple[Problem, ...]:
        """Take what was kept, if it is still proven; else why it is not."""
        if self._cache is None or not self._cache.file.exists():
            return ()
        try:
            terms = self._terms()
            bundle, kept_unix_seconds = self._cache.read(terms)
        except Unusable as unusable:
            return unusable.problems
        self._known = self._kept = _Known(bundle, terms.version, "", kept_unix_seconds)
        return ()

    def _goes_on_with_kept(self, why: Unusable) -> bool:
        if self._kept is None:
            return False
        try:
            self._kept.bundle.must_hold_at(self._clock())
        except Unusable:
            return False
        self._known = self._kept
        self._tell(str(why), is_refusal=not isinstance(why, _Unfetched))
        return True

    def _tell(self, why: str, *, is_refusal: bool = False) -> None:
        if why and why != self.trouble:
            self.refusals += is_refusal
            stays = f"bundle {self.in_force} stays in force" if self.in_force else "the bundle that was kept is taken"
            _log.error("%s; what is published is not: %s", stays, why)
        elif self.trouble and not why:
            _log.info("what is published as the policy bundle can be had, and is proven, again")
        self.trouble = why
