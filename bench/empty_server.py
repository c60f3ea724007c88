"""The yardstick: an empty handler on a transport of ours: `python -m bench.empty_server LANE ADDRESS`."""

import asyncio
import sys

from authz.server.aio import make_server
from authz.server.checks import Metadata, Peer
from authz.server.health import Health
from authz.server.lane import CHECK
from authz.server.life import Drain, Endpoint, Hooks, run
from authz.server.queue import QueueServer
from authz.server.tls import TlsSource
from authz.server.transport import Limits, Transport
from authz.wire.encode import FALLBACK

LIMITS = Limits(16 * 1024 * 1024, 600)


async def answer(_message: bytes, _metadata: Metadata, _peer: Peer, _remaining_seconds: float | None) -> bytes:
    """Always the same bytes."""
    return FALLBACK


class Empty:
    """A Transport on the queue, with an empty handler."""

    is_alive = True

    def __init__(self) -> None:
        self._server = QueueServer({CHECK: lambda _call, _message: FALLBACK}, LIMITS, fallback=FALLBACK)

    def listen(self, address: str, tls: TlsSource | None) -> int:
        """Bind it."""
        return self._server.listen(address, tls)

    async def start(self) -> None:
        """Begin."""
        self._server.start()

    async def stop(self, grace_seconds: float) -> None:
        """End."""
        await asyncio.to_thread(self._server.stop, grace_seconds)


async def main(lane: str, address: str) -> None:
    """Serve until told to stop."""
    health = Health()
    server: Transport = Empty() if lane == "fast" else make_server(answer, health, LIMITS)
    hooks = Hooks(on_start=lambda: None, on_hangup=lambda: None, why_unready=lambda: "")
    await run((Endpoint("empty", server, address, None),), health, Drain(0, 0), hooks)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
