"""The portable transport: grpc.aio, on TCP or a Unix socket, with TLS 1.3 or in plain text.

Bytes go through unparsed: a deserializer that fails would become a gRPC error, which `failure_mode_allow: true` turns
into an allow.
"""

from collections.abc import Awaitable, Callable

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2_grpc

from authz.core.errors import Unavailable
from authz.server.checks import Metadata, Peer
from authz.server.health import AUTHORIZATION, Health
from authz.server.tls import TlsSource, server_credentials
from authz.server.transport import Limits, options_of, peer_of

Handler = Callable[[bytes, Metadata, Peer, float | None], Awaitable[bytes]]
"""Message, metadata, what the caller's TLS showed, seconds until the caller gives up."""

CHECK_METHOD = "Check"


class AioTransport:
    """A Transport on grpc.aio."""

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    @property
    def is_alive(self) -> bool:
        """It has no life of its own: the event loop's is its."""
        return True

    def listen(self, address: str, tls: TlsSource | None) -> int:
        """Bind the address; see `Transport`."""
        try:
            port = self._add(address, tls)
        except RuntimeError as error:
            raise Unavailable(f"cannot listen on {address}: {error}; is another process on it?") from error
        if not port:
            raise Unavailable(f"cannot listen on {address}")
        return port

    def _add(self, address: str, tls: TlsSource | None) -> int:
        if tls is None:
            return int(self._server.add_insecure_port(address))
        return int(self._server.add_secure_port(address, server_credentials(tls)))

    async def start(self) -> None:
        """Begin to answer."""
        await self._server.start()

    async def stop(self, grace_seconds: float) -> None:
        """End; see `Transport`."""
        await self._server.stop(grace_seconds)


def make_server(handler: Handler, health: Health, limits: Limits) -> AioTransport:
    """A server that answers checks and health; nothing is bound yet."""
    server = grpc.aio.server(options=options_of(limits))

    async def check(message: bytes, context: grpc.aio.ServicerContext) -> bytes:
        peer = peer_of(context.auth_context())
        return await handler(message, context.invocation_metadata() or (), peer, context.time_remaining())

    methods = {CHECK_METHOD: grpc.unary_unary_rpc_method_handler(check)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(AUTHORIZATION, methods),))
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    return AioTransport(server)


def make_health_server(health: Health, limits: Limits) -> AioTransport:
    """A server that answers health alone."""
    server = grpc.aio.server(options=options_of(limits))
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    return AioTransport(server)


def make_plain_server(handlers: grpc.GenericRpcHandler) -> AioTransport:
    """A server of other methods, with the library's own limits."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((handlers,))
    return AioTransport(server)
