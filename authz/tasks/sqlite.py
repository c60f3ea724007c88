"""The embedded task store: one SQLite file, shared by the processes of one machine.

Implements Tasks, TaskKeeper and TaskReader. Every change of a task is committed together with a row of the change log,
whose sequence has no gaps. Before each check, `peek` asks SQLite whether anything was committed and, if so, forgets the
tasks that the log names: what was acknowledged before a check began is never decided on old knowledge.
"""

import logging
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from authz.core.errors import Refused, Unavailable, Unusable
from authz.core.memory import Memory
from authz.core.outcome import Know
from authz.core.task import Task, TaskState, parse_task_id
from authz.tasks.database import Opened, Writer
from authz.tasks.records import NotARecord, StoredTask
from authz.tasks.schema import EVERYTHING

CHANGES_KEPT = 100_000
"""How many rows the change log holds. Who falls further behind forgets everything and reads anew."""
CHANGES_APPLIED_AT_ONCE = 1_000
"""Beyond so many, forgetting everything is quicker than forgetting each, and a check must not wait."""
FILE_CHECK_SECONDS = 1.0
"""How often the path is looked at for another file. SQLite itself does not notice one."""
WRITE_TIMEOUT_SECONDS = 5.0

_NS = 1_000_000_000
_NO_VERSION = -1
_NOWHERE = (0, "")  # the log begins at 1
_TASK = "SELECT id, state, expires_ms, CAST(record AS BLOB) FROM task"

_Change = tuple[int, str]  # its place in the log, the task

_log = logging.getLogger("authz.tasks")


