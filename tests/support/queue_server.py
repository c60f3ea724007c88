"""A server on the completion queue in this process, and calls of real gRPC clients to it."""

import contextlib
from collections.abc import Callable, Iterator, Mapping

import grpc

from authz.server.limits import Limits, options
from authz.server.queue import Call, QueueServer

FALLBACK = b"\x0a\x02\x08\x0e"
METHOD = "/test.Service/Ask"
LIMITS = Limits(1024 * 1024, 600)
PATIENCE_SECONDS = 30.0


@contextlib.contextmanager
def queue_server(
    handler: Callable[[bytes, Call], None],
    *,
    grace_seconds: float = 0.0,
    methods: Mapping[str, Callable[[bytes, Call], None]] | None = None,
) -> Iterator[tuple[QueueServer, str]]:
    """A server that serves the handler until the block ends, and its address."""
    server = QueueServer({METHOD: handler, **(methods or {})}, FALLBACK, options(LIMITS))
    address = f"127.0.0.1:{server.listen('127.0.0.1:0', None)}"
    server.start()
    try:
        yield server, address
    finally:
        server.stop(grace_seconds)


def ask(address: str, message: bytes = b"hello", *, method: str = METHOD, seconds: float = PATIENCE_SECONDS) -> bytes:
    """One call over a connection of its own; raises RpcError."""
    with grpc.insecure_channel(address) as channel:
        answer: bytes = channel.unary_unary(method)(message, timeout=seconds)
        return answer


def status_of(address: str, message: bytes = b"hello", *, method: str = METHOD) -> grpc.StatusCode:
    """How a call ends."""
    try:
        ask(address, message, method=method)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK
