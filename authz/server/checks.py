"""The handler behind every transport: check bytes in, answer bytes out, whatever happens.

It brings what the pure check lacks: the clock, the store, the audit log and the observers. It never raises and never
returns nothing, because Envoy takes an empty message for an allow and, where an operator said so, an error too. What
memory can decide is decided at once; what must be fetched or kept first is settled on the event loop.
"""

import asyncio
import logging
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple

from authz.core.acts import Conflict, NoSuchTask
from authz.core.errors import Refused, Unavailable
from authz.core.ids import uuid7
from authz.core.outcome import Answer, Needs, TaskWant
from authz.core.reasons import Reason
from authz.core.record import Arrival, Record
from authz.pipeline import Pipeline
from authz.ports import Audit, Engine, Observer, TaskKeeper, Tasks

Metadata = Iterable[tuple[str, Any]]
"""Names and values; values are texts, and bytes where the name ends in `-bin`."""


class Peer(NamedTuple):
    """What the TLS of a call showed of its caller, as PEM; nothing in plain text."""

    unverified_certificate: str = ""
    unverified_chain: str = ""  # the certificate first, then its intermediates; empty where there are none


UNKNOWN = Peer()

MAX_ROUNDS = 8
"""How often a check may be run again: for what its story lacks, and where others overtook it in the store."""
MAX_WAITING = 1000
"""How many checks may wait at once for what they lack. Beyond, they are denied instead of piling up."""
_DEADLINE_MARGIN_SECONDS = 0.01
_ID_RANDOMNESS_BYTES = 10

_log = logging.getLogger("authz.server")


class Given(NamedTuple):
    """An answer, recorded; `record` is None for the denial of last resort."""

    message: bytes
    record: Record | None
    duration_seconds: float


class Pending(NamedTuple):
    """A check that lacks something, or provides for something that must be kept before its answer is given."""

    arrival: Arrival
    message: bytes
    outcome: Answer | Needs
    started: float


