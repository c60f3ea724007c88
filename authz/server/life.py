"""The life of a server: bind, serve, and on SIGTERM or SIGINT drain and stop.

Draining is: say NOT_SERVING, go on answering for longer than the callers' health interval, then stop. Callers that
watch our health lose no call; a plain stop loses those that arrive while the port closes.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass

from authz.core.errors import Refused, Unavailable
from authz.server.health import Health
from authz.server.tls import TlsSource
from authz.server.transport import Transport

_READINESS_SECONDS = 0.2

_log = logging.getLogger("authz.server")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server and the address it is to be bound to."""

    name: str
    server: Transport
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
    begun: list[Endpoint] = []
    grace_seconds = 0.0
    try:
        for endpoint in endpoints:
            await _wait_for_tls(endpoint, stop)
            if stop.is_set():
                return
            await _begin(endpoint)
            begun.append(endpoint)
        hooks.on_start()
        await _tell_health(endpoints, health, hooks.why_unready, stop)
        _log.info("draining for %g s", drain.drain_seconds)
        await health.set_not_serving()
        await _wait(hurry, drain.drain_seconds)
        grace_seconds = drain.stop_grace_seconds
        _log.info("stopping; calls in flight have %g s", grace_seconds)
    finally:
        await asyncio.gather(*(endpoint.server.stop(grace_seconds) for endpoint in begun))
    _log.info("stopped")


async def _begin(endpoint: Endpoint) -> None:
    port = endpoint.server.listen(endpoint.address, endpoint.tls)
    carrier = "mTLS" if endpoint.tls else "plain text"
    _log.info("%s on %s (%s)", endpoint.name, _shown(endpoint.address, port), carrier)
    await endpoint.server.start()


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


async def _tell_health(
    endpoints: tuple[Endpoint, ...], health: Health, why_unready: Callable[[], str], stop: asyncio.Event
) -> None:
    """SERVING while there is no reason against it, until told to stop; raises Unavailable where a server has died."""
    told: str | None = None
    while not stop.is_set():
        for endpoint in endpoints:
            if not endpoint.server.is_alive:
                raise Unavailable(f"{endpoint.name} on {endpoint.address} answers no more: its thread has ended")
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
