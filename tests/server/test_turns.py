"""Turns: the two threads never think at the same time, and neither waits for long."""

import asyncio
import threading
import time

from authz.server.turns import Turns, TurnsSelector


def test_the_loop_and_another_thread_never_think_at_once() -> None:
    """What the loop does between two waits, and what the other does in its turn, are each seen whole by the other."""
    turns = Turns()
    state, seen = [0], list[int]()
    over = threading.Event()

    def other() -> None:
        while not over.is_set():
            with turns:
                seen.append(state[0])

    async def think() -> None:
        thread = threading.Thread(target=other)
        thread.start()
        for _ in range(300):
            state[0] = 1  # half way
            deadline = time.perf_counter() + 0.0001
            while time.perf_counter() < deadline:
                pass
            state[0] = 0
            await asyncio.sleep(0)
        over.set()
        await asyncio.to_thread(thread.join)

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(TurnsSelector(turns))) as runner:
        runner.run(think())
    assert len(seen) > 100
    assert set(seen) == {0}


def test_a_busy_thread_does_not_keep_the_loop_from_its_turn() -> None:
    """Who takes turn after turn without a pause gives way to the loop each time that it asks."""
    turns = Turns()
    over = threading.Event()

    def busy() -> None:
        while not over.is_set():
            with turns:
                deadline = time.perf_counter() + 0.0002
                while time.perf_counter() < deadline:
                    pass

    async def wait() -> float:
        thread = threading.Thread(target=busy)
        thread.start()
        started = time.perf_counter()
        for _ in range(200):
            await asyncio.sleep(0)
        took = time.perf_counter() - started
        over.set()
        await asyncio.to_thread(thread.join)
        return took

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(TurnsSelector(turns))) as runner:
        assert runner.run(wait()) < 10


def test_after_the_loop_the_turn_is_free() -> None:
    """A loop that was closed keeps nobody waiting."""
    turns = Turns()
    asyncio.SelectorEventLoop(TurnsSelector(turns)).close()
    taken = threading.Thread(target=turns.take)
    taken.start()
    taken.join(5)
    assert not taken.is_alive()
