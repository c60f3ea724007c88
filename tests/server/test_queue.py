"""The queue's server: whatever handlers, callers and stops do, a call gets one whole answer or a plain error.

A mistake here can end the process. So what could is tried in a process of its own, which must end well.
"""

import concurrent.futures
import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
import pytest

from authz.core.errors import Unavailable
from authz.server.queue import Call, Deferred, Handler, QueueServer, Refusal, why_not
from authz.server.transport import Limits
from tests.support.servers import free_port, until

METHOD, OTHER = "/test.Service/Ask", "/test.Service/Other"
FALLBACK = b"denied"
LIMITS = Limits(1024 * 1024, 600)
pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "it can be used")


@contextmanager
def serving(handler: Handler, limits: Limits = LIMITS) -> Iterator[tuple[QueueServer, str]]:
    """The server and its address while the block runs."""
    address = f"127.0.0.1:{free_port()}"
    server = QueueServer({METHOD: handler}, limits, fallback=FALLBACK)
    server.listen(address, None)
    server.start()
    try:
        yield server, address
    finally:
        server.stop(0.2)


def ask(address: str, message: bytes = b"m", method: str = METHOD, timeout: float = 10) -> bytes:
    """One call on a connection of its own."""
    with grpc.insecure_channel(address) as channel:
        answer: bytes = channel.unary_unary(method)(message, timeout=timeout)
        return answer


def failing(_call: Call, _message: bytes) -> bytes:
    """A handler with a defect."""
    raise ValueError("broken")


@pytest.mark.parametrize(
    "handler",
    [
        failing,
        lambda _call, _message: b"",
        lambda _call, _message: None,
        lambda _call, _message: "text",
        lambda _call, _message: bytearray(b"array"),
        lambda _call, _message: True,
    ],
)
def test_a_handler_that_gives_no_whole_answer_is_a_denial(handler: Handler) -> None:
    """An exception, nothing, the empty message, what is not bytes: each is the fallback, never an empty message."""
    with serving(handler) as (_, address):
        assert ask(address) == FALLBACK


def test_what_a_handler_answers_is_what_the_caller_gets() -> None:
    """Message, metadata and deadline reach the handler; its bytes reach the caller."""
    seen: list[tuple[bytes, dict[str, str], float | None]] = []

    def handler(call: Call, message: bytes) -> bytes:
        seen.append((message, dict(call.metadata), call.remaining_seconds()))
        return message[::-1]

    with serving(handler) as (_, address), grpc.insecure_channel(address) as channel:
        assert channel.unary_unary(METHOD)(b"abc", metadata=[("traceparent", "t")], timeout=5) == b"cba"
        assert channel.unary_unary(METHOD)(b"abc", wait_for_ready=True) == b"cba"
    assert seen[0][:1] == (b"abc",)
    assert seen[0][1]["traceparent"] == "t"
    assert 0 < (seen[0][2] or 0) <= 5
    assert seen[1][2] is None


def test_other_methods_and_messages_beyond_the_limit_are_plain_errors() -> None:
    """UNIMPLEMENTED, RESOURCE_EXHAUSTED, and what the handler refuses; the next call is answered."""

    def handler(_call: Call, message: bytes) -> bytes:
        if message == b"refuse":
            raise Refusal(5, "unknown")
        return b"yes"

    with serving(handler) as (_, address):
        for method, message, code in (
            (OTHER, b"m", grpc.StatusCode.UNIMPLEMENTED),
            ("/", b"m", grpc.StatusCode.UNIMPLEMENTED),
            (METHOD, b"x" * (LIMITS.max_request_bytes + 1), grpc.StatusCode.RESOURCE_EXHAUSTED),
            (METHOD, b"refuse", grpc.StatusCode.NOT_FOUND),
        ):
            with pytest.raises(grpc.RpcError) as error:
                ask(address, message, method)
            assert error.value.code() is code
        assert ask(address) == b"yes"


