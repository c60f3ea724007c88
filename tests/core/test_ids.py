"""Ids: UUIDs of version 7, that sort by time."""

import os
import re
import uuid

from hypothesis import given
from hypothesis import strategies as st

from authz.core.ids import uuid7
from authz.core.task import parse_task_id

RFC_9562_SECONDS = 1_645_557_742.000
RFC_9562_ID = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"  # appendix A.6

randomness = st.binary(min_size=10, max_size=16)


def at(ms: int, noise: bytes) -> str:
    """The id made at that millisecond."""
    return uuid7((ms + 0.5) / 1000, noise)


def test_the_example_of_the_standard() -> None:
    """RFC 9562's example of a version 7 UUID comes out of its time and randomness, digit for digit."""
    noise = 0xCC3 << 62 | 0x18C4DC0C0C07398F
    assert uuid7(RFC_9562_SECONDS, noise.to_bytes(10, "big")) == RFC_9562_ID


@given(ms=st.integers(0, 253_402_300_799_999), noise=randomness)
def test_the_layout_is_that_of_version_7(ms: int, noise: bytes) -> None:
    """The standard library reads back version, variant and the millisecond, and the text is the canonical one."""
    text = at(ms, noise)
    read = uuid.UUID(text)
    assert (read.version, read.variant, read.int >> 80) == (7, uuid.RFC_4122, ms)
    assert text == str(read)
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text)


@given(first=st.integers(0, 10**14), second=st.integers(0, 10**14), noises=st.tuples(randomness, randomness))
def test_ids_sort_by_time(first: int, second: int, noises: tuple[bytes, bytes]) -> None:
    """The text of a later millisecond's id is greater, whatever the randomness."""
    if first != second:
        assert (first < second) == (at(first, noises[0]) < at(second, noises[1]))


@given(bit=st.integers(0, 79), noise=st.binary(min_size=10, max_size=10))
def test_all_but_six_bits_of_the_randomness_are_in_the_id(bit: int, noise: bytes) -> None:
    """74 bits of randomness tell ids of one millisecond apart; the other six make room for version and variant."""
    flipped = (int.from_bytes(noise, "big") ^ 1 << bit).to_bytes(10, "big")
    assert (bit < 74) == (uuid7(1, noise) != uuid7(1, flipped))


def test_ids_do_not_repeat() -> None:
    """Ten thousand ids of the same millisecond are ten thousand ids."""
    assert len({uuid7(1_700_000_000.0, os.urandom(10)) for _ in range(10_000)}) == 10_000


@given(ms=st.integers(0, 10**14), noise=randomness)
def test_an_id_can_name_a_task(ms: int, noise: bytes) -> None:
    """Ids have the form that the task header demands."""
    assert at(ms, noise) == parse_task_id((at(ms, noise),))
