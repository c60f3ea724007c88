"""Pace: so many in a minute and no more, for what would otherwise fill a log."""

import time
from collections.abc import Callable

_WINDOW_SECONDS = 60.0


class Pace:
    """Lets at most `per_minute` through in a minute, and counts the rest. Windows are fixed, and begin with a use."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds and never steps back."""
        self._per_minute = per_minute
        self._clock = clock
        self._window_ends = clock()
        self._passed = 0
        self._held_back = 0

    def passes(self) -> bool:
        """Whether one more may pass now; if not, it is counted as held back."""
        now = self._clock()
        if now >= self._window_ends:
            self._window_ends = now + _WINDOW_SECONDS
            self._passed = 0
        if self._passed >= self._per_minute:
            self._held_back += 1
            return False
        self._passed += 1
        return True

    def held_back(self) -> int:
        """How many were held back since this was last asked."""
        count, self._held_back = self._held_back, 0
        return count
