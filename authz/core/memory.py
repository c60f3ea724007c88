"""Memory: the tasks this process knows, and how old that knowledge is. Pure: the clock is an argument.

A store room fills it and forgets from it; a check only reads. Absence is knowledge too, kept apart and small so that
made-up ids cannot push out live tasks.
"""

from dataclasses import dataclass, field
from typing import TypeVar

from authz.core.errand import Errand
from authz.core.errors import Refused
from authz.core.outcome import Fresh, Know, Lacks
from authz.core.reasons import Reason
from authz.core.task import Task
from authz.core.token import Ticket

NEVER_NS = -(2**63)

_V = TypeVar("_V")


@dataclass(slots=True)
class _Entry:
    task: Task
    as_of_ns: int
    used: bool = False


class Reading:
    """A look into the store that takes time. What changes meanwhile makes its findings void."""

    def __init__(self) -> None:
        self.overtaken: set[str] = set()
        self.all_overtaken = False

    def overtake(self, task_id: str) -> None:
        """The task changed since the reading began."""
        self.overtaken.add(task_id)

    def stands(self, task_id: str) -> bool:
        """Whether what was read of the task is still all there is to know."""
        return not self.all_overtaken and task_id not in self.overtaken


@dataclass(slots=True)
class Memory:
    """Tasks by id. `as_of_ns`: every change acknowledged before that instant (CLOCK_BOOTTIME) is in here."""

    max_tasks: int
    max_absences: int = 10_000
    as_of_ns: int = NEVER_NS
    _tasks: dict[str, _Entry] = field(default_factory=dict)
    _malformed: dict[str, str] = field(default_factory=dict)
    _absent: dict[str, int] = field(default_factory=dict)
    _readings: set[Reading] = field(default_factory=set)

    def errand(self, task_id: str) -> Errand:
        """The task and those that it was delegated from; raises as `find` does, for all that lack at once."""
        chain, lacks = list[Task](), list[Know]()
        while task_id:
            try:
                chain.append(self.find(task_id))
            except Lacks:
                lacks.append(Know(task_id))
            task_id = task_id.rpartition(".")[0]
        if lacks:
            raise Lacks(*lacks)
        return Errand(tuple(chain))

    def errand_of(self, ticket: Ticket) -> Errand:
        """The errand that a request names; raises as `errand` does, and Refused where token and record differ."""
        token = ticket.token
        try:
            errand = self.errand(ticket.task_id)
        except Refused as refused:
            # An ended task has a record that says so. One without a record was never ours to end.
            if token is None or not ticket.stands_alone or refused.reason is not Reason.TASK_UNKNOWN:
                raise
            return Errand((token.task,), is_recorded=False)
        if token is not None:
            token.must_agree_with(errand.task)
        return errand

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

    def must_be_fresh(self, errand: Errand, arrival_boot_ns: int, max_staleness_ns: int) -> None:
        """What we know of the errand is no older than `max_staleness_ns` at the hop's arrival; raises Lacks."""
        oldest_ns = arrival_boot_ns - max_staleness_ns
        if self.as_of_ns < oldest_ns:
            stale = [task.id for task in errand.chain if self._as_of_ns(task.id) < oldest_ns]
            if stale:
                raise Lacks(*map(Fresh, stale))

    def _as_of_ns(self, task_id: str) -> int:
        entry = self._tasks.get(task_id)
        return self._absent.get(task_id, NEVER_NS) if entry is None else entry.as_of_ns

    def begin(self) -> Reading:
        """Before a look into the store during which changes may arrive. It ends with `finish`."""
        reading = Reading()
        self._readings.add(reading)
        return reading

    def finish(self, reading: Reading) -> None:
        """The findings of the reading are in memory, as far as they stand."""
        self._readings.discard(reading)

    def put(self, task: Task, as_of_ns: int = NEVER_NS) -> None:
        """Remember a task as the store had it at that instant, and as the changes since then have left it."""
        self._drop(task.id)
        # Room is made first: whoever asked for this task is about to run its check again, and must find it.
        while len(self._tasks) >= self.max_tasks:
            self._evict()
        self._tasks[task.id] = _Entry(task, as_of_ns)

    def put_absent(self, task_id: str, as_of_ns: int = NEVER_NS) -> None:
        """Remember that the store had no such task at that instant, and that none came since."""
        self._drop(task_id)
        _bounded_put(self._absent, task_id, as_of_ns, self.max_absences)

    def put_malformed(self, task_id: str, why: str) -> None:
        """Remember that the store's record of this task cannot be read."""
        self._drop(task_id)
        _bounded_put(self._malformed, task_id, why, self.max_absences)

    def forget(self, task_id: str) -> None:
        """The store's record changed: whoever asks next must read it anew."""
        for reading in self._readings:
            reading.overtake(task_id)
        self._drop(task_id)

    def _drop(self, task_id: str) -> None:
        self._tasks.pop(task_id, None)
        self._absent.pop(task_id, None)
        self._malformed.pop(task_id, None)

    def flush(self) -> None:
        """Forget everything, because changes may have been missed."""
        for reading in self._readings:
            reading.all_overtaken = True
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
