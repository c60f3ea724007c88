"""Keys that change under load: hops through a real Envoy while they rotate, and how soon a removed authority counts."""

import statistics
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.row import Row
from tests.support.rotating_hops import HOPS_A_SECOND, Door, Tally, door_of, drive
from tests.support.rotation import Files, OriginOf, WorkloadApi, place_of

ORIGINS: Mapping[str, OriginOf] = {"files": Files, "Workload API": WorkloadApi}
ROTATIONS = 30
EVERY_SECONDS = 2.0
REMOVALS = 50
FILES_BOUND_MS = 2000  # they are looked at once a second; a second more for a machine that is paused
PUSHED_BOUND_MS = 1000  # a push takes milliseconds; the rest is for such a pause


def rows() -> Iterator[Row]:
    """`rotation_failed_hops`, `rotation_wrong_allows`, `ca_removal_denied_max_ms` and `ca_removal_pushed_max_ms`."""
    tallies, removals = dict[str, Tally](), dict[str, list[float]]()
    for name, origin_of in ORIGINS.items():
        with tempfile.TemporaryDirectory() as folder, _door(Path(folder), origin_of) as door:
            tallies[name] = drive(door, rotations=ROTATIONS, every_seconds=EVERY_SECONDS)
            removals[name] = [door.removal_denied_ms() for _ in range(REMOVALS)]
    told = "; ".join(f"{name}: {_told(tally)}" for name, tally in tallies.items())
    failed = [each for tally in tallies.values() for each in tally.failures]
    how = f"at most {HOPS_A_SECOND} hops/s through Envoy, no retries by the client; {told}"
    yield Row("rotation_failed_hops", len(failed), "hops", 0, " ".join([how, *failed[:3]]))
    wrong = sum(each.wrong_allows for each in tallies.values())
    denied = sum(each.denied for each in tallies.values())
    how = f"of the same, hops of an agent whose authority was removed: {denied} denied"
    yield Row("rotation_wrong_allows", wrong, "hops", 0, how)
    yield _removal_row(
        "ca_removal_denied_max_ms", removals["files"], FILES_BOUND_MS, "file replaced, looked at each 1 s"
    )
    yield _removal_row(
        "ca_removal_pushed_max_ms", removals["Workload API"], PUSHED_BOUND_MS, "pushed by a Workload API"
    )


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


def _removal_row(name: str, milliseconds: list[float], bound_ms: float, what: str) -> Row:
    p50 = statistics.median(milliseconds)
    how = f"{what}, until the first denial on an open connection; max of {len(milliseconds)}, p50 {p50:.3g}"
    return Row(name, max(milliseconds), "ms", bound_ms, how)