class Slow:
    """A handler whose calls are answered by another thread, when that is let go."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.cancelled: list[Call] = []

    def __call__(self, call: Call, _message: bytes) -> Deferred:
        """Keep it."""

        def begin() -> None:
            call.on_cancel = lambda: self.cancelled.append(call)
            self.calls.append(call)

        return Deferred(begin)


def test_deferred_calls_are_answered_from_another_thread() -> None:
    """A hundred calls at once, answered in the opposite order, each with its own answer and once."""
    slow = Slow()
    with serving(slow) as (server, address), grpc.insecure_channel(address) as channel:
        futures = [channel.unary_unary(METHOD).future(b"m", timeout=20) for _ in range(100)]
        until(lambda: len(slow.calls) == 100)
        for number, call in reversed(list(enumerate(slow.calls))):
            call.answer(f"{number}".encode())
            call.answer(b"a second answer")
        assert sorted(int(future.result()) for future in futures) == list(range(100))
        until(lambda: server.deferred == 0)
    assert not slow.cancelled


def test_an_answer_that_is_none_is_refused_where_it_is_given() -> None:
    """An empty answer to a deferred call raises where it is made, and the call can still be denied."""
    slow = Slow()
    with serving(slow) as (_, address), grpc.insecure_channel(address) as channel:
        future = channel.unary_unary(METHOD).future(b"m", timeout=20)
        until(lambda: len(slow.calls) == 1)
        with pytest.raises(TypeError):
            slow.calls[0].answer(b"")
        slow.calls[0].answer(FALLBACK)
        assert future.result() == FALLBACK


@pytest.mark.parametrize("how", ["cancel", "deadline", "close"])
def test_a_caller_who_gives_up_is_forgotten(how: str) -> None:
    """Cancelled, past its deadline, or gone: the handler hears of it, and a late answer goes nowhere."""
    slow = Slow()
    with serving(slow) as (server, address):
        channel = grpc.insecure_channel(address)
        futures = [
            channel.unary_unary(METHOD).future(b"m", timeout=0.5 if how == "deadline" else 60) for _ in range(20)
        ]
        until(lambda: len(slow.calls) == 20)
        if how == "cancel":
            for future in futures:
                future.cancel()
        elif how == "close":
            channel.close()
        until(lambda: len(slow.cancelled) == 20)
        assert server.deferred == 0
        for call in slow.calls:
            call.answer(b"late")
        channel.close()
        again = grpc.insecure_channel(address)
        future = again.unary_unary(METHOD).future(b"m", timeout=20)
        until(lambda: len(slow.calls) == 21)
        slow.calls[-1].answer(b"in time")
        assert future.result() == b"in time"
        again.close()


def test_callers_wait_while_a_handler_is_busy_and_none_is_turned_away() -> None:
    """Three thousand calls that come while the thread is busy are all answered."""
    busy = threading.Event()

    def handler(_call: Call, message: bytes) -> bytes:
        if message == b"block":
            busy.set()
            time.sleep(2)
        return b"yes"

    with serving(handler) as (_, address), grpc.insecure_channel(address) as channel:
        first = channel.unary_unary(METHOD).future(b"block", timeout=60)
        busy.wait(10)
        futures = [channel.unary_unary(METHOD).future(b"m", timeout=60) for _ in range(3000)]
        assert {future.result() for future in [first, *futures]} == {b"yes"}


def test_a_stop_lets_deferred_calls_be_answered_and_denies_the_rest() -> None:
    """Within the grace an answer goes out; after it the fallback does."""
    slow = Slow()
    address = f"127.0.0.1:{free_port()}"
    server = QueueServer({METHOD: slow}, LIMITS, fallback=FALLBACK)
    server.listen(address, None)
    server.start()
    with grpc.insecure_channel(address) as channel:
        futures = [channel.unary_unary(METHOD).future(b"m", timeout=20) for _ in range(2)]
        until(lambda: len(slow.calls) == 2)
        stopping = threading.Thread(target=server.stop, args=(1.0,))
        stopping.start()
        time.sleep(0.2)
        slow.calls[0].answer(b"in the grace")
        assert sorted(future.result() for future in futures) == [FALLBACK, b"in the grace"]
        stopping.join(10)
    assert not stopping.is_alive()
    slow.calls[1].answer(b"after the end")
    server.stop(0)


def test_a_port_that_is_taken_is_said_plainly() -> None:
    """The second server on a port is told, and does not share its calls."""
    with serving(lambda _call, _message: b"yes") as (_, address):
        second = QueueServer({}, LIMITS, fallback=FALLBACK)
        with pytest.raises(Unavailable, match="cannot listen"):
            second.listen(address, None)


PROGRAM = """
import os, signal, sys, threading, time
import grpc
from authz.server.queue import Call, Deferred, QueueServer
from authz.server.transport import Limits

