"""The server on the completion queue: whatever a handler or a caller does, a call gets one answer, and no empty one."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from authz.core.errors import Unavailable
from authz.server.limits import options
from authz.server.queue import SLOTS, Call, NoAnswer, QueueServer
from tests.support.queue_server import FALLBACK, LIMITS, METHOD, ask, queue_server, status_of
from tests.support.servers import until

ANSWER = b"an answer"


def echo(message: bytes, call: Call) -> None:
    """Say it back."""
    call.answer(b"echo " + message)


def fail(_message: bytes, _call: Call) -> None:
    """A defect."""
    raise ValueError("a defect")


def panic(_message: bytes, _call: Call) -> None:
    """What native code raises is no Exception."""
    raise KeyboardInterrupt


def forget(_message: bytes, _call: Call) -> None:
    """Neither answer nor defer."""


def answering(*messages: Any) -> Callable[[bytes, Call], None]:  # noqa: ANN401  what no type checker lets through too
    """A handler that answers with each of these in turn."""

    def handle(_message: bytes, call: Call) -> None:
        for message in messages:
            call.answer(message)

    return handle


def answer_then_fail(_message: bytes, call: Call) -> None:
    """A defect behind the answer."""
    call.answer(ANSWER)
    raise ValueError("too late")


def answer_then_refuse(_message: bytes, call: Call) -> None:
    """A status behind the answer."""
    call.answer(ANSWER)
    raise NoAnswer(grpc.StatusCode.NOT_FOUND, "too late")


@pytest.mark.parametrize(
    "handler",
    [fail, panic, forget, answering(None), answering(b""), answering("text"), answering(bytearray(b"x"))],
    ids=["raises", "panics", "forgets", "None", "empty", "text", "bytearray"],
)
def test_a_handler_that_gives_no_answer_denies(handler: Callable[[bytes, Call], None]) -> None:
    """An empty message would be an allow to Envoy; what leaves is the fallback, and the server goes on."""
    with queue_server(handler, methods={"/test.Service/Echo": echo}) as (_, address):
        assert ask(address) == FALLBACK
        assert ask(address, b"x", method="/test.Service/Echo") == b"echo x"


@pytest.mark.parametrize(
    "handler",
    [answering(ANSWER, b"another"), answering(ANSWER, ANSWER, ANSWER), answer_then_fail, answer_then_refuse],
    ids=["twice", "thrice", "then fails", "then refuses"],
)
def test_the_first_answer_is_the_only_one(handler: Callable[[bytes, Call], None]) -> None:
    """Envoy would take the last of two messages."""
    with queue_server(handler) as (_, address):
        assert ask(address) == ANSWER


def test_a_fallback_that_is_no_answer_is_not_accepted() -> None:
    """It would be sent where everything else has failed."""
    with pytest.raises(TypeError, match="not empty"):
        QueueServer({}, b"", [])


class Waiting:
    """A handler that defers calls and keeps them."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.cancelled: list[Call] = []

    def __call__(self, _message: bytes, call: Call) -> None:
        """Defer it."""
        call.on_cancel = lambda: self.cancelled.append(call)
        call.defer()
        self.calls.append(call)


def test_a_deferred_call_is_answered_once_from_whatever_thread() -> None:
    """Of many threads that answer one call, exactly one is told that it did."""
    waiting = Waiting()
    with queue_server(waiting) as (server, address), ThreadPoolExecutor(9) as pool:
        for _ in range(20):
            caller = pool.submit(ask, address)
            until(lambda: bool(waiting.calls))
            call = waiting.calls.pop()
            told = list(pool.map(call.answer, [ANSWER] * 8))
            assert caller.result() == ANSWER
            assert told.count(True) == 1
        assert not server.deferred
        assert not waiting.cancelled


def test_what_is_no_answer_leaves_a_deferred_call_waiting() -> None:
    """The mistake raises where it is made, and the right answer still goes out."""
    waiting = Waiting()
    with queue_server(waiting) as (_, address), ThreadPoolExecutor(1) as pool:
        caller = pool.submit(ask, address)
        until(lambda: bool(waiting.calls))
        with pytest.raises(TypeError):
            waiting.calls[0].answer(b"")
        assert waiting.calls[0].answer(ANSWER)
        assert caller.result() == ANSWER


def test_a_handler_that_fails_after_it_deferred_denies() -> None:
    """The caller is not left to wait."""

    def handle(_message: bytes, call: Call) -> None:
        call.defer()
        raise ValueError("a defect")

    with queue_server(handler=handle) as (server, address):
        assert ask(address) == FALLBACK
        assert not server.deferred


def test_a_call_cannot_be_deferred_twice_or_after_its_answer() -> None:
    """A second wait for its end would never be told of it."""

    def twice(_message: bytes, call: Call) -> None:
        call.defer()
        call.defer()

    def after(_message: bytes, call: Call) -> None:
        call.answer(ANSWER)
        with pytest.raises(ValueError, match="waits for its answer"):
            call.defer()

    with queue_server(twice, methods={"/test.Service/After": after}) as (_, address):
        assert ask(address) == FALLBACK
        assert ask(address, method="/test.Service/After") == ANSWER


def gives_up_at_its_deadline(channel: grpc.Channel, _waiting: Waiting) -> None:
    """Wait, but not for long."""
    with pytest.raises(grpc.RpcError):
        channel.unary_unary(METHOD)(b"x", timeout=0.3)


def cancels(channel: grpc.Channel, waiting: Waiting) -> None:
    """Send, and cancel once the call is there."""
    before = len(waiting.calls)
    future = channel.unary_unary(METHOD).future(b"x", timeout=30)
    until(lambda: len(waiting.calls) > before)
    future.cancel()


