"""The fast transport: checks behind the completion queue. What memory can decide is answered on its thread.

What must be fetched or kept first goes to the event loop, and is answered from there. Both use the same parts, and
take turns.
"""

import asyncio
from collections.abc import Callable
from functools import partial

import grpc

from authz.server.checks import UNKNOWN, Checks, Given, Peer, Pending
from authz.server.health import AUTHORIZATION, Health
from authz.server.limits import Limits, options
from authz.server.queue import Call, NoAnswer, QueueServer
from authz.server.tls import TlsSource, peer_who_showed, server_credentials
from authz.server.turn import Turn

Handler = Callable[[bytes, Call, Peer], None]
"""As `queue.Handler`; with what the caller's TLS showed."""


class FastTransport:
    """A Transport for checks and health on a thread of its own."""

    def __init__(self, handler: Handler, health: Health, limits: Limits, fallback: bytes) -> None:
        """`fallback` is the denial of last resort."""
        self._handler = handler
        self._health = health
        self._is_tls = False
        handlers = {f"/{AUTHORIZATION}/Check": self._check, "/grpc.health.v1.Health/Check": self._tell_health}
        self._server = QueueServer(handlers, fallback, options(limits))

    def listen(self, address: str, tls: TlsSource | None) -> int:
        """Bind the address (`HOST:PORT`, `unix:/path`); returns the port. Raises Unavailable."""
        self._is_tls = tls is not None
        return self._server.listen(address, None if tls is None else server_credentials(tls))

    async def start(self) -> None:
        """Begin to serve."""
        self._server.start()

    async def stop(self, grace_seconds: float) -> None:
        """Take no new calls, and give those in flight so long."""
        await asyncio.to_thread(self._server.stop, grace_seconds)

    @property
    def why_down(self) -> str:
        """Why it serves no more although it was not stopped; empty where it does."""
        return self._server.why_down

    def _check(self, message: bytes, call: Call) -> None:
        peer = UNKNOWN
        if self._is_tls:
            shown = call.shown()
            peer = peer_who_showed(lambda name: shown.get(name.encode(), ()))
        self._handler(message, call, peer)

    def _tell_health(self, message: bytes, call: Call) -> None:
        status = self._health.status(message)
        if status is None:
            raise NoAnswer(grpc.StatusCode.NOT_FOUND, "unknown service")
        call.answer(status)


class FastChecks:
    """Handles checks on the transport's thread, or on the event loop on which it is made, whose turns are `turn`."""

    def __init__(self, checks: Checks, turn: Turn) -> None:
        self._checks = checks
        self._turn = turn
        self._loop = asyncio.get_running_loop()
        self._settling = set[asyncio.Task[None]]()
        self._given = list[Given]()  # that observers are still to be told of

    def handle(self, message: bytes, call: Call, peer: Peer) -> None:
        """See to it that the call is answered."""
        with self._turn:
            outcome = self._checks.at_once(message, call.metadata, peer)
            if isinstance(outcome, Given):
                self._given.append(outcome)
                call.answer(outcome.message, self._tell)
                return
        call.defer()
        self._loop.call_soon_threadsafe(self._begin, outcome, call)

    def _tell(self) -> None:
        if self._given:
            with self._turn:
                given, self._given = self._given, []
                for each in given:
                    self._checks.tell(each)

    def _begin(self, pending: Pending, call: Call) -> None:
        task = self._loop.create_task(self._settle(pending, call))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        call.on_cancel = partial(self._loop.call_soon_threadsafe, task.cancel)
        if call.is_over:  # given up before it knew of the task
            task.cancel()

    async def _settle(self, pending: Pending, call: Call) -> None:
        given = await self._checks.settle(pending, call.remaining_seconds)
        call.answer(given.message)
        self._checks.tell(given)
