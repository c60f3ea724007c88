"""The yardstick: an empty handler on our own transports, `python -m bench.empty_server ADDRESS LANE`, until SIGTERM."""

import asyncio
import sys

from authz.server.aio import check_transport
from authz.server.checks import Metadata, Peer
from authz.server.fast import FastTransport
from authz.server.health import Health
from authz.server.life import Drain, Endpoint, Hooks, Transport, run
from authz.server.limits import Limits
from authz.server.queue import Call
from authz.wire.encode import FALLBACK

LIMITS = Limits(16 * 1024 * 1024, 600)


async def answer(_message: bytes, _metadata: Metadata, _peer: Peer, _remaining_seconds: float | None) -> bytes:
    """Always the same bytes."""
    return FALLBACK


def handle(_message: bytes, call: Call, _peer: Peer) -> None:
    """As above."""
    call.answer(FALLBACK)


async def main(address: str, lane: str) -> None:
    """Serve until told to stop."""
    sys.setswitchinterval(0.0005)
    health = Health()
    transport: Transport = check_transport(answer, health, LIMITS)
    if lane == "fast":
        transport = FastTransport(handle, health, LIMITS, FALLBACK)
    hooks = Hooks(on_start=lambda: None, on_hangup=lambda: None, why_unready=lambda: "")
    await run((Endpoint("empty", transport, address, None),), health, Drain(0, 0), hooks)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
