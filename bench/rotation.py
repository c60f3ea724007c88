"""Keys that change under load: hops through a real Envoy while they rotate, and how soon a removed authority counts."""

import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Self

from bench.row import Row
from tests.support.rotating_hops import HOPS_A_SECOND, Door, Tally, door_of, drive
from tests.support.rotation import Files, OriginOf, WorkloadApi, place_of

ORIGINS: Mapping[str, OriginOf] = {"files": Files, "Workload API": WorkloadApi}
ROTATIONS = 30
EVERY_SECONDS = 2.0
REMOVALS = 50
MILLISECONDS = 1000
_TICK_SECONDS, _STALL_SECONDS = 0.002, 0.05
FILES_BOUND_MS = 2000  # they are looked at once a second; a second more for a machine that is busy
PUSHED_BOUND_MS = 1000  # a push takes milliseconds; the rest is for such a machine


def rows() -> Iterator[Row]:
    """`rotation_failed_hops`, `rotation_wrong_allows`, `ca_removal_denied_max_ms` and `ca_removal_pushed_max_ms`."""
    tallies, removals = dict[str, Tally](), dict[str, list[Removal]]()
    for name, origin_of in ORIGINS.items():
        with tempfile.TemporaryDirectory() as folder, _door(Path(folder), origin_of) as door:
            tallies[name] = drive(door, rotations=ROTATIONS, every_seconds=EVERY_SECONDS)
            with Stalls() as stalls:
                removed = [door.removal() for _ in range(REMOVALS)]
            removals[name] = [Removal(since, until, stalls.within(since, until)) for since, until in removed]
    told = "; ".join(f"{name}: {_told(tally)}" for name, tally in tallies.items())
    failed = [each for tally in tallies.values() for each in tally.failures]
    how = f"at most {HOPS_A_SECOND} hops/s through Envoy, no retries by the client; {told}"
    yield Row("rotation_failed_hops", len(failed), "hops", 0, " ".join([how, *failed[:3]]))
    wrong = sum(each.wrong_allows for each in tallies.values())
    denied = sum(each.denied for each in tallies.values())
    how = f"of the same, hops of an agent whose authority was removed: {denied} denied"
    yield Row("rotation_wrong_allows", wrong, "hops", 0, how)
    yield _removal_row(
        "ca_removal_denied_max_ms",
        removals["files"],
        FILES_BOUND_MS,
        "file replaced, looked at each second, also while the machine stands still",
    )
    yield _removal_row(
        "ca_removal_pushed_max_ms", removals["Workload API"], PUSHED_BOUND_MS, "pushed by a Workload API"
    )


@dataclass(frozen=True)
class Removal:
    """Moments by perf_counter, and for how long in between the machine stood still."""

    removed: float
    denied: float
    stood_still_seconds: float

    @property
    def took_ms(self) -> float:
        """By the clock."""
        return (self.denied - self.removed) * MILLISECONDS

    @property
    def ran_ms(self) -> float:
        """While the machine ran."""
        return self.took_ms - self.stood_still_seconds * MILLISECONDS


class Stalls:
    """Notes when the machine stands still, as shared ones do: a thread that wants to run, and cannot."""

    def __init__(self) -> None:
        self._stalls: list[tuple[float, float]] = []
        self._enough = Event()
        self._thread = Thread(target=self._watch)

    def within(self, since: float, until: float) -> float:
        """Seconds that it stood still between two moments by perf_counter."""
        return sum(max(0.0, min(until, end) - max(since, begin)) for begin, end in self._stalls)

    def _watch(self) -> None:
        last = time.perf_counter()
        while not self._enough.wait(_TICK_SECONDS):
            now = time.perf_counter()
            if now - last > _STALL_SECONDS:
                self._stalls.append((last + _TICK_SECONDS, now))
            last = now

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()


@contextmanager
def _door(folder: Path, origin_of: OriginOf) -> Iterator[Door]:
    rotations = ROTATIONS + REMOVALS
    with place_of(folder, origin_of, rotations=rotations, connection_seconds=1) as place, door_of(place) as door:
        yield door


def _told(tally: Tally) -> str:
    return (
        f"{tally.allowed} allowed, {tally.denied} denied, {len(tally.failures)} failed in {tally.seconds:.0f} s with "
        f"{tally.rotations} rotations and {tally.handshakes} handshakes"
    )


def _removal_row(name: str, removals: list[Removal], bound_ms: float, what: str) -> Row:
    ran_ms, took_ms = [each.ran_ms for each in removals], [each.took_ms for each in removals]
    how = (
        f"{what}, until the first denial on an open connection; max of {len(ran_ms)} less the time that the machine "
        f"stood still, p50 {_p50(ran_ms)}; by the clock p50 {_p50(took_ms)}, max {max(took_ms):.0f}"
    )
    return Row(name, max(ran_ms), "ms", bound_ms, how)


def _p50(figures: list[float]) -> str:
    return f"{statistics.median(figures):.3g}"