class Checks:
    """Answers checks. One thread at a time uses it: where there are several, they take turns."""

    def __init__(  # noqa: PLR0913  the parts it joins
        self,
        pipeline: Pipeline,
        tasks: Tasks,
        keeper: TaskKeeper,
        audit: Audit,
        observer: Observer,
        *,
        fallback: bytes,
        timeout_seconds: float,
        engine: Engine | None = None,
    ) -> None:
        """`fallback` is the denial of last resort.

        `engine` is for a pipeline whose policies are asked in another process.
        """
        self._pipeline = pipeline
        self._tasks = tasks
        self._keeper = keeper
        self._audit = audit
        self._observer = observer
        self._fallback = fallback
        self._timeout_seconds = timeout_seconds
        self._engine = engine
        self._waiting = 0
        self._fetching: dict[frozenset[TaskWant], asyncio.Task[None]] = {}

    async def answer(
        self,
        message: bytes,
        metadata: Metadata,
        peer: Peer = UNKNOWN,
        remaining_seconds: float | None = None,
    ) -> bytes:
        """The CheckResponse for a CheckRequest; a denial where anything went wrong. Observers are told afterwards."""
        outcome = self.at_once(message, metadata, peer)
        given = outcome if isinstance(outcome, Given) else await self.settle(outcome, remaining_seconds)
        asyncio.get_running_loop().call_soon(self.tell, given)
        return given.message

    def at_once(self, message: bytes, metadata: Metadata, peer: Peer = UNKNOWN) -> Given | Pending:
        """The answer, where memory has all that it takes; else what is to be settled."""
        started = time.perf_counter()
        try:
            arrival = arrive(metadata, peer)
            outcome = self._try(arrival, message)
            if isinstance(outcome, Needs) or outcome.provided is not None:
                if self._waiting < MAX_WAITING:
                    return Pending(arrival, message, outcome, started)
                outcome = self._pipeline.refuse(outcome.record, Reason.OVERLOADED, f"{self._waiting} checks wait")
            return self._conclude(outcome, started)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001  what is raised here would reach Envoy as an error, and could be an allow
            return self._last_resort(started)

    async def settle(self, pending: Pending, remaining_seconds: float | None = None) -> Given:
        """The answer that could not be given at once, in time for a caller who gives up after `remaining_seconds`."""
        arrival, message, outcome, started = pending
        budget_seconds = self._timeout_seconds
        if remaining_seconds is not None:
            budget_seconds = min(budget_seconds, remaining_seconds - _DEADLINE_MARGIN_SECONDS)
        self._waiting += 1
        try:
            return self._conclude(await self._settle(arrival, message, outcome, budget_seconds), started)
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise  # there is nobody to answer any more
        except BaseException:  # noqa: BLE001  as above
            return self._last_resort(started)
        finally:
            self._waiting -= 1

    def tell(self, given: Given) -> None:
        """Tell the observers of an answer that has gone out."""
        if given.record is not None:
            self._observer.checked(given.record, given.duration_seconds)

    def _try(self, arrival: Arrival, message: bytes) -> Answer | Needs:
        self._tasks.peek()
        if self._engine is None:
            return self._pipeline.check(arrival, message)
        try:
            return self._pipeline.check(arrival, message)
        finally:
            self._engine.forget()

    async def _settle(self, arrival: Arrival, message: bytes, outcome: Answer | Needs, budget_seconds: float) -> Answer:
        """Get what the check lacks and keep what it provides for, running it again where that changes its story."""
        try:
            async with asyncio.timeout(budget_seconds):
                for _ in range(MAX_ROUNDS):
                    if isinstance(outcome, Needs):
                        await self._meet(outcome)
                    elif outcome.provided is None:
                        return outcome
                    else:
                        with suppress(Conflict, NoSuchTask):  # others overtook it: what now?
                            await self._keeper.do(outcome.provided)
                            return outcome
                    outcome = self._try(arrival, message)
        except TimeoutError:
            return self._pipeline.refuse(outcome.record, Reason.CHECK_TIMED_OUT, f"{budget_seconds:.3f} s")
        except Refused as refused:
            return self._pipeline.refuse(outcome.record, refused.reason, refused.detail)
        except Unavailable as error:
            return self._pipeline.refuse(outcome.record, Reason.TASK_STORE_UNAVAILABLE, str(error))
        return self._pipeline.refuse(outcome.record, Reason.INTERNAL_ERROR, f"unsettled after {MAX_ROUNDS} rounds")

    async def _meet(self, needs: Needs) -> None:
        """Bring what is lacking. Nothing may be awaited between an engine's answer and the check that it is for."""
        if needs.of_tasks:
            await self._fetch(needs.of_tasks)
        for consult in needs.consults:
            if self._engine is None:
                raise Refused(Reason.POLICY_ENGINE_UNAVAILABLE, "there is none to ask")
            try:
                await self._engine.ask(consult.question)
            except Unavailable as error:
                raise Refused(Reason.POLICY_ENGINE_UNAVAILABLE, str(error)) from error

    async def _fetch(self, wants: frozenset[TaskWant]) -> None:
        """Single flight: checks that lack the same thing wait for one fetch, and giving up ends only one's own wait."""
        flight = self._fetching.get(wants)
        if flight is None:
            flight = asyncio.create_task(self._tasks.fetch(wants))
            self._fetching[wants] = flight
            flight.add_done_callback(lambda landed: self._landed(wants, landed))
        await asyncio.shield(flight)

    def _landed(self, wants: frozenset[TaskWant], flight: asyncio.Task[None]) -> None:
        del self._fetching[wants]
        if not flight.cancelled():
            flight.exception()  # seen, even where every check that waited has given up

    def _conclude(self, answer: Answer, started: float) -> Given:
        duration_seconds = time.perf_counter() - started
        try:
            self._audit.append(answer.record, duration_seconds)
        except Unavailable as error:
            answer = self._pipeline.refuse(answer.record, Reason.AUDIT_UNAVAILABLE, str(error))
        return Given(answer.message, answer.record, duration_seconds)

    def _last_resort(self, started: float) -> Given:
        _log.exception("a check failed outside its pipeline; it was denied")
        return Given(self._fallback, None, time.perf_counter() - started)


def arrive(metadata: Metadata, peer: Peer = UNKNOWN) -> Arrival:
    """The moment and the carrier of a check that comes in now."""
    unix_seconds = time.time()
    parents, states = [], []
    for name, value in metadata:
        if name == "traceparent":
            parents.append(value)
        elif name == "tracestate":
            states.append(value)
    # W3C Trace Context, 3.2.1 and 3.3.1: a repeated traceparent is none; repeated tracestates are one list.
    parent = parents[0] if len(parents) == 1 else ""
    boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    decision_id = uuid7(unix_seconds, os.urandom(_ID_RANDOMNESS_BYTES))
    return Arrival(unix_seconds, boot_ns, decision_id, parent, ",".join(states), *peer)