def goes_away(channel: grpc.Channel, waiting: Waiting) -> None:
    """Send, and close the connection once the call is there."""
    future = channel.unary_unary(METHOD).future(b"x", timeout=30)
    until(lambda: bool(waiting.calls))
    channel.close()
    assert future.done()


@pytest.mark.parametrize("give_up", [gives_up_at_its_deadline, cancels, goes_away])
def test_a_caller_that_gives_up_is_noticed(give_up: Callable[[grpc.Channel, Waiting], None]) -> None:
    """The handler's work is cancelled, an answer that comes later goes nowhere, and nothing is kept."""
    waiting = Waiting()
    with queue_server(waiting) as (server, address):
        for _ in range(3):
            with grpc.insecure_channel(address) as channel:
                grpc.channel_ready_future(channel).result(30)
                give_up(channel, waiting)
            until(lambda: len(waiting.cancelled) == len(waiting.calls) > 0)
            assert not server.deferred
            assert not any(call.answer(ANSWER) for call in waiting.calls)
            assert all(call.is_over for call in waiting.calls)
            waiting.calls.clear()
            waiting.cancelled.clear()


def test_a_call_knows_how_long_its_caller_waits() -> None:
    """Seconds until the deadline; None where there is none."""
    told: list[float | None] = []

    def handle(_message: bytes, call: Call) -> None:
        told.append(call.remaining_seconds)
        call.answer(ANSWER)

    with queue_server(handle) as (_, address), grpc.insecure_channel(address) as channel:
        channel.unary_unary(METHOD)(b"x", timeout=20)
        channel.unary_unary(METHOD)(b"x")
    assert told[0] is not None
    assert 0 < told[0] <= 21, "grpc turns its own clock into ours, not to the last millisecond"
    assert told[1] is None


def test_other_methods_are_unimplemented() -> None:
    """And the server goes on."""
    with queue_server(echo) as (_, address):
        for method in ("/test.Service/Other", "/other.Service/Ask", "//", "/test.Service/Ask?x=1"):
            assert status_of(address, method=method) is grpc.StatusCode.UNIMPLEMENTED
        assert ask(address, b"x") == b"echo x"


def test_a_message_above_the_limit_is_refused_and_an_empty_one_is_not() -> None:
    """The limit is the transport's; what an empty message means is the handler's."""
    with queue_server(echo) as (_, address):
        assert status_of(address, b"x" * (LIMITS.max_request_bytes + 1)) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert ask(address, b"") == b"echo "


def test_a_status_that_a_handler_wants_is_given() -> None:
    """As health does for services that there are not."""

    def handle(_message: bytes, _call: Call) -> None:
        raise NoAnswer(grpc.StatusCode.NOT_FOUND, "there is none")

    with queue_server(handle) as (_, address):
        assert status_of(address) is grpc.StatusCode.NOT_FOUND


def test_a_call_without_a_message_ends() -> None:
    """It is told so at once, and not left to wait for its deadline."""
    with queue_server(echo) as (_, address), grpc.insecure_channel(address) as channel:
        with pytest.raises(grpc.RpcError) as error:
            channel.stream_unary(METHOD)(iter(()), timeout=30)
        assert error.value.code() is grpc.StatusCode.INTERNAL


def test_calls_that_wait_for_the_thread_are_not_cancelled() -> None:
    """At a thousand grpc would begin to cancel them; here three thousand wait, and all are answered."""
    go = threading.Event()

    def slow(_message: bytes, call: Call) -> None:
        go.wait(60)
        call.answer(ANSWER)

    with queue_server(slow) as (_, address), grpc.insecure_channel(address) as channel:
        futures = [channel.unary_unary(METHOD).future(b"x", timeout=120) for _ in range(3 * SLOTS)]
        time.sleep(1)
        go.set()
        assert {future.result() for future in futures} == {ANSWER}


def test_a_port_that_is_taken_is_refused() -> None:
    """Two servers never share the calls of a port."""
    with queue_server(echo) as (_, address):
        other = QueueServer({METHOD: echo}, FALLBACK, options(LIMITS))
        with pytest.raises(Unavailable, match="another process"):
            other.listen(address, None)
        assert ask(address, b"x") == b"echo x"


def test_it_answers_on_a_unix_socket(tmp_path: Path) -> None:
    """As on a port."""
    server = QueueServer({METHOD: echo}, FALLBACK, options(LIMITS))
    address = f"unix:{tmp_path}/queue.sock"
    server.listen(address, None)
    server.start()
    try:
        assert ask(address, b"x") == b"echo x"
    finally:
        server.stop(0)


HEAD = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
RAW = (
    b"\x00" * 100,
    b"GET / HTTP/1.1\r\n\r\n",
    HEAD + b"\xff" * 500,
    HEAD + b"\x00\x00\x01\x01\x05\x00\x00\x00\x01\x80",
)


@pytest.fixture
def echoing() -> Iterator[tuple[QueueServer, str]]:
    """A server that echoes."""
    with queue_server(echo) as running:
        yield running


@pytest.mark.parametrize("raw", RAW, ids=["zeros", "HTTP/1.1", "frames of nothing", "headers of nothing"])
def test_bytes_that_are_no_calls_do_no_harm(echoing: tuple[QueueServer, str], raw: bytes) -> None:
    """Whoever sends them is cut off, or waits for nothing; callers are answered."""
    server, address = echoing
    host, port = address.split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(raw)
        assert ask(address, b"x") == b"echo x"
    assert not server.why_down
