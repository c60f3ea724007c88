"""One figure of the table, and how figures are taken: several rounds, the median told."""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

MICROSECONDS = 1_000_000
BATCH = 20


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


def median_us(call: Callable[[], object], *, calls: int) -> float:
    """Microseconds that one call takes: the median over batches of 20 calls of a batch's mean, collector off.

    Small batches, since a shared machine stops now and then for longer than a batch takes: such a stop spoils one
    batch, not the figure.
    """
    batches = []
    gc.collect()
    gc.disable()
    for _ in range(max(calls // BATCH, 1)):
        start = time.perf_counter()
        for _ in range(BATCH):
            call()
        batches.append((time.perf_counter() - start) / BATCH)
    gc.enable()
    return statistics.median(batches) * MICROSECONDS
