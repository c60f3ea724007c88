"""A gRPC server of unary calls, bytes in and bytes out, on grpcio's own completion queue: one thread serves all.

The one module that touches `grpc._cython.cygrpc`, on which the library's own servers are built. Mistakes with it do not
raise: they abort the process, hang it, or send an empty message, which Envoy takes for an allow. So whatever a handler
does, each call gets exactly one answer, and that is bytes and not empty. `docs/decisions/0029-the-fast-lane.md` names
the versions this holds for.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import grpc
from grpc._cython import cygrpc

from authz.core.errors import Unavailable

SLOTS = 1024
"""How many calls are taken in at once. Those that found no slot are cancelled when the server stops."""
AT_ONCE = 16
"""How many events are taken together where so many wait. The answers to all wait for the last of them."""
_FOREVER_UNIX_SECONDS = 1e12  # grpc tells of a deadline that is none as one in billions of years
_ANSWERS_OUT_SECONDS, _JOIN_SECONDS = 0.1, 5.0
_NOW = 0.0  # a moment long ago, to grpc: it does not wait
_OK, _NOTHING = 0, ()
_ARRIVED, _STOPPED = object(), object()
_COMPLETE = cygrpc.CompletionType.operation_complete

_log = logging.getLogger("authz.server")


class NoAnswer(Exception):
    """Raised by a handler: the call ends with this gRPC status. Not where Envoy asks: it may take that for an allow."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(code, details)
        self.code, self.details = code, details


class Call:
    """A call that a handler must answer, before it returns or, once it is deferred, later and from any thread."""

    __slots__ = ("_core", "_deadline_unix_seconds", "_handler", "_is_deferred", "_server", "metadata", "on_cancel")

    def __init__(self, server: "QueueServer", handler: "Handler", event: Any) -> None:  # noqa: ANN401  cygrpc's
        self._server, self._handler = server, handler
        self._core = event.call  # None once the call is over
        self._is_deferred = False
        self._deadline_unix_seconds: float = event.call_details.deadline
        self.metadata: Iterable[tuple[str, Any]] = event.invocation_metadata
        self.on_cancel: Callable[[], object] | None = None
        """Called, on the server's thread, where the caller gives up on a deferred call."""

    @property
    def is_over(self) -> bool:
        """Whether it was answered or given up."""
        return self._core is None

    @property
    def remaining_seconds(self) -> float | None:
        """Until the caller gives up; None where it never does."""
        until = self._deadline_unix_seconds
        return until - time.time() if until < _FOREVER_UNIX_SECONDS else None

    def shown(self) -> Mapping[bytes, Sequence[bytes]]:
        """What the TLS of the call showed of its caller, in grpc's words. While the handler runs."""
        found: Mapping[bytes, Sequence[bytes]] = cygrpc.auth_context(self._core)
        return found

    def answer(self, message: bytes, then: Callable[[], None] | None = None) -> bool:
        """Answer it. False: it was answered before, or the caller or the server has given it up.

        `then` is called once the answer of a call that was not deferred is on its way.
        """
        _must_be_an_answer(message)
        server = self._server
        # Made before the call is given up, so that what fails leaves it answerable. And made for it alone: operations
        # own buffers, and those of one that two calls share are freed twice.
        operations = (
            cygrpc.SendInitialMetadataOperation(_NOTHING, 0),
            cygrpc.SendMessageOperation(message, 0),
            cygrpc.SendStatusFromServerOperation(_NOTHING, _OK, b"", 0),
        )
        if not self._is_deferred:  # so we are in its handler, on the server's thread
            core, self._core = self._core, None
            if core is not None:
                server.outgoing.append((core, (*operations, cygrpc.ReceiveCloseOnServerOperation(0)), then))
            return core is not None
        with server.lock:
            if server.is_closed or self not in server.deferred:
                return False
            server.deferred.discard(self)
            core, self._core = self._core, None
            server.begin(core, operations, _nothing_to_do)
            return True

    def defer(self) -> None:
        """Say that the answer comes later. While the handler runs."""
        if self._core is None or self._is_deferred:
            raise ValueError("only a call that waits for its answer can be deferred")
        self._server.begin(self._core, (cygrpc.ReceiveCloseOnServerOperation(0),), self.closed)
        self._is_deferred = True
        self._server.deferred.add(self)

    def end(self, code: grpc.StatusCode, details: str) -> None:
        """End it with a status; for the server."""
        core, self._core = self._core, None
        operations = (
            cygrpc.SendInitialMetadataOperation(_NOTHING, 0),
            cygrpc.SendStatusFromServerOperation(_NOTHING, code.value[0], details.encode(), 0),
            cygrpc.ReceiveCloseOnServerOperation(0),
        )
        self._server.begin(core, operations, _nothing_to_do)

    def received(self, event: Any) -> None:  # noqa: ANN401  cygrpc's
        """Handle its message; for the server."""
        message = event.batch_operations[0].message()
        if self._server.is_closed:  # calls whose callers are gone come after the end too
            return
        if message is None:  # never sent, malformed, or above the limit
            self.end(grpc.StatusCode.INTERNAL, "no message")
            return
        try:
            self._handler(message, self)
        except NoAnswer as ended:
            if self._core is not None and not self._is_deferred:
                self.end(ended.code, ended.details)
        except BaseException:  # noqa: BLE001  the call must be answered
            _log.exception("a handler failed; the call is denied")
            self.answer(self._server.fallback)
        if self._core is not None and not self._is_deferred:
            _log.error("a handler gave no answer; the call is denied")
            self.answer(self._server.fallback)

    def closed(self, event: Any) -> None:  # noqa: ANN401  cygrpc's
        """A deferred call has ended, perhaps because its caller gave up; for the server."""
        if not event.batch_operations[0].cancelled():
            return
        with self._server.lock:
            if self not in self._server.deferred:
                return
            self._server.deferred.discard(self)
            self._core = None
        if self.on_cancel is not None:
            self.on_cancel()


