"""A candidate policy set beside the live one: it is asked what live hops were asked, and what would change is told.

Records in, counts and some lines of the log out. The candidate answers nobody: it is asked once the answer has gone
out, from a bounded queue, a little at a time. What it errs about is counted, and that is all it can do.
"""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from authz.catalog.http import HttpCatalog
from authz.config import Settings
from authz.core.decision import Decision, Deny, StepUp, conclude
from authz.core.query import Query
from authz.core.reasons import Reason
from authz.core.record import Record
from authz.observe.pace import Pace
from authz.wiring.engines import LoadedPolicy
from authz.wiring.rules import Reload, Rules

MAX_WAITING = 1000
"""Hops that may wait for the candidate; those beyond it are not compared, and counted."""
MAX_TOLD = 100
"""Differences that are logged of one candidate, each once; all are counted."""
_SLICE_SECONDS = 0.0002
_REST_SECONDS = 0.002

_log = logging.getLogger("authz.shadow")


def candidate_settings(settings: Settings, folder: Path) -> Settings:
    """The settings with this folder in place of the live policies'."""
    policy = settings.policy.model_copy(update={"directory": folder, "digests_file": None, "bundle": None})
    return settings.model_copy(update={"policy": policy})


class Pair(NamedTuple):
    """What the live policies and the candidate make of one hop: `allow`, `deny`, `step_up` or `error`."""

    live: str
    candidate: str


class _Hop(NamedTuple):
    query: Query
    live: Decision
    decision_id: str


@dataclass(frozen=True, slots=True)
class _Difference:
    """Differences that are one to a reader: the same policies are behind them."""

    pair: Pair
    live: frozenset[str]
    candidate: frozenset[str]


class Shadow:
    """An Observer that asks the candidate. Threads that tell it of hops take turns with the event loop, which asks.

    Without a candidate, before the first is loaded, nothing is compared; nor is it while the candidate was compiled for
    another catalog than the one in force.
    """

    def __init__(self, live: Rules, *, sees_requests: bool = False) -> None:
        self._live, self._sees_requests = live, sees_requests
        self._catalog_version = ""
        self._candidate: LoadedPolicy | None = None
        self._waiting: deque[_Hop] = deque()
        self._something_waits = asyncio.Event()
        self._wake: Callable[[], object] = self._something_waits.set
        self._told: set[_Difference] = set()
        self._pace = Pace(per_minute=1)
        self.compared: Counter[Pair] = Counter()
        """Hops of which both were asked, by what they said. Other policies behind the same answer are no difference."""
        self.left_out = 0
        """Hops of which the candidate was not asked: too many waited, or it is not loaded for this catalog."""

    @property
    def version(self) -> str:
        """The candidate's version; empty before there is one."""
        return self._candidate.version if self._candidate else ""

    def replace(self, catalog: HttpCatalog, policy: LoadedPolicy) -> LoadedPolicy | None:
        """Ask this candidate from now on; the one that was asked until then."""
        replaced, self._candidate, self._catalog_version = self._candidate, policy, catalog.version
        self.compared.clear()
        self._told.clear()
        return replaced

    def checked(self, record: Record, duration_seconds: float) -> None:
        """Put the hop into the queue, where policies were asked about it."""
        del duration_seconds
        if record.identity is None or record.errand is None or record.hop is None or record.verdict is None:
            return
        if len(self._waiting) >= MAX_WAITING:
            self.left_out += 1
            return
        request = record.request if self._sees_requests else None  # a queue of bodies is kept for nothing else
        query = Query.about(record.identity, record.errand, record.hop, record.arrival.unix_seconds, request)
        self._waiting.append(_Hop(query, conclude(record.verdict), record.arrival.decision_id))
        if not self._something_waits.is_set():
            self._wake()

    async def work(self) -> None:
        """Ask the candidate about what waits, until cancelled. Between slices the event loop has time for checks."""
        self._wake = partial(asyncio.get_running_loop().call_soon_threadsafe, self._something_waits.set)
        while True:
            await self._something_waits.wait()
            self.ask(_SLICE_SECONDS)
            await asyncio.sleep(_REST_SECONDS)

    def ask(self, seconds: float) -> None:
        """Ask about what waits; no further hop is begun after so long."""
        until = time.perf_counter() + seconds
        while self._waiting and time.perf_counter() < until:
            self._try(self._waiting.popleft())
        if not self._waiting:
            self._something_waits.clear()

    def _try(self, hop: _Hop) -> None:
        try:
            self._compare(hop)
        except Exception:  # noqa: BLE001  whatever one hop meets, the next is compared
            self.left_out += 1
            if self._pace.passes():
                _log.exception("a hop could not be compared")

    def _compare(self, hop: _Hop) -> None:
        if self._candidate is None or self._catalog_version != self._live.catalog_version:
            self.left_out += 1
            return
        candidate = conclude(self._candidate.decide(hop.query))
        pair = Pair(_word(hop.live), _word(candidate))
        self.compared[pair] += 1
        if pair.live == pair.candidate and _kinds(hop.live) == _kinds(candidate):
            return
        difference = _Difference(pair, hop.live.policies, candidate.policies)
        if difference in self._told or len(self._told) >= MAX_TOLD:
            return
        self._told.add(difference)
        _log.warning(
            "candidate policies %.12s: %s where %s is in force, first at check %s of %s: %s, in force %s",
            *(self.version, pair.candidate, pair.live, hop.decision_id, hop.query.operation.action),
            *(_shown(candidate), _shown(hop.live)),
        )


@dataclass(frozen=True, slots=True)
class Shadowing:
    """The candidate of a configuration, and what follows its files."""

    shadow: Shadow
    reload: Reload

    @classmethod
    def of(cls, settings: Settings, live: Rules, live_reload: Reload) -> tuple["Shadowing", ...]:
        """One, or none where no candidate is named. It is loaded while the server runs: a bad one stops no start."""
        folder = settings.policy.shadow_directory
        if folder is None:
            return ()
        shadow = Shadow(live, sees_requests=settings.policy.input != "authz")
        reload = Reload(candidate_settings(settings, folder), shadow, name="candidate", after=live_reload)
        return (cls(shadow, reload),)

    def runs(self) -> tuple[Coroutine[None, None, None], ...]:
        """What is to run beside the checks, until cancelled."""
        return self.reload.look(is_whole=True), self.reload.watch(), self.shadow.work()


def _word(decision: Decision) -> str:
    return "error" if isinstance(decision, Deny) and decision.reason is Reason.POLICY_ERROR else decision.word


def _kinds(decision: Decision) -> frozenset[str]:
    return decision.kinds if isinstance(decision, StepUp) else frozenset()


def _shown(decision: Decision) -> str:
    if _word(decision) == "error" and isinstance(decision, Deny):
        return f"failed with {decision.detail[:200]!r}"
    return f"by {', '.join(sorted(decision.policies)) or 'no policy'}"
