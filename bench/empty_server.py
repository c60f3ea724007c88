"""The yardstick: an empty handler on our own transport, `python -m bench.empty_server ADDRESS`. SIGTERM ends it."""

import asyncio
import sys

from authz.server.aio import Limits, make_server
from authz.server.checks import Metadata, Peer
from authz.server.health import Health
from authz.server.life import Drain, Endpoint, Hooks, run
from authz.wire.encode import FALLBACK


async def answer(_message: bytes, _metadata: Metadata, _peer: Peer, _remaining_seconds: float | None) -> bytes:
    """Always the same bytes."""
    return FALLBACK


async def main(address: str) -> None:
    """Serve until told to stop."""
    health = Health()
    server = make_server(answer, health, Limits(16 * 1024 * 1024, 600))
    hooks = Hooks(on_start=lambda: None, on_hangup=lambda: None, why_unready=lambda: "")
    await run((Endpoint("empty", server, address, None),), health, Drain(0, 0), hooks)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
