"""The portable transport: `Checks` behind grpc.aio, on TCP or a Unix socket, with TLS 1.3 or in plain text.

Bytes go through unparsed: a deserializer that fails would become a gRPC error, which `failure_mode_allow: true` turns
into an allow.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2_grpc

from authz.core.errors import Unavailable
from authz.server.checks import UNKNOWN, Metadata, Peer
from authz.server.health import AUTHORIZATION, Health
from authz.server.tls import TlsSource, server_credentials

Handler = Callable[[bytes, Metadata, Peer, float | None], Awaitable[bytes]]
"""Message, metadata, what the caller's TLS showed, seconds until the caller gives up."""

CHECK_METHOD = "Check"
_CERTIFICATE, _INTERMEDIATES = "x509_pem_cert", "x509_pem_cert_chain"  # to a server the chain is told without its leaf
_VERSION, _TLS_1_3 = "ssl_tls_version", b"TLSv1.3"
_MAX_METADATA_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What a caller may ask of the transport."""

    max_request_bytes: int
    max_connection_age_seconds: int


def make_server(handler: Handler, health: Health, limits: Limits) -> grpc.aio.Server:
    """A server that answers checks and health; nothing is bound yet."""
    server = grpc.aio.server(options=_options(limits))

    async def check(message: bytes, context: grpc.aio.ServicerContext) -> bytes:
        peer = peer_of(context)
        return await handler(message, context.invocation_metadata() or (), peer, context.time_remaining())

    methods = {CHECK_METHOD: grpc.unary_unary_rpc_method_handler(check)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(AUTHORIZATION, methods),))
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    return server


def make_health_server(health: Health, limits: Limits) -> grpc.aio.Server:
    """A server that answers health alone."""
    server = grpc.aio.server(options=_options(limits))
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    return server


def make_plain_server(handlers: grpc.GenericRpcHandler) -> grpc.aio.Server:
    """A server of other methods, with the library's own limits."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((handlers,))
    return server


def listen(server: grpc.aio.Server, address: str, tls: TlsSource | None) -> int:
    """Bind the address (`HOST:PORT`, `unix:/path`); returns the port. Raises Unavailable."""
    try:
        port = _add(server, address, tls)
    except RuntimeError as error:
        raise Unavailable(f"cannot listen on {address}: {error}; is another process on it?") from error
    if not port:
        raise Unavailable(f"cannot listen on {address}")
    return port


def _add(server: grpc.aio.Server, address: str, tls: TlsSource | None) -> int:
    if tls is None:
        return int(server.add_insecure_port(address))
    return int(server.add_secure_port(address, server_credentials(tls)))


def peer_of(context: grpc.aio.ServicerContext) -> Peer:
    """Who called, over TLS 1.3: grpc would also take 1.2, and has no switch against it; such a caller is nobody."""
    shown: Mapping[str, Sequence[bytes]] = context.auth_context()
    if shown.get(_VERSION) != [_TLS_1_3] or _CERTIFICATE not in shown:
        return UNKNOWN
    certificate, intermediates = shown[_CERTIFICATE][0], b"".join(shown.get(_INTERMEDIATES, ()))
    chain = certificate + intermediates if intermediates else b""
    return Peer(certificate.decode("latin-1"), chain.decode("latin-1"))  # ASCII, as grpc writes it


def _options(limits: Limits) -> list[tuple[str, int]]:
    return [
        # Above Envoy's own body limit: a message over the limit is a gRPC error, and that may be an allow.
        ("grpc.max_receive_message_length", limits.max_request_bytes),
        # Equal limits: between two different ones grpc refuses by chance.
        ("grpc.max_metadata_size", _MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", _MAX_METADATA_BYTES),
        # A second server on the port must fail, not share the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_connection_age_ms", limits.max_connection_age_seconds * 1000),
        # Envoy's keep-alive pings are no abuse.
        ("grpc.http2.min_ping_interval_without_data_ms", 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_ping_strikes", 0),
    ]
