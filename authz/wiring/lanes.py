"""The lane that checks are answered in: on a thread of its own, or in the event loop where that was not tried."""

import asyncio
import logging
import sys
from pathlib import Path

from authz.config import ServerSettings
from authz.core.errors import Place, Problem, Unusable
from authz.server.aio import make_server
from authz.server.checks import Checks
from authz.server.health import Health
from authz.server.lane import FastLane
from authz.server.queue import why_not
from authz.server.transport import Limits, Transport
from authz.server.turns import Turns, TurnsSelector
from authz.wire.encode import FALLBACK

_SWITCH_SECONDS = 0.0005
"""How long one thread keeps the interpreter from another; Python's own 5 ms are longer than a check may take."""

_log = logging.getLogger("authz")


def choose_lane(server: ServerSettings, config_file: Path) -> Turns | None:
    """The turns of the fast lane's two threads, or none for the portable lane; raises Unusable."""
    why = why_not()
    if server.lane == "fast" and why:
        remedy = "Install a grpcio of that range, or write server.lane: auto."
        raise Unusable(Problem(Place(config_file), f"server.lane is fast, and {why}", remedy))
    if server.lane == "portable" or why:
        _log.info("checks are answered in the portable lane%s", f": {why}" if why else "")
        return None
    sys.setswitchinterval(_SWITCH_SECONDS)
    _log.info("checks are answered in the fast lane")
    return Turns()


def loop_of(turns: Turns) -> asyncio.AbstractEventLoop:
    """An event loop that thinks only in its turn."""
    return asyncio.SelectorEventLoop(TurnsSelector(turns))


def make_transport(checks: Checks, health: Health, limits: Limits, turns: Turns | None) -> Transport:
    """What answers checks and health."""
    if turns is None:
        return make_server(checks.answer, health, limits)
    return FastLane(checks, health, limits, turns, fallback=FALLBACK)
