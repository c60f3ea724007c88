"""Turns: two threads use what is made for one, each while it is its turn. What they share needs no locks of its own.

The event loop has its turn whenever it runs callbacks, and gives it up while it waits; so all that a callback does
between two awaits is one step to the other thread, as it is to other callbacks.
"""

import asyncio
import selectors
import threading
from collections import deque
from types import TracebackType


class Turn:
    """`with` it, it is one's turn. It is handed to whoever waits, in their order. Not reentrant."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_taken = False
        self._waiting = deque[threading.Lock]()

    def __enter__(self) -> None:
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                return
            handed = threading.Lock()
            handed.acquire()
            self._waiting.append(handed)
        handed.acquire()  # until it is handed to us

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A lock that whoever comes first may take would go to the one that runs, again and again.
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_taken = False


class _WaitingOutOfTurn(selectors.DefaultSelector):
    """Gives up the turn for as long as it waits; it takes it when it first has waited."""

    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self._turn = turn
        self._is_ours = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As it is, between turns."""
        self._give_up()
        try:
            return super().select(timeout)
        finally:
            self._turn.__enter__()
            self._is_ours = True

    def close(self) -> None:
        """Let go of the turn too: the loop is at its end."""
        self._give_up()
        super().close()

    def _give_up(self) -> None:
        if self._is_ours:
            self._is_ours = False
            self._turn.__exit__(None, None, None)


def turn_taking_loop(turn: Turn) -> asyncio.AbstractEventLoop:
    """An event loop whose callbacks all run in its turn."""
    return asyncio.SelectorEventLoop(_WaitingOutOfTurn(turn))
