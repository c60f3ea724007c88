"""Turns: two threads that think about the same things, one at a time.

The thread that answers checks and the event loop share memory, rules, store and audit log, all of which are made for
one thread. So each thinks only in its turn: the loop gives its turn up while it waits, and for nothing else.
"""

import selectors
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any

_Ready = list[tuple[selectors.SelectorKey, int]]


class Turns:
    """A lock that is fair: who has waited goes before who has just had it."""

    def __init__(self) -> None:
        self._next = threading.Lock()  # held by the one who is to have the next turn
        self._turn = threading.Lock()

    def take(self) -> None:
        """Wait for the turn."""
        with self._next:
            self._turn.acquire()

    def give(self) -> None:
        """Let the other have it."""
        self._turn.release()

    def __enter__(self) -> None:
        self.take()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.give()


class TurnsSelector(selectors.BaseSelector):
    """What an event loop waits with: it is the loop's turn except while the loop waits. Made in the loop's thread."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._inner = selectors.DefaultSelector()
        turns.take()

    def select(self, timeout: float | None = None) -> _Ready:
        """Wait for events, in the others' turn."""
        self._turns.give()
        try:
            return self._inner.select(timeout)
        finally:
            self._turns.take()

    def close(self) -> None:
        """The loop is over, and with it its turn."""
        self._inner.close()
        self._turns.give()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:  # noqa: ANN401  as in the library
        """As the inner selector."""
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:  # noqa: ANN401  as in the library
        """As the inner selector."""
        return self._inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:  # noqa: ANN401  as in the library
        """As the inner selector."""
        return self._inner.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """As the inner selector."""
        return self._inner.get_map()
