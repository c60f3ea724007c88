"""The catalog and the policies in force, and how others take their place while checks go on.

Files in, swapped rules out. What changed is compiled beside what is in force, in a thread that gives way to checks, and
then takes its place whole; what cannot be used changes nothing. A catalog and its policies change together.
"""

import asyncio
import gc
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from authz.catalog.http import HttpCatalog
from authz.config import Settings
from authz.core.decision import Verdict
from authz.core.errors import Unusable
from authz.core.hop import ActionClass, Hop
from authz.core.query import Query
from authz.core.request import Request
from authz.wiring.engines import LoadedPolicy
from authz.wiring.giving_way import giving_way
from authz.wiring.knowledge import read_catalog, read_policy
from authz.wiring.origins import Look, Origin, digest_of, origin_of
from authz.wiring.tasks import classes_of

EVERY_SECONDS = 1.0
"""How often the files are looked at. A change must look the same twice before it is read: it is written by then."""
_REST_SECONDS = 0.001

_log = logging.getLogger("authz.rules")


@dataclass(frozen=True, slots=True)
class _Pair:
    catalog: HttpCatalog
    policy: LoadedPolicy


class Rules:
    """A Catalog and a Policy that can be replaced, both at once. For the event loop's thread.

    A check is one call on that thread, so it meets the catalog and the policies of one moment.
    """

    def __init__(self, catalog: HttpCatalog, policy: LoadedPolicy) -> None:
        self._pair = _Pair(catalog, policy)
        self._classes_of = dict(classes_of(catalog.operations))
        self.since_unix_seconds = time.time()

    @property
    def version(self) -> str:
        """The version of the policies in force."""
        return self._pair.policy.version

    @property
    def counts(self) -> Mapping[str, int]:
        """What the policies in force have counted since they were loaded."""
        return self._pair.policy.counts

    @property
    def catalog_version(self) -> str:
        """The version of the catalog in force."""
        return self._pair.catalog.version

    @property
    def classes_of(self) -> Mapping[str, frozenset[ActionClass]]:
        """The classes of each action, kept true in one mapping: who holds it sees what is in force."""
        return self._classes_of

    def classify(self, request: Request) -> Hop:
        """As the catalog in force does."""
        return self._pair.catalog.classify(request)

    def decide(self, query: Query) -> Verdict:
        """As the policies in force do."""
        return self._pair.policy.decide(query)

    def replace(self, catalog: HttpCatalog, policy: LoadedPolicy) -> LoadedPolicy:
        """Put these in force from the next check on; the policies that were in force until then."""
        replaced = self._pair.policy
        self._pair = _Pair(catalog, policy)
        self._classes_of.clear()
        self._classes_of.update(classes_of(catalog.operations))
        self.since_unix_seconds = time.time()
        return replaced


class Replaceable(Protocol):
    """What stands on a catalog and policies, and can stand on others."""

    @property
    def version(self) -> str:
        """The version of the policies in use; empty where there are none yet."""
        ...

    def replace(self, catalog: HttpCatalog, policy: LoadedPolicy) -> LoadedPolicy | None:
        """Use these from now on; the policies that were in use until then."""
        ...


class Reload:
    """Follows the files of the catalog and the policies. For the event loop."""

    def __init__(  # noqa: PLR0913  what it follows, and what it keeps step with
        self,
        settings: Settings,
        rules: Replaceable,
        seen: Look = (),
        *,
        origin: Origin | None = None,
        name: str = "",
        after: "Reload | None" = None,
    ) -> None:
        """`seen` is how the files looked before the rules in use were read from them; empty where none were.

        Policies come from `origin`, by default the one that the settings name. The log calls them by `name`. It loads
        while `after`, another, does not.
        """
        self._name, self._use = (f"{name} policies", "in use") if name else ("policies", "in force")
        self._settings, self._rules, self.origin = settings, rules, origin or origin_of(settings.policy)
        self._in_force: Look = seen
        self._last: Look = seen
        self._refused: Look | None = None
        self.one_at_a_time: asyncio.Lock = after.one_at_a_time if after else asyncio.Lock()
        self.loads = 0
        self.refusals = 0
        self.trouble = ""
        """Why the files as they stand are not in force; empty where they are, or are still to be read."""

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            try:
                await self.look()
            except Exception:  # noqa: BLE001  the watch outlives whatever one look meets
                _log.exception("%s and catalog could not be looked at; those %s stay", self._name, self._use)

    async def look(self, *, is_whole: bool = False) -> None:
        """Load what changed, once it looks as it did at the last look; at once where someone says that it is whole.

        Never raises for what the files hold: it is counted, logged once and told by `trouble`.
        """
        async with self.one_at_a_time:
            now = await asyncio.to_thread(look_at, self._settings, self.origin)
            is_settled, self._last = is_whole or now == self._last, now
            if now == self._in_force:
                self._refused, self.trouble = None, ""
            elif is_settled and (is_whole or now != self._refused):
                await self._load(now)

    async def _load(self, looked: Look) -> None:
        try:
            with giving_way(), _without_collecting():
                catalog, policy = await asyncio.to_thread(_compile, self._settings, self.origin)
            for _ in policy.make_ready():
                await asyncio.sleep(0)
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  a panic in an engine is no Exception; what is in force stays
            self._refuse(looked, str(error) if isinstance(error, Unusable) else f"{type(error).__name__}: {error}")
            return
        if await asyncio.to_thread(look_at, self._settings, self.origin) != looked:
            policy.leave()
            return  # it changed while it was read; the next looks will tell
        await asyncio.to_thread(self.origin.keep)
        replaced = self._rules.replace(catalog, policy)
        self.origin.taken()
        self._in_force, self._refused, self.trouble = looked, None, ""
        self.loads += 1
        _log.info("%s %.12s and catalog %.12s are %s", self._name, policy.version, catalog.version, self._use)
        if replaced is not None:
            replaced.leave()
            await asyncio.to_thread(replaced.let_go, _rest)

    def _refuse(self, looked: Look, why: str) -> None:
        self._refused = looked
        self.refusals += 1
        if why != self.trouble:
            stays = f"{self._rules.version:.12} stay {self._use}" if self._rules.version else "are not in use"
            _log.error("%s %s; what cannot be used is refused: %s", self._name, stays, why)
        self.trouble = why


def look_at(settings: Settings, origin: Origin | None = None) -> Look:
    """How the catalog's file and the policies look now; without an origin, those that the settings name."""
    return (digest_of(settings.catalog.file), *(origin or origin_of(settings.policy)).look())


def _compile(settings: Settings, origin: Origin) -> tuple[HttpCatalog, LoadedPolicy]:
    catalog = read_catalog(settings)
    return catalog, read_policy(settings, catalog, origin, _rest)


def _rest() -> None:
    time.sleep(_REST_SECONDS)


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Let the collector rest, and then leave out for good what came meanwhile.

    It would stop all threads to walk through a great many new objects that are none of its business: they live until
    they are replaced, and hold no cycles.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
