"""The portable transport: `Checks` behind grpc.aio, on TCP or a Unix socket, with TLS 1.3 or in plain text.

Bytes go through unparsed: a deserializer that fails would become a gRPC error, which `failure_mode_allow: true` turns
into an allow.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2_grpc

from authz.core.errors import Unavailable
from authz.server.checks import Metadata, Peer
from authz.server.health import AUTHORIZATION, Health
from authz.server.limits import NOT_SHARED, Limits, options
from authz.server.tls import TlsSource, peer_who_showed, server_credentials

Handler = Callable[[bytes, Metadata, Peer, float | None], Awaitable[bytes]]
"""Message, metadata, what the caller's TLS showed, seconds until the caller gives up."""

CHECK_METHOD = "Check"


class PortableTransport:
    """A Transport on a server of grpc.aio."""

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def listen(self, address: str, tls: TlsSource | None) -> int:
        """Bind the address (`HOST:PORT`, `unix:/path`); returns the port. Raises Unavailable."""
        try:
            port = self._add(address, tls)
        except RuntimeError as error:
            raise Unavailable(f"cannot listen on {address}: {error}; is another process on it?") from error
        if not port:
            raise Unavailable(f"cannot listen on {address}")
        return port

    async def start(self) -> None:
        """Begin to serve."""
        await self._server.start()

    async def stop(self, grace_seconds: float) -> None:
        """Take no new calls, and give those in flight so long."""
        await self._server.stop(grace_seconds)

    @property
    def why_down(self) -> str:
        """It lives as long as the event loop, so there is nothing to say."""
        return ""

    def _add(self, address: str, tls: TlsSource | None) -> int:
        if tls is None:
            return int(self._server.add_insecure_port(address))
        return int(self._server.add_secure_port(address, server_credentials(tls)))


def check_transport(handler: Handler, health: Health, limits: Limits) -> PortableTransport:
    """For checks and health; nothing is bound yet."""
    server = grpc.aio.server(options=options(limits))

    async def check(message: bytes, context: grpc.aio.ServicerContext) -> bytes:
        peer = peer_of(context)
        return await handler(message, context.invocation_metadata() or (), peer, context.time_remaining())

    methods = {CHECK_METHOD: grpc.unary_unary_rpc_method_handler(check)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(AUTHORIZATION, methods),))
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    return PortableTransport(server)


def health_transport(health: Health, limits: Limits) -> PortableTransport:
    """For health alone."""
    server = grpc.aio.server(options=options(limits))
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    return PortableTransport(server)


def plain_transport(handlers: grpc.GenericRpcHandler) -> PortableTransport:
    """For other methods, with the library's own limits."""
    server = grpc.aio.server(options=[NOT_SHARED])
    server.add_generic_rpc_handlers((handlers,))
    return PortableTransport(server)


def peer_of(context: grpc.aio.ServicerContext) -> Peer:
    """Who called."""
    shown: Mapping[str, Sequence[bytes]] = context.auth_context()
    return peer_who_showed(lambda name: shown.get(name, ()))
