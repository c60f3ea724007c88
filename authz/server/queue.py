"""A gRPC server of unary methods on grpcio's own completion queue: message bytes in, answer bytes out.

It costs a quarter of what `grpc.aio` does, because one thread takes each call from the queue, thinks, and answers,
with no event loop between. In exchange nothing here forgives: a wrong order of calls ends the process, and an empty
message would be an allow to Envoy. So this module alone touches `cygrpc`, and only in ways that were tried with the
versions named here.

A batch is a tuple of operations that grpc performs together; its end comes as an event that carries the batch's tag.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
from grpc._cython import cygrpc

from authz.core.errors import Unavailable
from authz.server.checks import Metadata
from authz.server.tls import TlsSource, server_credentials
from authz.server.transport import Limits, Shown, options_of

OLDEST, NEWEST = (1, 84), (1, 85)
"""The versions of grpcio, by major and minor, with which the tests of this module ran."""

_SLOTS = 1024  # calls that grpc may have waiting for this thread: at a stop it cancels those beyond
_MOST_DEFERRED = 4096
_MOST_PENDING = 1_000_000  # grpc would cancel calls beyond a thousand while the thread is busy
_LAST_WORDS_SECONDS = 0.1
_NO_METADATA: tuple[object, ...] = ()
_NO_FLAGS = 0
_OK, _UNIMPLEMENTED, _INTERNAL = 0, 12, 13
_FOREVER_SECONDS = 1e9
_log = logging.getLogger("authz.server")


class Refusal(Exception):
    """A handler's way to end a call with a status of gRPC: for methods whose errors are no answers to Envoy."""

    def __init__(self, code: int, details: str) -> None:
        super().__init__(details)
        self.code, self.details = code, details.encode()


@dataclass(frozen=True, slots=True)
class Deferred:
    """A handler's word that the answer comes later, through `Call.answer`, and not before `begin` was called."""

    begin: Callable[[], object]


Handler = Callable[["Call", bytes], bytes | Deferred]
"""Answers a call, or says how it will be answered; raises Refusal. On the queue's thread."""


def why_not() -> str:
    """Why the installed grpcio is not one to do this with; empty where it is."""
    version = tuple(int(part) for part in grpc.__version__.split(".")[:2])
    if OLDEST <= version <= NEWEST:
        return ""
    return f"grpcio {grpc.__version__} is not between {'.'.join(map(str, OLDEST))} and {'.'.join(map(str, NEWEST))}"


class Call:
    """One call that was accepted."""

    __slots__ = ("_details", "core", "handler", "is_cancelled", "metadata", "on_cancel", "server")

    def __init__(self, server: "QueueServer", handler: Handler, event: Any) -> None:  # noqa: ANN401  grpcio has no types
        self.server, self.handler, self.core = server, handler, event.call
        self._details = event.call_details
        self.metadata: Metadata = event.invocation_metadata
        self.is_cancelled = False
        self.on_cancel: Callable[[], object] | None = None
        """Called on the queue's thread when the caller gave up a call that was deferred."""

    def remaining_seconds(self) -> float | None:
        """Until the caller gives up; None where it never does."""
        remaining: float = self._details.deadline - time.time()
        return remaining if remaining < _FOREVER_SECONDS else None

    def shown(self) -> Shown:
        """What the caller's TLS showed. Only in the handler: a call that is over must not be asked."""
        found: Mapping[bytes, list[bytes]] = cygrpc.auth_context(self.core)
        return {name.decode(): values for name, values in found.items()}

    def answer(self, message: bytes) -> None:
        """Answer a deferred call, from any thread. Nothing where the caller gave up or the server stopped."""
        self.server.answer(self, message)


