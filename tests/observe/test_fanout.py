"""Many observers as one: none can keep another from being told, or a check from being answered."""

import logging

import pytest

from authz.core.record import Record
from authz.observe.fanout import Fanout
from tests.support.records import record


class Diligent:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Record, float]] = []

    def checked(self, record: Record, duration_seconds: float) -> None:
        """Keep it."""
        self.told.append((record, duration_seconds))


class Broken:
    """Always fails."""

    def checked(self, record: Record, duration_seconds: float) -> None:
        """Fail."""
        raise ConnectionError(f"no use for {record.arrival.decision_id} of {duration_seconds} s")


class Failing(Broken):
    """Fails too, under another name."""


def test_every_observer_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Each gets the record and the duration, once, and nothing is counted."""
    first, second = Diligent(), Diligent()
    fanout = Fanout([first, second])
    told = record()
    fanout.checked(told, 0.25)
    assert first.told == second.told == [(told, 0.25)]
    assert fanout.failures == {}
    assert caplog.records == []


def test_a_failing_observer_is_counted_and_the_others_are_told() -> None:
    """What an observer raises goes nowhere; it is counted under the observer's name."""
    last = Diligent()
    fanout = Fanout([Broken(), Failing(), last])
    for _ in range(3):
        fanout.checked(record(), 0.1)
    assert fanout.failures == {"Broken": 3, "Failing": 3}
    assert len(last.told) == 3


def test_failures_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """A thousand failures of each of two observers are two lines, with the traceback."""
    fanout = Fanout([Broken(), Failing()])
    for _ in range(1000):
        fanout.checked(record(), 0.1)
    assert [each.levelno for each in caplog.records] == [logging.ERROR, logging.ERROR]
    assert ["Broken" in caplog.text, "Failing" in caplog.text] == [True, True]
    assert caplog.records[0].exc_info
    assert caplog.records[0].exc_info[0] is ConnectionError


def test_without_observers_nothing_happens() -> None:
    """A server that exports nothing has a fanout all the same."""
    Fanout(()).checked(record(), 0.1)
