"""What every transport of ours keeps to: its limits, what a caller's TLS shows of it, and how it begins and ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from authz.server.checks import UNKNOWN, Peer
from authz.server.tls import TlsSource

_CERTIFICATE, _INTERMEDIATES = "x509_pem_cert", "x509_pem_cert_chain"  # to a server the chain is told without its leaf
_VERSION, _TLS_1_3 = "ssl_tls_version", b"TLSv1.3"
_MAX_METADATA_BYTES = 64 * 1024

Shown = Mapping[str, Sequence[bytes]]
"""What grpc tells of a caller's TLS, by its names for it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a caller may ask of the transport."""

    max_request_bytes: int
    max_connection_age_seconds: int


class Transport(Protocol):
    """A server that can be bound, started and stopped, once each."""

    @property
    def is_alive(self) -> bool:
        """Whether it answers, or has not begun, or was told to stop."""
        ...

    def listen(self, address: str, tls: TlsSource | None) -> int:
        """Bind the address (`HOST:PORT`, `unix:/path`); returns the port. Raises Unavailable."""
        ...

    async def start(self) -> None:
        """Begin to answer."""
        ...

    async def stop(self, grace_seconds: float) -> None:
        """Take no new calls, give those in flight so long, and end."""
        ...


def options_of(limits: Limits) -> list[tuple[str, int]]:
    """The limits, as grpc's servers are told them."""
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


def peer_of(shown: Shown) -> Peer:
    """Who called, over TLS 1.3: grpc would also take 1.2, and has no switch against it; such a caller is nobody."""
    if shown.get(_VERSION) != [_TLS_1_3] or _CERTIFICATE not in shown:
        return UNKNOWN
    certificate, intermediates = shown[_CERTIFICATE][0], b"".join(shown.get(_INTERMEDIATES, ()))
    chain = certificate + intermediates if intermediates else b""
    return Peer(certificate.decode("latin-1"), chain.decode("latin-1"))  # ASCII, as grpc writes it
