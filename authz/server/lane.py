"""The fast lane: checks that memory decides are answered on the queue's thread; the others wait in the event loop.

Whichever thread thinks about checks has the turn, so both see one state.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from grpc_health.v1 import health_pb2

from authz.server.checks import UNKNOWN, Checks, Pending
from authz.server.health import AUTHORIZATION, Health
from authz.server.queue import Call, Deferred, QueueServer, Refusal
from authz.server.tls import TlsSource
from authz.server.transport import Limits, peer_of
from authz.server.turns import Turns

CHECK = f"/{AUTHORIZATION}/Check"
_HEALTH = "/grpc.health.v1.Health/Check"
_NOT_FOUND = 5
_SOON_SECONDS = 0.01


class FastLane:
    """A Transport that answers checks and health. Made, started and stopped in the event loop."""

    def __init__(self, checks: Checks, health: Health, limits: Limits, turns: Turns, *, fallback: bytes) -> None:
        self._checks, self._health, self._turns = checks, health, turns
        self._has_tls = False
        self._loop = asyncio.get_running_loop()
        self._waiting = set[asyncio.Task[None]]()
        methods = {CHECK: self._check, _HEALTH: self._tell_health}
        self._server = QueueServer(methods, limits, fallback=fallback)

    @property
    def is_alive(self) -> bool:
        """Whether the queue's thread runs; see `Transport`."""
        return self._server.is_alive

    def listen(self, address: str, tls: TlsSource | None) -> int:
        """Bind the address; see `Transport`."""
        self._has_tls = tls is not None
        return self._server.listen(address, tls)

    async def start(self) -> None:
        """Begin to answer."""
        self._server.start()

    async def stop(self, grace_seconds: float) -> None:
        """End; see `Transport`."""
        await asyncio.to_thread(self._server.stop, grace_seconds)
        for task in tuple(self._waiting):
            task.cancel()

    def _check(self, call: Call, message: bytes) -> bytes | Deferred:
        peer = peer_of(call.shown()) if self._has_tls else UNKNOWN
        with self._turns:
            begun = self._checks.begin(message, call.metadata, peer)
        if isinstance(begun, bytes):
            return begun
        return Deferred(lambda: self._loop.call_soon_threadsafe(self._settle, call, begun, call.remaining_seconds()))

    def _settle(self, call: Call, pending: Pending, remaining_seconds: float | None) -> None:
        """In the event loop: fetch what the check lacks, and answer."""
        task = self._loop.create_task(self._answer(call, pending, remaining_seconds))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)
        call.on_cancel = lambda: self._loop.call_soon_threadsafe(task.cancel)
        if call.is_cancelled:  # before anybody listened
            task.cancel()

    async def _answer(self, call: Call, pending: Pending, remaining_seconds: float | None) -> None:
        call.answer(await self._checks.finish(pending, remaining_seconds))

    def _tell_health(self, _call: Call, message: bytes) -> bytes:
        try:
            service = health_pb2.HealthCheckRequest.FromString(message).service
        except ValueError as error:
            raise Refusal(_NOT_FOUND, "not a health check") from error
        status = self._health.status_of(service)
        if status is None:
            raise Refusal(_NOT_FOUND, "unknown service")
        told: bytes = health_pb2.HealthCheckResponse(status=status).SerializeToString()
        return told


class Soon:
    """Runs calls in the event loop a little later, many at once: to wake it for each would cost more than the call."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[Callable[[], object]] = deque()
        self._is_woken = False

    def __call__(self, call: Callable[[], object]) -> None:
        """From the thread that has the turn."""
        self._calls.append(call)
        if not self._is_woken:
            self._is_woken = True
            self._loop.call_soon_threadsafe(self._loop.call_later, _SOON_SECONDS, self._run)

    def _run(self) -> None:
        self._is_woken = False
        while self._calls:
            self._calls.popleft()()
