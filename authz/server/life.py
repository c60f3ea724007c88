"""The life of a server: bind, serve, and on SIGTERM or SIGINT drain and stop.

Draining is: say NOT_SERVING, go on answering for longer than the callers' health interval, then stop. Callers that
watch our health lose no call; a plain stop loses those that arrive while the port closes.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass

import grpc.aio

from authz.server.aio import listen
from authz.server.health import Health
from authz.server.tls import TlsMaterial

_log = logging.getLogger("authz.server")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server and the address it is to be bound to."""

    name: str
    server: grpc.aio.Server
    address: str
    tls: TlsMaterial | None


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


async def run(endpoints: tuple[Endpoint, ...], health: Health, drain: Drain, hooks: Hooks) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends the waiting. Raises Unavailable."""
    stop, hurry = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()

    for endpoint in endpoints:
        port = listen(endpoint.server, endpoint.address, endpoint.tls)
        _log.info(
            "%s on %s (%s)", endpoint.name, _shown(endpoint.address, port), "mTLS" if endpoint.tls else "plain text"
        )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    loop.add_signal_handler(signal.SIGHUP, hooks.on_hangup)
    for endpoint in endpoints:
        await endpoint.server.start()
    await health.set_serving()
    hooks.on_start()
    await stop.wait()
    _log.info("draining for %g s", drain.drain_seconds)
    await health.set_not_serving()
    await _wait(hurry, drain.drain_seconds)
    _log.info("stopping; calls in flight have %g s", drain.stop_grace_seconds)
    await asyncio.gather(*(endpoint.server.stop(drain.stop_grace_seconds) for endpoint in endpoints))
    _log.info("stopped")


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


def _shown(address: str, port: int) -> str:
    """The address as bound: port 0 asks for a free one."""
    return f"{address.rpartition(':')[0]}:{port}" if address.endswith(":0") else address