METHOD, FALLBACK, LIMITS = "/test.Service/Ask", b"denied", Limits(1024 * 1024, 600)


def made(handler=lambda call, message: b"yes"):
    server = QueueServer({METHOD: handler}, LIMITS, fallback=FALLBACK)
    port = server.listen("127.0.0.1:0", None)
    server.start()
    return server, grpc.insecure_channel(f"127.0.0.1:{port}")


def asking(channel, calls):
    return [channel.unary_unary(METHOD).future(b"m", timeout=20) for _ in range(calls)]
"""


STORIES = {
    "starts and stops": """
for _ in range(200):
    server, _ = made()
    server.stop(0)
""",
    "stops under load": """
for _ in range(20):
    server, channel = made()
    asking(channel, 200)
    server.stop(0)
    channel.close()
""",
    "stops with a backlog of dead calls": """
for _ in range(20):
    server, channel = made()
    asking(channel, 50)
    channel.close()
    server.stop(0.1)
""",
    "is stopped by four at once": """
for _ in range(10):
    server, channel = made()
    [it.result() for it in asking(channel, 50)]
    threads = [threading.Thread(target=server.stop, args=(0.1,)) for _ in range(4)]
    [it.start() for it in threads]
    [it.join() for it in threads]
""",
    "answers race with a stop": """
calls = []
for _ in range(10):
    server, channel = made(lambda call, message: Deferred(lambda: calls.append(call)))
    asking(channel, 50)
    time.sleep(0.05)
    late = threading.Thread(target=lambda: [call.answer(b"late") for call in calls * 3])
    late.start()
    server.stop(0.02)
    late.join()
""",
    "ends without a stop": """
server, channel = made()
[it.result() for it in asking(channel, 50)]
""",
    "exits without a stop": """
server, channel = made()
[it.result() for it in asking(channel, 50)]
sys.exit(0)
""",
    "is made and no more": """
server = QueueServer({}, LIMITS, fallback=FALLBACK)
""",
    "is bound and no more": """
server = QueueServer({}, LIMITS, fallback=FALLBACK)
server.listen("127.0.0.1:0", None)
""",
    "ends while calls are deferred": """
calls = []
server, channel = made(lambda call, message: Deferred(lambda: calls.append(call)))
asking(channel, 50)
time.sleep(0.2)
""",
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_no_order_of_events_ends_the_process_or_keeps_it(story: str) -> None:
    """Whatever is done to a server, and in whatever order, its process ends by itself, in time and well."""
    done = subprocess.run([sys.executable, "-c", PROGRAM + story], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_memory_does_not_grow_with_calls() -> None:
    """After twenty thousand calls the next forty thousand leave the process as large as it was."""
    story = """
server, channel = made()
ask = channel.unary_unary(METHOD)


def size():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])


def some(count):
    for _ in range(count // 100):
        for future in [ask.future(b"m" * 2000, timeout=20) for _ in range(100)]:
            future.result()


some(20_000)
before = size()
some(40_000)
print(size() - before)
server.stop(0)
"""
    command = [sys.executable, "-c", PROGRAM + story]
    done = subprocess.run(command, capture_output=True, timeout=300, check=True)
    assert int(done.stdout) < 8_000, "kB"


def test_hostile_frames_end_their_connection_and_nothing_else() -> None:
    """What is no HTTP/2 at all, or breaks off, leaves the server answering others."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    with serving(lambda _call, _message: b"yes") as (_, address):
        host, _, port = address.rpartition(":")
        for content in (b"GET / HTTP/1.1\r\n\r\n", preface, preface + bytes(range(256)) * 10, b"\x00" * 1000):
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 5) as connection:
                connection.sendall(content)
                connection.shutdown(socket.SHUT_WR)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers: list[Callable[[], bytes]] = [lambda: ask(address)] * 16
            assert {each.result() for each in map(pool.submit, answers)} == {b"yes"}
