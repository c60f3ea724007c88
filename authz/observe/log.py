"""The process log's share: a record in, a line where the check failed through a fault of ours, else nothing.

Ordinary denials are the audit log's business. What is logged here is paced, so that a fault that every check meets
does not fill the disk.
"""

import logging
from collections import defaultdict

from authz.core.decision import Deny
from authz.core.reasons import Reason
from authz.core.record import Record
from authz.observe.pace import Pace

_SERVER_FAULT = 500
_MAX_DETAIL_LENGTH = 1024
_log = logging.getLogger("authz")


class LogObserver:
    """Logs our own trouble: a fault with its traceback, and any other denial that answers 5xx in one line.

    At most `per_minute` lines a minute for each reason; the next line tells how many were left out.
    """

    def __init__(self, per_minute: int = 6) -> None:
        self._paces: defaultdict[Reason, Pace] = defaultdict(lambda: Pace(per_minute))

    def checked(self, record: Record, duration_seconds: float) -> None:
        """Log the record, if it is of our own trouble."""
        del duration_seconds  # the audit record has it
        match record.decision:
            case Deny(reason, detail) if record.fault is not None or reason.http_status >= _SERVER_FAULT:
                pace = self._paces[reason]
            case _:
                return
        if pace.passes():
            # As %r, because a detail may quote what a client sent, and a newline in it would forge a line.
            shown = (detail or reason.meaning)[:_MAX_DETAIL_LENGTH]
            more = _left_out(pace.held_back())
            id = record.arrival.decision_id
            _log.error("check %s was denied as %s: %r%s", id, reason, shown, more, exc_info=record.fault)


class PacedHandler(logging.Handler):
    """Passes the records of a talkative logger on to another, at most `per_minute` a minute."""

    def __init__(self, target: logging.Logger, per_minute: int) -> None:
        super().__init__()
        self._target = target
        self._pace = Pace(per_minute)

    def emit(self, record: logging.LogRecord) -> None:
        """Pass it on in one line and without its traceback, or count it as left out."""
        if self._pace.passes():
            message = " ".join(record.getMessage().splitlines())
            self._target.log(record.levelno, "%s: %s%s", record.name, message, _left_out(self._pace.held_back()))


def _left_out(count: int) -> str:
    return f" ({count} more were not logged)" if count else ""