Handler = Callable[[bytes, Call], None]
"""Takes a message and sees to it that the call is answered. It runs on the server's thread, which serves nothing else
meanwhile. What it leaves unanswered, and does not defer, gets the server's fallback."""


class QueueServer:
    """The server. Made and stopped on any thread; `start` begins a thread of its own. Attributes are for its calls."""

    def __init__(self, methods: Mapping[str, Handler], fallback: bytes, options: Iterable[tuple[str, int]]) -> None:
        """`methods` by full name; others are UNIMPLEMENTED. `fallback` answers where a handler does not."""
        _must_be_an_answer(fallback)
        self._methods = {name.encode(): handler for name, handler in methods.items()}
        self.fallback = fallback
        self.lock = threading.Lock()  # keeps what other threads ask of the core away from its end
        self.deferred: set[Call] = set()
        self.outgoing: list[tuple[Any, Sequence[Any], Callable[[], None] | None]] = []
        self._is_stopping = self.is_closed = self._is_drained = False
        self._ended = threading.Event()
        self._queue = cygrpc.CompletionQueue()
        self._core = cygrpc.Server(list(options), False)  # noqa: FBT003  no xDS; it takes no names
        self._core.register_completion_queue(self._queue)
        self._thread: threading.Thread | None = None

    def listen(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        """Bind `HOST:PORT` or `unix:/path`; the port, and 1 for a socket. Raises Unavailable."""
        port = int(self._core.add_http2_port(address.encode(), credentials and credentials._credentials))  # noqa: SLF001  as grpc does
        if not port:
            raise Unavailable(f"cannot listen on {address}; is another process on it?")
        return port

    def start(self) -> None:
        """Serve, on a thread that ends with `stop`, or with the process."""
        self._core.start()
        for _ in range(SLOTS):
            self._core.request_call(self._queue, self._queue, _ARRIVED)
        # The thread holds all that is grpc's: to let go of it without the steps of `stop` would hang the interpreter.
        self._thread = threading.Thread(target=self._run, name="fast-lane", daemon=True)
        self._thread.start()

    @property
    def why_down(self) -> str:
        """Why it serves no more although it was not stopped; empty where it does."""
        is_fine = self._thread is None or self._thread.is_alive() or self._is_stopping
        return "" if is_fine else "the thread that answers checks has ended"

    def stop(self, grace_seconds: float) -> None:
        """Take no new calls, give the present ones so long, answer the others with the fallback. Not on its own thread.

        It may be called again, also while it is under way.
        """
        if self._thread is None:
            return
        with self.lock:  # or the core could be destroyed while it is still in shutdown()
            if not self._is_stopping:
                self._is_stopping = True
                self._core.shutdown(self._queue, _STOPPED)
        if not self._ended.wait(grace_seconds):
            for call in tuple(self.deferred):
                call.answer(self.fallback)
            self._ended.wait(_ANSWERS_OUT_SECONDS)
            with self.lock:
                if not self.is_closed:  # a silent peer would keep its connection, and us, for as long as it likes
                    self._core.cancel_all_calls()
        self._thread.join(_JOIN_SECONDS)

    def begin(self, core_call: Any, operations: Sequence[Any], tag: Callable[[Any], None]) -> None:  # noqa: ANN401  cygrpc's
        """Have grpc do something for a call; from another thread under the lock."""
        if self.is_closed:  # what is begun after the end of the queue aborts the process
            return
        if error := core_call.start_server_batch(operations, tag):  # a number, and then no event comes
            raise RuntimeError(f"grpc refused a batch: {error}")

    def _run(self) -> None:
        while not self._is_drained:
            _safely(self._serve)
        self._ended.set()

    def _serve(self) -> None:
        """Wait for events and take them, then send what was answered.

        Handlers run one behind the other, and so does grpc: each is quicker while the processor's caches are its own.
        """
        for event in self._events():
            _safely(self._take, event)
        outgoing, self.outgoing = self.outgoing, []
        for core, operations, _ in outgoing:
            _safely(self.begin, core, operations, _nothing_to_do)
        for _, _, then in outgoing:
            if then is not None:
                _safely(then)

    def _events(self) -> list[Any]:
        """One that is waited for, and those that are there besides; new calls come first."""
        events = list[Any]()
        event = self._queue.poll()
        while event.completion_type == _COMPLETE:
            events.append(event)
            if len(events) == AT_ONCE:
                break
            event = self._queue.poll(_NOW)
        self._is_drained = event.completion_type == cygrpc.CompletionType.queue_shutdown
        events.sort(key=lambda event: event.tag is not _ARRIVED)
        return events

    def _take(self, event: Any) -> None:  # noqa: ANN401  cygrpc's
        if event.tag is _ARRIVED:
            self._arrived(event)
        elif event.tag is _STOPPED:
            self._destroy()
        else:
            event.tag(event)

    def _arrived(self, event: Any) -> None:  # noqa: ANN401  cygrpc's
        if not event.success:  # a slot that comes back; what it holds must not be touched
            return
        if not self._is_stopping:
            with suppress(ValueError):  # `stop` came in between
                self._core.request_call(self._queue, self._queue, _ARRIVED)
        handler = self._methods.get(event.call_details.method)
        if handler is None:
            Call(self, _never_run, event).end(grpc.StatusCode.UNIMPLEMENTED, "unknown method")
        else:
            self.begin(event.call, (cygrpc.ReceiveMessageOperation(0),), Call(self, handler, event).received)

    def _destroy(self) -> None:
        with self.lock:
            self.is_closed = True
            self.deferred.clear()
            self._core.destroy()
            self._queue.shutdown()  # poll() still gives what is in it


def _safely(do: Callable[..., None], *arguments: Any) -> None:  # noqa: ANN401  whatever it takes
    try:
        do(*arguments)
    except BaseException:  # noqa: BLE001  a thread that ends answers nobody, and its port stays open
        _log.exception("the fast lane failed at a call")


def _must_be_an_answer(message: bytes) -> None:
    if message.__class__ is not bytes or not message:
        raise TypeError("an answer is bytes, and not empty, which would be an allow to Envoy")


def _nothing_to_do(event: Any) -> None:  # noqa: ANN401  cygrpc's
    """For a batch whose end changes nothing."""


def _never_run(message: bytes, call: Call) -> None:
    """For a call that ends before its message is read."""
