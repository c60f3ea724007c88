"""Memory: the tasks this process knows, and how old that knowledge is. Pure: the clock is an argument.

A store room fills it and forgets from it; a check only reads. Absence is knowledge too, kept apart and small so that
made-up ids cannot push out live tasks.
"""

from dataclasses import dataclass, field
from typing import TypeVar

from authz.core.errors import Refused
from authz.core.outcome import Know, Lacks
from authz.core.reasons import Reason
from authz.core.task import Task

NEVER_NS = -(2**63)

_V = TypeVar("_V")


@dataclass(slots=True)
class _Entry:
    task: Task
    used: bool = False


@dataclass(slots=True)
class Memory:
    """Tasks by id. `as_of_ns`: every change acknowledged before that instant (CLOCK_BOOTTIME) is in here."""

    max_tasks: int
    max_absences: int = 10_000
    as_of_ns: int = NEVER_NS
    _tasks: dict[str, _Entry] = field(default_factory=dict)
    _malformed: dict[str, str] = field(default_factory=dict)
    _absent: dict[str, None] = field(default_factory=dict)

    def find(self, task_id: str) -> Task:
        """The task; raises Lacks where we do not know, Refused where it is known to be absent or unreadable."""
        entry = self._tasks.get(task_id)
        if entry is not None:
            entry.used = True
            return entry.task
        if task_id in self._absent:
            raise Refused(Reason.TASK_UNKNOWN, task_id)
        if task_id in self._malformed:
            raise Refused(Reason.TASK_RECORD_MALFORMED, self._malformed[task_id])
        raise Lacks(Know(task_id))

    def must_be_fresh(self, arrival_boot_ns: int, max_staleness_ns: int) -> None:
        """What we know is no older than `max_staleness_ns` at the hop's arrival; raises Refused."""
        age_ns = arrival_boot_ns - self.as_of_ns
        if age_ns > max_staleness_ns:
            known = "never read" if self.as_of_ns == NEVER_NS else f"last read {age_ns / 1e9:.3f} s before"
            raise Refused(Reason.TASK_STORE_UNAVAILABLE, known)

    def put(self, task: Task) -> None:
        """Remember a task as the store has it now."""
        self.forget(task.id)
        # Room is made first: whoever asked for this task is about to run its check again, and must find it.
        while len(self._tasks) >= self.max_tasks:
            self._evict()
        self._tasks[task.id] = _Entry(task)

    def put_absent(self, task_id: str) -> None:
        """Remember that the store has no such task."""
        self.forget(task_id)
        _bounded_put(self._absent, task_id, None, self.max_absences)

    def put_malformed(self, task_id: str, why: str) -> None:
        """Remember that the store's record of this task cannot be read."""
        self.forget(task_id)
        _bounded_put(self._malformed, task_id, why, self.max_absences)

    def forget(self, task_id: str) -> None:
        """The store's record changed: whoever asks next must read it anew."""
        self._tasks.pop(task_id, None)
        self._absent.pop(task_id, None)
        self._malformed.pop(task_id, None)

    def flush(self) -> None:
        """Forget everything, because changes may have been missed."""
        self._tasks, self._absent, self._malformed = {}, {}, {}

    def _evict(self) -> None:
        """Second chance: from the oldest on, spare once what was used since it was last looked at."""
        while True:
            task_id, entry = next(iter(self._tasks.items()))
            del self._tasks[task_id]
            if not entry.used:
                return
            entry.used = False
            self._tasks[task_id] = entry


def _bounded_put(known: dict[str, _V], key: str, value: _V, most: int) -> None:
    known[key] = value
    if len(known) > most:
        del known[next(iter(known))]
