"""The life of a server: bind, serve, and on SIGTERM or SIGINT drain and stop.

Draining is: say NOT_SERVING, go on answering for longer than the callers' health interval, then stop. Callers that
watch our health lose no call; a plain stop loses those that arrive while the port closes.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from authz.core.errors import Refused, Unavailable
from authz.server.health import Health
from authz.server.tls import TlsSource

_READINESS_SECONDS = 0.2

_log = logging.getLogger("authz.server")


class Transport(Protocol):
    """What takes calls."""

    def listen(self, address: str, tls: TlsSource | None) -> int:
        """Bind the address (`HOST:PORT`, `unix:/path`); returns the port. Raises Unavailable."""
        ...

    async def start(self) -> None:
        """Begin to serve."""
        ...

    async def stop(self, grace_seconds: float) -> None:
        """Take no new calls, and give those in flight so long."""
        ...

    @property
    def why_down(self) -> str:
        """Why it serves no more although it was not stopped; empty where it does."""
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A transport and the address it is to be bound to."""

    name: str
    transport: Transport
    address: str
    tls: TlsSource | None


@dataclass(frozen=True, slots=True)
class Drain:
    """How long to go on after being told to stop."""

    drain_seconds: float
    stop_grace_seconds: float


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the life of the server means to others."""

    on_start: Callable[[], None]
    on_hangup: Callable[[], None]  # SIGHUP: log files have been renamed
    why_unready: Callable[[], str]  # why callers should go elsewhere; empty where they may come


async def run(endpoints: tuple[Endpoint, ...], health: Health, drain: Drain, hooks: Hooks) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends the waiting. Raises Unavailable.

    Endpoints are bound in their order, each as soon as it can be.
    """
    stop, hurry = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    loop.add_signal_handler(signal.SIGHUP, hooks.on_hangup)
    await health.set_not_serving()
    for endpoint in endpoints:
        await _wait_for_tls(endpoint, stop)
        if stop.is_set():
            return
        port = endpoint.transport.listen(endpoint.address, endpoint.tls)
        carrier = "mTLS" if endpoint.tls else "plain text"
        _log.info("%s on %s (%s)", endpoint.name, _shown(endpoint.address, port), carrier)
        await endpoint.transport.start()
    hooks.on_start()

    def why_unready() -> str:
        return next(filter(None, (endpoint.transport.why_down for endpoint in endpoints)), "") or hooks.why_unready()

    await _tell_health(health, why_unready, stop)
    _log.info("draining for %g s", drain.drain_seconds)
    await health.set_not_serving()
    await _wait(hurry, drain.drain_seconds)
    _log.info("stopping; calls in flight have %g s", drain.stop_grace_seconds)
    await asyncio.gather(*(endpoint.transport.stop(drain.stop_grace_seconds) for endpoint in endpoints))
    _log.info("stopped")


async def _wait_for_tls(endpoint: Endpoint, stop: asyncio.Event) -> None:
    """Without a certificate of its own a port cannot be bound: wait for the first, or until told to stop."""
    told = False
    while endpoint.tls is not None and not stop.is_set():
        try:
            endpoint.tls()
        except (Refused, Unavailable) as error:
            if not told:
                _log.warning("%s on %s must wait: %s", endpoint.name, endpoint.address, error)
            told = True
            await _wait(stop, _READINESS_SECONDS)
        else:
            return


async def _tell_health(health: Health, why_unready: Callable[[], str], stop: asyncio.Event) -> None:
    """SERVING while there is no reason against it, until told to stop."""
    told: str | None = None
    while not stop.is_set():
        why = why_unready()
        if why != told:
            await (health.set_not_serving() if why else health.set_serving())
            if why:
                _log.warning("not ready: %s", why)
            else:
                _log.info("ready")
            told = why
        await _wait(stop, _READINESS_SECONDS)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


def _shown(address: str, port: int) -> str:
    """The address as bound: port 0 asks for a free one."""
    return f"{address.rpartition(':')[0]}:{port}" if address.endswith(":0") else address