class QueueServer:
    """Serves methods. `listen`, `start` and `stop` may be called from any thread."""

    def __init__(self, methods: Mapping[str, Handler], limits: Limits, *, fallback: bytes) -> None:
        """`fallback` answers for a handler that fails, and where too many calls are deferred or the server stops."""
        self._methods = {name.encode(): handler for name, handler in methods.items()}
        self._fallback = _whole(fallback)
        self._lock = threading.Lock()  # no other thread may be inside grpc while the queue's thread ends it
        self._deferred: set[Call] = set()
        self._is_stopping = self._is_over = False
        self._ended = threading.Event()
        self._queue = cygrpc.CompletionQueue()
        pending = ("grpc.server.max_pending_requests", "grpc.server.max_pending_requests_hard_limit")
        self._core = cygrpc.Server([*options_of(limits), *((name, _MOST_PENDING) for name in pending)], False)  # noqa: FBT003  no xDS
        self._core.register_completion_queue(self._queue)
        # A daemon: an interpreter that ends without a stop would wait for it for ever.
        self._thread = threading.Thread(target=self._run, name="checks", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs, or has not begun, or was told to stop."""
        return self._is_stopping or self._thread.ident is None or self._thread.is_alive()

    @property
    def deferred(self) -> int:
        """How many calls wait for an answer from another thread."""
        return len(self._deferred)

    def listen(self, address: str, tls: TlsSource | None) -> int:
        """Bind the address, before the start; returns the port. Raises Unavailable."""
        credentials = None if tls is None else server_credentials(tls)._credentials  # noqa: SLF001  as grpc's own servers do
        try:
            port = int(self._core.add_http2_port(address.encode(), credentials))
        except RuntimeError as error:
            raise Unavailable(f"cannot listen on {address}: {error}; is another process on it?") from error
        if not port:
            raise Unavailable(f"cannot listen on {address}; is another process on it?")
        return port

    def start(self) -> None:
        """Begin to answer."""
        self._core.start()
        for _ in range(_SLOTS):
            self._core.request_call(self._queue, self._queue, self._arrived)
        self._thread.start()

    def stop(self, grace_seconds: float) -> None:
        """Take no new calls, give the deferred ones so long, deny the rest, and end. Not on the queue's own thread."""
        with self._lock:  # its event may arrive while `shutdown` is still at work
            if not self._is_stopping:
                self._is_stopping = True
                self._core.shutdown(self._queue, self._over)
        if not self._ended.wait(grace_seconds):
            for call in tuple(self._deferred):
                self.answer(call, self._fallback)
            self._ended.wait(_LAST_WORDS_SECONDS)
            with self._lock:
                if not self._is_over:  # peers that say nothing could hold it up for as long as they like
                    self._core.cancel_all_calls()
        self._thread.join()

    def answer(self, call: Call, message: bytes) -> None:
        """Answer a deferred call; see `Call.answer`."""
        operations = _answer(_whole(message))
        with self._lock:
            # Each is answered once: of two messages Envoy would take the last.
            if not self._is_over and call in self._deferred:
                self._deferred.discard(call)
                self._begin(call.core, operations, _nothing)
                call.core = None

    def _run(self) -> None:
        while True:
            event = None  # nothing of the last call survives into the wait
            try:
                event = self._queue.poll()
                if event.completion_type != cygrpc.CompletionType.operation_complete:
                    break  # the queue has ended, and nothing is left in it
                event.tag(event)
            except Exception:  # noqa: BLE001  one call's trouble is not the others'
                _log.exception("a call failed in its transport")
        self._ended.set()

    def _arrived(self, event: Any) -> None:  # noqa: ANN401  grpcio has no types
        if not event.success:
            return  # a slot that the stop gives back: there is no call in it, and to touch it ends the process
        if not self._is_stopping:
            with suppress(ValueError):  # the stop came in between
                self._core.request_call(self._queue, self._queue, self._arrived)
        handler = self._methods.get(event.call_details.method)
        if handler is None:
            self._refuse(event.call, _UNIMPLEMENTED, b"there is no such method")
            return
        call = Call(self, handler, event)
        receive = cygrpc.ReceiveMessageOperation(_NO_FLAGS)
        self._begin(call.core, (receive,), lambda received: self._received(call, received))

    def _received(self, call: Call, event: Any) -> None:  # noqa: ANN401  grpcio has no types
        message = event.batch_operations[0].message()
        if message is None:  # none was sent, or it was broken, too long, or given up
            self._refuse(call.core, _INTERNAL, b"there is no message")
            return
        try:
            outcome = call.handler(call, message)
            if isinstance(outcome, Deferred) and len(self._deferred) < _MOST_DEFERRED:
                self._defer(call, outcome)
                return
            answer = self._fallback if isinstance(outcome, Deferred) else _whole(outcome)
        except Refusal as refusal:
            self._refuse(call.core, refusal.code, refusal.details)
            return
        except Exception:  # noqa: BLE001  whatever a handler meets, its caller gets an explicit denial
            _log.exception("a call's handler failed; it was denied")
            answer = self._fallback
        operations = (*_answer(answer), cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS))
        self._begin(call.core, operations, _nothing)

    def _defer(self, call: Call, deferred: Deferred) -> None:
        self._deferred.add(call)
        self._begin(
            call.core, (cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS),), lambda event: self._closed(call, event)
        )
        try:
            deferred.begin()
        except Exception:  # noqa: BLE001  as above
            _log.exception("a call could not be deferred; it was denied")
            self.answer(call, self._fallback)

    def _refuse(self, core: Any, code: int, details: bytes) -> None:  # noqa: ANN401  grpcio has no types
        operations = (
            cygrpc.SendInitialMetadataOperation(_NO_METADATA, _NO_FLAGS),
            cygrpc.SendStatusFromServerOperation(_NO_METADATA, code, details, _NO_FLAGS),
            cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS),
        )
        self._begin(core, operations, _nothing)

    def _begin(self, core: Any, operations: Sequence[object], tag: Callable[[Any], object]) -> None:  # noqa: ANN401  as above
        """Have grpc perform the operations. From another thread only under the lock."""
        if self._is_over:
            return  # events of calls that are dead may come after the end, and a batch then ends the process
        error = core.start_server_batch(operations, tag)
        if error:
            raise RuntimeError(f"grpc refused a batch with {error}")

    def _closed(self, call: Call, event: Any) -> None:  # noqa: ANN401  as above
        """A deferred call has come to its end: answered, or given up by its caller."""
        if not event.batch_operations[0].cancelled():
            return
        with self._lock:
            if call not in self._deferred:
                return
            self._deferred.discard(call)
            call.core = None
        call.is_cancelled = True
        if call.on_cancel is not None:
            call.on_cancel()

    def _over(self, _event: Any) -> None:  # noqa: ANN401  as above
        """Every call has ended after `shutdown`: let go of grpc's server, then of the queue."""
        with self._lock:
            self._is_over = True
            self._deferred.clear()
            self._core.destroy()
            self._queue.shutdown()


def _nothing(_event: object) -> None:
    """The end of a batch after which there is nothing to do."""


def _whole(message: object) -> bytes:
    """The message, which is one: None and the empty message would go out as an empty one, and be an allow."""
    if type(message) is not bytes or not message:
        raise TypeError("an answer is bytes, and not empty")
    return message


def _answer(message: bytes) -> tuple[object, ...]:
    """Operations that send the message and the status. Made for each call anew: two calls must never share one."""
    return (
        cygrpc.SendInitialMetadataOperation(_NO_METADATA, _NO_FLAGS),
        cygrpc.SendMessageOperation(message, _NO_FLAGS),
        cygrpc.SendStatusFromServerOperation(_NO_METADATA, _OK, b"", _NO_FLAGS),
    )
