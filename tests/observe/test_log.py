"""What the process log tells of checks: our own trouble, and not without bound."""

import logging

import pytest

from authz.core.reasons import Reason
from authz.observe.log import LogObserver, PacedHandler
from authz.observe.pace import Pace
from tests.support.records import denied, record


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """Its time."""
        return self.seconds


def test_a_fault_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """A defect of ours leaves the decision id, the reason and the traceback in the log."""
    fault = ZeroDivisionError("division by zero")
    told = denied(Reason.INTERNAL_ERROR, "ZeroDivisionError: division by zero", fault=fault)
    LogObserver().checked(told, 0.1)
    (line,) = caplog.records
    expected = f"check {told.arrival.decision_id} was denied as internal_error: 'ZeroDivisionError: division by zero'"
    assert expected == line.getMessage()
    assert line.exc_info
    assert line.exc_info[1] is fault


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.http_status >= 500], ids=str)
def test_our_own_trouble_is_logged(caplog: pytest.LogCaptureFixture, reason: Reason) -> None:
    """A denial for a part that fails us is logged, though no exception was caught: the audit log may be that part."""
    LogObserver().checked(denied(reason, "the disk is full"), 0.1)
    (line,) = caplog.records
    assert f"was denied as {reason}: 'the disk is full'" in line.getMessage()
    assert line.exc_info is None


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.http_status < 500], ids=str)
def test_an_ordinary_denial_is_not_logged(caplog: pytest.LogCaptureFixture, reason: Reason) -> None:
    """Denials that callers earn are the audit log's business."""
    LogObserver().checked(denied(reason, "of interest to nobody"), 0.1)
    assert caplog.records == []


def test_an_allow_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Nor are allows."""
    LogObserver().checked(record(), 0.1)
    assert caplog.records == []


def test_a_fault_of_every_check_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """At most the given number of lines a minute; another reason still has its own."""
    observer = LogObserver(per_minute=3)
    for _ in range(1000):
        observer.checked(denied(Reason.INTERNAL_ERROR), 0.1)
    observer.checked(denied(Reason.AUDIT_UNAVAILABLE), 0.1)
    assert [each.getMessage().count("internal_error") for each in caplog.records] == [1, 1, 1, 0]


def test_a_detail_cannot_begin_a_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """What a client wrote may be quoted in a detail; a newline in it stays within the quotes."""
    LogObserver().checked(denied(Reason.POLICY_ERROR, "oops\n2027-01-15 INFO authz: all is well"), 0.1)
    assert "\n" not in caplog.records[0].getMessage()


def test_pace_lets_so_many_through_in_a_minute_and_counts_the_rest() -> None:
    """The count of what was held back is told once."""
    clock = Clock()
    pace = Pace(2, clock)
    assert [pace.passes() for _ in range(5)] == [True, True, False, False, False]
    clock.seconds = 59.9
    assert not pace.passes()
    assert pace.held_back() == 4
    assert pace.held_back() == 0
    clock.seconds = 60
    assert pace.passes()


def test_a_talkative_logger_is_told_in_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    """A paced handler passes on what comes first, in one line each."""
    source = logging.getLogger("talkative")
    source.propagate = False
    handler = PacedHandler(logging.getLogger("quiet"), per_minute=2)
    source.addHandler(handler)
    try:
        for number in range(100):
            source.getChild("part").warning("trouble\nnumber %d", number)
    finally:
        source.removeHandler(handler)
        source.propagate = True
    said = [(each.name, each.levelname, each.getMessage()) for each in caplog.records]
    assert said == [("quiet", "WARNING", f"talkative.part: trouble number {number}") for number in (0, 1)]
