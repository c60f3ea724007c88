"""Lives of a server on the completion queue that end in hard ways: `python -m tests.support.queue_lives LIFE`.

Each is a process of its own, because what goes wrong here aborts it, or hangs it where only SIGKILL helps. One that
ends well prints what it counted as its last line and exits with 0.
"""

import asyncio
import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

import grpc

from authz.server.queue import Call, QueueServer
from tests.support.queue_server import FALLBACK, METHOD, ask, queue_server

ANSWER = b"an answer"
ROUNDS = 300
CALLS = 200
MANY = 500


def answer(_message: bytes, call: Call) -> None:
    """At once."""
    call.answer(ANSWER)


def never(_message: bytes, call: Call) -> None:
    """Defer, and leave it at that."""
    call.defer()


def later(seconds: float) -> Callable[[bytes, Call], None]:
    """Answer from another thread, after so long."""
    waiting: list[tuple[float, Call]] = []

    def work() -> None:
        while True:
            while waiting and waiting[0][0] <= time.monotonic():
                waiting.pop(0)[1].answer(ANSWER)
            time.sleep(0.001)

    threading.Thread(target=work, daemon=True).start()

    def handle(_message: bytes, call: Call) -> None:
        call.defer()
        waiting.append((time.monotonic() + seconds, call))

    return handle


class Callers:
    """Many calls over a few connections, at once."""

    def __init__(self, address: str, calls: int = CALLS) -> None:
        self.channels = [grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) for _ in range(4)]
        for channel in self.channels:
            grpc.channel_ready_future(channel).result(30)
        asks = [channel.unary_unary(METHOD) for channel in self.channels]
        self.futures = [asks[number % 4].future(b"x", timeout=60) for number in range(calls)]

    def told(self) -> Counter[str]:
        """How the calls ended."""
        return Counter(self._told(future) for future in self.futures)

    @staticmethod
    def _told(future: grpc.Future) -> str:
        try:
            message = future.result()
        except (grpc.RpcError, grpc.FutureCancelledError):
            return "lost"
        return "answered" if message == ANSWER else "denied" if message == FALLBACK else f"strange: {message!r}"

    def go_away(self) -> None:
        """Leave without waiting."""
        for channel in self.channels:
            channel.close()


def started_and_stopped() -> object:
    """Again and again, without a caller: here shutting down and destroying once raced."""
    for _ in range(ROUNDS):
        with queue_server(answer):
            pass
    return ROUNDS


def asked_and_stopped() -> object:
    """Again and again, after a call."""
    for _ in range(50):
        with queue_server(answer) as (_, address):
            assert ask(address) == ANSWER
    return 50


def with_calls_of_the_dead() -> object:
    """Stopped while calls whose callers are gone wait behind the end."""
    for _ in range(20):
        go = threading.Event()

        def block(_message: bytes, call: Call, go: threading.Event = go) -> None:
            go.wait()
            call.answer(ANSWER)

        with queue_server(block) as (_, address):
            callers = Callers(address)
            time.sleep(0.05)
            callers.go_away()
            threading.Timer(0.05, go.set).start()
    return 20


def with_slow_calls_within_the_grace() -> object:
    """What was taken in is answered."""
    with queue_server(later(0.5), grace_seconds=20) as (_, address):
        callers = Callers(address)
        time.sleep(0.3)
    return dict(callers.told())


def with_slow_calls_beyond_the_grace() -> object:
    """What is not answered in time is denied, by an answer."""
    with queue_server(never, grace_seconds=0.3) as (server, address):
        callers = Callers(address)
        while len(server.deferred) < CALLS:
            time.sleep(0.01)
    return dict(callers.told())


def with_more_calls_than_are_taken_in() -> object:
    """Those for whom there was a place are answered."""
    go = threading.Event()

    def block(_message: bytes, call: Call) -> None:
        go.wait()
        call.answer(ANSWER)

    with queue_server(block, grace_seconds=30) as (_, address):
        callers = Callers(address, MANY)
        time.sleep(1)
        threading.Timer(0.3, go.set).start()
    return dict(callers.told())


def with_silent_peers() -> object:
    """Connections whose owners say nothing, or half a request, and read nothing: the end is soon all the same."""
    with queue_server(never, grace_seconds=0.2) as (_, address):
        host, port = address.split(":")
        connections = [socket.create_connection((host, int(port))) for _ in range(100)]
        for number, connection in enumerate(connections):
            connection.sendall((b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"PRI *", b"", b"\x00")[number % 4])
        callers = Callers(address, 20)
        time.sleep(0.3)
    has_ended = "fast-lane" not in {thread.name for thread in threading.enumerate()}
    callers.go_away()
    return has_ended, len(connections)


def by_two_threads_at_once() -> object:
    """Stop is called by several, and again afterwards."""
    for _ in range(50):
        with queue_server(never) as (server, address):
            callers = Callers(address, 4)
            threads = [threading.Thread(target=server.stop, args=(0.01,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        server.stop(0)
        callers.go_away()
    return 50


def while_answers_go_out() -> object:
    """Answers from another thread race with the end."""
    for _ in range(20):
        with queue_server(later(0.001), grace_seconds=0) as (_, address):
            callers = Callers(address)
            time.sleep(0.003)
        callers.told()
    return 20


def without_being_stopped() -> object:
    """The process ends under a server that serves."""
    server = QueueServer({METHOD: answer, "/test.Service/Never": never}, FALLBACK, [])
    address = f"127.0.0.1:{server.listen('127.0.0.1:0', None)}"
    server.start()
    assert ask(address) == ANSWER
    Callers(address, 20)
    return 1


def without_being_started() -> object:
    """Made, perhaps bound, and let go."""
    for _ in range(20):
        QueueServer({METHOD: answer}, FALLBACK, [])
        QueueServer({METHOD: answer}, FALLBACK, []).listen("127.0.0.1:0", None)
    server = QueueServer({METHOD: answer}, FALLBACK, [])
    server.stop(0)
    return 20


def by_a_failing_program() -> object:
    """An exception ends the program."""
    with queue_server(answer) as (_, address):
        Callers(address, 20)
        sys.stdout.write("failing\n")
        sys.stdout.flush()
        sys.exit(0)


def with_answers_that_come_too_late() -> object:
    """The handler's work ends long after the server."""
    kept: list[Call] = []

    def keep(_message: bytes, call: Call) -> None:
        call.defer()
        kept.append(call)

    with queue_server(keep) as (_, address):
        callers = Callers(address, 50)
        time.sleep(0.3)
    late = [call.answer(ANSWER) for call in kept]
    callers.go_away()
    return any(late)


def from_an_event_loop() -> object:
    """Started and stopped as the transport does it."""

    async def live() -> None:
        with queue_server(answer) as (server, address):
            assert await asyncio.to_thread(ask, address) == ANSWER
            await asyncio.to_thread(server.stop, 1)

    for _ in range(20):
        asyncio.run(live())
    return 20


LIVES = {
    life.__name__: life
    for life in (
        started_and_stopped,
        asked_and_stopped,
        with_calls_of_the_dead,
        with_slow_calls_within_the_grace,
        with_slow_calls_beyond_the_grace,
        with_more_calls_than_are_taken_in,
        with_silent_peers,
        by_two_threads_at_once,
        while_answers_go_out,
        without_being_stopped,
        without_being_started,
        by_a_failing_program,
        with_answers_that_come_too_late,
        from_an_event_loop,
    )
}

if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    counted = LIVES[sys.argv[1]]()
    sys.stdout.write(f"{counted}\n")
