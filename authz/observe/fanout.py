"""Fanout: one record in, every observer told. An observer that fails is counted, and changes nothing."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable

from authz.core.record import Record
from authz.observe.pace import Pace
from authz.ports import Observer

_log = logging.getLogger("authz.observe")


class Fanout:
    """Many observers as one. It never raises; the first failure in a minute of each observer is logged."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)
        self._paces: defaultdict[str, Pace] = defaultdict(lambda: Pace(per_minute=1))
        self.failures: Counter[str] = Counter()
        """How often each observer has failed, by the name of its class."""

    def checked(self, record: Record, duration_seconds: float) -> None:
        """Tell every observer, whatever became of the one before."""
        for observer in self._observers:
            try:
                observer.checked(record, duration_seconds)
            except Exception:  # noqa: BLE001  whatever an observer raises, the others are told and the answer stands
                self._failed(type(observer).__name__)

    def _failed(self, name: str) -> None:
        self.failures[name] += 1
        if self._paces[name].passes():
            _log.exception("%s failed, for the %d. time since the start", name, self.failures[name])
