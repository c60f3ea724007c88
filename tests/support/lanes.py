"""Both transports in this process, before checks that a test has made: an event loop on a thread, and callers."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass

import grpc

from authz.server.aio import check_transport
from authz.server.checks import Checks
from authz.server.fast import FastChecks, FastTransport
from authz.server.health import Health
from authz.server.life import Transport
from authz.server.limits import Limits
from authz.server.turn import Turn, turn_taking_loop
from authz.wire.encode import FALLBACK
from tests.support.servers import CHECK

LIMITS = Limits(1024 * 1024, 600)
LANES = ("fast", "portable")


@dataclass
class Lane:
    """A transport that serves, and the loop behind it."""

    address: str
    loop: asyncio.AbstractEventLoop

    def ask(self, message: bytes, seconds: float = 30) -> bytes:
        """One check over a connection of its own; raises RpcError."""
        with grpc.insecure_channel(self.address) as channel:
            answer: bytes = channel.unary_unary(CHECK)(message, timeout=seconds)
            return answer

    def on_loop(self, call: Callable[[], object]) -> None:
        """Run it as a callback of the loop, and wait for its end."""
        done = Future[object]()

        def run() -> None:
            try:
                done.set_result(call())
            except BaseException as error:  # noqa: BLE001  the test is told
                done.set_exception(error)

        self.loop.call_soon_threadsafe(run)
        done.result(30)


@contextlib.contextmanager
def served(kind: str, make_checks: Callable[[], Checks]) -> Iterator[Lane]:
    """A lane of this kind before the checks, until the block ends. They are made on the loop."""
    ready, leave = Future[Lane](), asyncio.Event()

    async def live(turn: Turn) -> None:
        health = Health()
        await health.set_serving()
        transport = _transport(kind, make_checks(), health, turn)
        port = transport.listen("127.0.0.1:0", None)
        await transport.start()
        ready.set_result(Lane(f"127.0.0.1:{port}", asyncio.get_running_loop()))
        await leave.wait()
        await transport.stop(5)

    def run() -> None:
        turn = Turn()
        with asyncio.Runner(loop_factory=lambda: turn_taking_loop(turn)) as runner:
            try:
                runner.run(live(turn))
            except BaseException as error:
                if not ready.done():
                    ready.set_exception(error)
                raise

    thread = threading.Thread(target=run)
    thread.start()
    try:
        lane = ready.result(30)
        try:
            yield lane
        finally:
            lane.loop.call_soon_threadsafe(leave.set)
    finally:
        thread.join()


def _transport(kind: str, checks: Checks, health: Health, turn: Turn) -> Transport:
    if kind == "fast":
        return FastTransport(FastChecks(checks, turn).handle, health, LIMITS, FALLBACK)
    return check_transport(checks.answer, health, LIMITS)
