"""What failed again and again is left alone for a while: checks fail at once instead of each waiting in vain."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from authz.core.errors import Unavailable


@dataclass(slots=True)
class Breaker:
    """Lets no question through for `rest_seconds` after `max_failures` in a row; then one, on which it depends."""

    max_failures: int
    rest_seconds: float
    clock: Callable[[], float] = time.monotonic
    who: str = "OPA"
    _failures: int = 0
    _closed_until: float = 0.0

    def must_let_through(self) -> None:
        """A question may be asked; raises Unavailable."""
        if self._failures < self.max_failures:
            return
        now = self.clock()
        if now < self._closed_until:
            raise Unavailable(f"{self.who} failed {self._failures} times in a row; it is asked again in a moment")
        self._closed_until = now + self.rest_seconds  # this one tries, and the others wait for what it finds

    def succeeded(self) -> None:
        """It answered."""
        self._failures = 0

    def failed(self) -> None:
        """It gave no answer, or none in time."""
        self._failures += 1
        if self._failures >= self.max_failures:
            self._closed_until = self.clock() + self.rest_seconds