class SqliteTasks:
    """One process's view of the file. `peek` and `fetch` belong to one thread; the others may be called from any."""

    def __init__(
        self,
        file: Path,
        memory: Memory,
        *,
        changes_kept: int = CHANGES_KEPT,
        file_check_seconds: float = FILE_CHECK_SECONDS,
        write_timeout_seconds: float = WRITE_TIMEOUT_SECONDS,
    ) -> None:
        """Open the store, and make it where there is none; raises Unusable or Unavailable."""
        self.peek_failures = 0
        self._is_failing = False
        self._is_in_place = False
        self._file = file
        self._memory = memory
        self._changes_kept = changes_kept
        self._file_check_ns = int(file_check_seconds * _NS)
        self._next_file_check_ns = 0
        self._version = _NO_VERSION
        self._newest: _Change = _NOWHERE
        self._writer = Writer(file, timeout_seconds=write_timeout_seconds)
        try:
            self._begin_to_follow(Opened.open(file))
        except (sqlite3.Error, OSError) as error:
            self._writer.close()
            raise Unavailable(f"the task store {file}: {error}") from error

    def peek(self) -> None:
        """Apply every change committed so far, and set the memory's `as_of_ns`; see `ports.Tasks`.

        Where the file cannot be read, or is no longer the one at the path, `as_of_ns` stays where it was, so that the
        knowledge goes stale and checks are denied.
        """
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        try:
            if now_ns >= self._next_file_check_ns or not self._is_in_place:
                self._follow_the_file()
                self._next_file_check_ns = now_ns + self._file_check_ns
            [(version,)] = self._connection.execute("PRAGMA data_version").fetchall()
            if version != self._version:
                self._catch_up()
                # The version read before the log was: what was committed in between moves it once more.
                self._version = version
        except (sqlite3.Error, OSError, Unusable) as error:
            self._peek_failed(error)
        else:
            # Read before the version was: whatever had been committed by then is in memory now.
            self._memory.as_of_ns = now_ns
            self._is_failing = False

    async def fetch(self, wants: frozenset[Know]) -> None:
        """Read tasks into memory, inline because it takes some twenty microseconds; see `ports.Tasks`.

        A change cannot slip in between and leave an old record in memory: reading and remembering are one step of the
        one thread that also peeks, and the log is only read on by `peek`. A change that the record does not show yet is
        committed after it was read, so the next `peek` finds it and forgets the record.
        """
        try:
            self._follow_the_file()
            for want in wants:
                self._read(want.task_id)
        except (sqlite3.Error, OSError, Unusable) as error:
            raise Unavailable(f"the task store {self._file}: {error}") from error

    def put(self, task: Task) -> None:
        """Keep a new task, its times to the millisecond; see `ports.TaskKeeper`.

        Raises ValueError where the id is taken, and NotARecord, a ValueError too, where the task cannot be kept.
        """
        stored = StoredTask.of(task)
        with self._writer.transaction() as connection:
            inserted = connection.execute(
                "INSERT INTO task (id, state, expires_ms, record) VALUES (?, ?, ?, CAST(? AS TEXT)) "
                "ON CONFLICT (id) DO NOTHING",
                (stored.id, stored.state, stored.expires_ms, stored.record),
            )
            if not inserted.rowcount:
                raise ValueError(f"there is a task {task.id} already")
            self._log_change(connection, task.id)

    def end(self, task_id: str) -> None:
        """End a task for good; see `ports.TaskKeeper`."""
        _must_be_an_id(task_id)
        with self._writer.transaction() as connection:
            # max, so that no order of two ends, and no state of a later version, ever makes a task live again.
            updated = connection.execute(
                "UPDATE task SET state = max(state, ?) WHERE id = ?", (int(TaskState.ENDED), task_id)
            )
            if not updated.rowcount:
                raise KeyError(task_id)
            self._log_change(connection, task_id)

    def get(self, task_id: str) -> Task:
        """The task; raises Unavailable, also where its record cannot be read, and KeyError."""
        _must_be_an_id(task_id)
        with self._writer.reading() as connection:
            rows = connection.execute(f"{_TASK} WHERE id = ?", (task_id,)).fetchall()
        if not rows:
            raise KeyError(task_id)
        try:
            return StoredTask(*rows[0]).task()
        except NotARecord as error:
            raise Unavailable(f"the record of the task {task_id} cannot be read: {error}") from error

    def list(self) -> list[Task]:
        """All tasks whose records can be read, oldest first; the others are named in the log. Raises Unavailable."""
        with self._writer.reading() as connection:
            rows = connection.execute(_TASK).fetchall()
        tasks = []
        for row in rows:
            try:
                tasks.append(StoredTask(*row).task())
            except NotARecord as error:
                _log.warning("left out: the record of the task %s cannot be read: %s", row[0], error)
        return sorted(tasks, key=lambda task: (task.starts_unix_seconds, task.id))

    def close(self) -> None:
        """Close the file."""
        self._opened.connection.close()
        self._writer.close()

    def _begin_to_follow(self, opened: Opened) -> None:
        """Read this file from now on; its log does not go on from nowhere, so the next `peek` forgets everything."""
        self._opened = opened
        self._connection = opened.connection
        self._version = _NO_VERSION
        self._newest = _NOWHERE

    def _follow_the_file(self) -> None:
        """Go over to the file at the path if it is another one; raises sqlite3.Error, OSError or Unusable."""
        self._is_in_place = False
        opened = self._opened.in_place()
        if opened is not self._opened:
            self._begin_to_follow(opened)
        self._is_in_place = True

    def _catch_up(self) -> None:
        """Forget the tasks that changed; forget everything where the log does not go on from where we left it."""
        changes = self._connection.execute(
            "SELECT seq, task FROM change WHERE seq >= ? ORDER BY seq LIMIT ?",
            (self._newest[0], CHANGES_APPLIED_AT_ONCE + 2),
        ).fetchall()
        if self._goes_on(changes):
            for _, task_id in changes[1:]:
                self._memory.forget(task_id)
            self._newest = changes[-1]
        else:
            self._memory.flush()
            self._newest = self._newest_change()

    def _goes_on(self, changes: Sequence[_Change]) -> bool:
        """The first is the newest we know, so it is the same log, and each of the others follows the one before it."""
        return (
            len(changes) <= CHANGES_APPLIED_AT_ONCE + 1
            and changes[:1] == [self._newest]
            and changes[-1][0] - changes[0][0] == len(changes) - 1
            and all(task_id != EVERYTHING for _, task_id in changes[1:])
        )

    def _newest_change(self) -> _Change:
        rows: list[_Change] = self._connection.execute(
            "SELECT seq, task FROM change ORDER BY seq DESC LIMIT 1"
        ).fetchall()
        if not rows:
            raise sqlite3.DataError("the change log is empty")
        return rows[0]

    def _read(self, task_id: str) -> None:
        rows = self._connection.execute(f"{_TASK} WHERE id = ?", (task_id,)).fetchall()
        if not rows:
            self._memory.put_absent(task_id)
            return
        try:
            self._memory.put(StoredTask(*rows[0]).task())
        except NotARecord as error:
            self._memory.put_malformed(task_id, str(error))

    def _log_change(self, connection: sqlite3.Connection, task_id: str) -> None:
        """The part of a write transaction that makes it news, and drops news too old for anyone."""
        [(seq,)] = connection.execute("INSERT INTO change (task) VALUES (?) RETURNING seq", (task_id,)).fetchall()
        connection.execute("DELETE FROM change WHERE seq <= ?", (seq - self._changes_kept,))

    def _peek_failed(self, error: Exception) -> None:
        self.peek_failures += 1
        if not self._is_failing:
            _log.error("the task store %s cannot be read; checks are denied until it can: %s", self._file, error)
        self._is_failing = True


def _must_be_an_id(task_id: str) -> None:
    try:
        parse_task_id((task_id,))
    except Refused as refused:
        raise KeyError(task_id) from refused
