"""What a caller may ask of our ports, in grpc's words."""

from dataclasses import dataclass

_MAX_METADATA_BYTES = 64 * 1024
_MAX_PENDING = 100_000

NOT_SHARED = ("grpc.so_reuseport", 0)
"""A second server on the port must fail, not share the calls."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a caller may ask of the transport."""

    max_request_bytes: int
    max_connection_age_seconds: int


def options(limits: Limits) -> list[tuple[str, int]]:
    """The options of a server of checks. Values are integers: grpc passes over others without a word."""
    return [
        # Above Envoy's own body limit: a message over the limit is a gRPC error, and that may be an allow.
        ("grpc.max_receive_message_length", limits.max_request_bytes),
        # Equal limits: between two different ones grpc refuses by chance.
        ("grpc.max_metadata_size", _MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", _MAX_METADATA_BYTES),
        # Calls may come faster than they are taken up for a moment; at a thousand grpc would begin to cancel them.
        ("grpc.server.max_pending_requests", _MAX_PENDING),
        ("grpc.server.max_pending_requests_hard_limit", _MAX_PENDING),
        NOT_SHARED,
        ("grpc.max_connection_age_ms", limits.max_connection_age_seconds * 1000),
        # Envoy's keep-alive pings are no abuse.
        ("grpc.http2.min_ping_interval_without_data_ms", 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_ping_strikes", 0),
    ]
