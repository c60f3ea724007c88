"""The embedded task store: one SQLite file, shared by the processes of one machine.

Implements Tasks, TaskKeeper, TaskReader and TaskNews. Every change of a task is committed together with a row of the
change log, whose sequence has no gaps. Before each check, `peek` asks SQLite whether anything was committed and, if so,
forgets the tasks that the log names: what was acknowledged before a check began is never decided on old knowledge.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from authz.core.acts import Act, NoSuchTask
from authz.core.errors import Unavailable, Unusable
from authz.core.memory import Memory
from authz.core.outcome import TaskWant
from authz.core.task import Task
from authz.core.view import News, TaskView
from authz.tasks.database import Opened, Writer
from authz.tasks.ids import must_be_an_id
from authz.tasks.records import NotARecord
from authz.tasks.requests import read_request
from authz.tasks.schema import EVERYTHING
from authz.tasks.sqlite_acts import perform, purge
from authz.tasks.sqlite_rows import TASK, Change, newest_change, request_documents, stored_task

CHANGES_KEPT = 100_000
"""How many rows the change log holds. Who falls further behind forgets everything and reads anew."""
CHANGES_APPLIED_AT_ONCE = 1_000
"""Beyond so many, forgetting everything is quicker than forgetting each, and a check must not wait."""
FILE_CHECK_SECONDS = 1.0
"""How often the path is looked at for another file. SQLite itself does not notice one."""
WRITE_TIMEOUT_SECONDS = 5.0
MAX_WAITING = 256
"""How many acts may wait for the disk. Beyond, checks are denied at once instead of piling up."""
PURGED_AT_ONCE = 50
"""How many expired tasks one transaction deletes; others wait for it."""

_NS = 1_000_000_000
_NO_VERSION = -1
_NOWHERE = (0, "")  # the log begins at 1
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
        self._newest: Change = _NOWHERE
        self._waiting = 0
        self._writing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="task-store")
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

    async def fetch(self, wants: frozenset[TaskWant]) -> None:
        """Read tasks into memory, inline because it takes some twenty microseconds; see `ports.Tasks`.

        A change cannot slip in between and leave an old record in memory: reading and remembering are one step of the
        one thread that also peeks, and the log is only read on by `peek`. A change that the record does not show yet is
        committed after it was read, so the next `peek` finds it and forgets the record.
        """
        try:
            self._follow_the_file()
            as_of_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            for want in wants:
                self._read(want.task_id, as_of_ns)
        except (sqlite3.Error, OSError, Unusable) as error:
            raise Unavailable(f"the task store {self._file}: {error}") from error

    async def do(self, act: Act) -> None:
        """Do an act, on a thread of its own because it waits for the disk and other writers; see `ports.TaskKeeper`.

        Raises NotARecord, a ValueError, where the task or request to be kept could not be read back.
        """
        if self._waiting >= MAX_WAITING:
            raise Unavailable(f"the task store {self._file}: {self._waiting} changes wait to be written")
        self._waiting += 1
        try:
            await asyncio.get_running_loop().run_in_executor(self._writing, self._do, act)
        finally:
            self._waiting -= 1

    async def get(self, task_id: str) -> TaskView:
        """The task; raises Unavailable, also where its record cannot be read, and NoSuchTask."""
        return await asyncio.get_running_loop().run_in_executor(self._writing, self._get, task_id)

    async def list(self, after: str, most: int) -> Sequence[Task]:
        """Tasks whose records can be read, by id; the others are named in the log. Raises Unavailable."""
        return await asyncio.get_running_loop().run_in_executor(self._writing, self._list, after, most)

    async def since(self, place: str) -> News:
        """What changed since; see `ports.TaskNews`."""
        return await asyncio.get_running_loop().run_in_executor(self._writing, self._since, place)

    async def purge(self, expired_before_unix_seconds: float) -> int:
        """Delete tasks that expired before then, a few at a time; returns how many. Raises Unavailable."""
        return await asyncio.get_running_loop().run_in_executor(self._writing, self._purge, expired_before_unix_seconds)

    def _do(self, act: Act) -> None:
        with self._writer.transaction() as connection:
            for task_id in perform(connection, act):
                self._log_change(connection, task_id)

    def _purge(self, expired_before_unix_seconds: float) -> int:
        with self._writer.transaction() as connection:
            purged = purge(connection, int(expired_before_unix_seconds * 1000), PURGED_AT_ONCE)
            for task_id in purged:
                self._log_change(connection, task_id)
        return len(purged)

    def _get(self, task_id: str) -> TaskView:
        must_be_an_id(task_id)
        with self._writer.reading() as connection:
            rows = connection.execute(f"{TASK} WHERE id = ?", (task_id,)).fetchall()
            documents = request_documents(connection, task_id)
        if not rows:
            raise NoSuchTask(task_id)
        try:
            return TaskView(stored_task(rows[0]).task(), tuple(map(read_request, documents)))
        except NotARecord as error:
            raise Unavailable(f"the record of the task {task_id} cannot be read: {error}") from error

    def _list(self, after: str, most: int) -> Sequence[Task]:
        tasks = list[Task]()
        while not tasks:  # an empty page would say that there are no more
            with self._writer.reading() as connection:
                rows = connection.execute(f"{TASK} WHERE id > ? ORDER BY id LIMIT ?", (after, most)).fetchall()
            if not rows:
                break
            for row in rows:
                try:
                    tasks.append(stored_task(row).task())
                except NotARecord as error:
                    _log.warning("left out: the record of the task %s cannot be read: %s", row[0], error)
            after = rows[-1][0]
        return tasks

    def _since(self, place: str) -> News:
        with self._writer.reading() as connection:
            newest = newest_change(connection)[0]
            if not place:
                return News(str(newest))
            rows: Sequence[Change] = connection.execute(
                "SELECT seq, task FROM change WHERE seq > ? ORDER BY seq LIMIT ?", (int(place), CHANGES_APPLIED_AT_ONCE)
            ).fetchall()
        if not rows:
            return News(place, is_everything=newest != int(place))
        is_everything = rows[0][0] != int(place) + 1 or any(task_id == EVERYTHING for _, task_id in rows)
        return News(str(rows[-1][0]), tuple(dict.fromkeys(task_id for _, task_id in rows)), is_everything)

    async def close(self) -> None:
        """Close the file, once what is being written is written."""
        self._writing.shutdown()
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
            self._newest = newest_change(self._connection)

    def _goes_on(self, changes: Sequence[Change]) -> bool:
        """The first is the newest we know, so it is the same log, and each of the others follows the one before it."""
        return (
            len(changes) <= CHANGES_APPLIED_AT_ONCE + 1
            and changes[:1] == [self._newest]
            and changes[-1][0] - changes[0][0] == len(changes) - 1
            and all(task_id != EVERYTHING for _, task_id in changes[1:])
        )

    def _read(self, task_id: str, as_of_ns: int) -> None:
        rows = self._connection.execute(f"{TASK} WHERE id = ?", (task_id,)).fetchall()
        if not rows:
            self._memory.put_absent(task_id, as_of_ns)
            return
        try:
            self._memory.put(stored_task(rows[0]).task(), as_of_ns)
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
