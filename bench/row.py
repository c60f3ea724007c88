"""One figure of the table, and how figures are taken: several rounds, the median told."""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Row:
    """A figure, the bound it should keep, and how it was taken."""

    name: str
    value: float
    unit: str
    bound: float
    how: str

    @property
    def holds(self) -> bool:
        """Whether the figure keeps its bound."""
        return self.value <= self.bound


def median_us(call: Callable[[], object], *, calls: int, rounds: int = 7) -> float:
    """Microseconds that one call takes: the median over rounds of the mean within a round, collector off."""
    times = []
    for _ in range(rounds):
        gc.collect()
        gc.disable()
        start = time.perf_counter()
        for _ in range(calls):
            call()
        times.append((time.perf_counter() - start) / calls)
        gc.enable()
    return statistics.median(times) * MICROSECONDS
