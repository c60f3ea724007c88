"""Turns: callbacks of the event loop and another thread never run at once, and neither waits for more than one turn."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

from authz.server.turn import Turn, turn_taking_loop

SECONDS = 0.5


def run(turn: Turn, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it on a loop that takes turns."""
    with asyncio.Runner(loop_factory=lambda: turn_taking_loop(turn)) as runner:
        runner.run(main())


def test_a_step_of_the_loop_and_a_turn_of_another_thread_never_overlap() -> None:
    """Each finds the place as the other left it, whatever they do in it and however long."""
    turn, leave = Turn(), threading.Event()
    inside, met, steps = list[str](), list[str](), {"loop": 0, "thread": 0}

    def step(who: str) -> None:
        met.extend(inside)
        inside.append(who)
        time.sleep(0.00005)  # lets go of the interpreter, in the middle
        inside.remove(who)
        steps[who] += 1

    def other() -> None:
        while not leave.is_set():
            with turn:
                step("thread")

    async def main() -> None:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            step("loop")
            await asyncio.sleep(0 if steps["loop"] % 2 else 0.0001)

    thread = threading.Thread(target=other)
    thread.start()
    run(turn, main)
    leave.set()
    thread.join()
    assert not met
    assert min(steps.values()) > 100


def test_turns_are_handed_to_those_who_wait_in_their_order() -> None:
    """Whoever has had a turn cannot take the next before the others have had theirs, however busy it is."""
    turn, order = Turn(), list[int]()
    go = threading.Barrier(4)

    def busy(name: int) -> None:
        go.wait()
        for _ in range(50):
            with turn:
                order.append(name)
                time.sleep(0.001)  # the others ask meanwhile

    threads = [threading.Thread(target=busy, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rounds = [set(order[start : start + 4]) for start in range(8, 160, 4)]  # once all have begun, and before any ends
    assert sum(len(each) == 4 for each in rounds) >= len(rounds) - 4  # a machine that stalls may mix a round


def test_a_busy_loop_and_a_busy_thread_take_turns() -> None:
    """Neither waits for more than one turn of the other."""
    turn, leave, turns = Turn(), threading.Event(), [0]
    passed = list[int]()

    def other() -> None:
        while not leave.is_set():
            with turn:
                turns[0] += 1
                time.sleep(0.0005)

    async def main() -> None:
        thread = threading.Thread(target=other)
        thread.start()
        for _ in range(200):
            before = turns[0]
            time.sleep(0.0005)  # noqa: ASYNC251  a callback that takes its time
            await asyncio.sleep(0)
            passed.append(turns[0] - before)
        leave.set()
        await asyncio.to_thread(thread.join)

    run(turn, main)
    assert passed.count(1) >= 180


def test_while_the_loop_waits_the_turn_is_free() -> None:
    """A loop with nothing to do holds nobody up; one that has ended, neither."""
    turn, took = Turn(), list[float]()

    def other() -> None:
        started = time.monotonic()
        for _ in range(1000):
            with turn:
                pass
        took.append(time.monotonic() - started)

    async def main() -> None:
        await asyncio.to_thread(other)

    run(turn, main)
    other()
    assert max(took) < 5


def test_a_step_that_fails_gives_its_turn_back() -> None:
    """An exception in a turn, or in the loop, leaves the turn to others."""
    turn = Turn()

    async def fails() -> None:
        raise ValueError

    for _ in range(2):
        with contextlib.suppress(ValueError), turn:
            raise ValueError
        with contextlib.suppress(ValueError):
            run(turn, fails)
    with turn:
        pass
