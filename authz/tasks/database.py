"""SQLite connections that know which file they have open, and the one way to write.

In goes the path of a task store; out come connections that are proven to hold its schema, and transactions that only
one process of this machine has at a time. SQLite's errors become Unusable where a file is opened first, and Unavailable
afterwards.
"""

import fcntl
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from authz.core.errors import Place, Problem, Unavailable, Unusable
from authz.tasks.schema import bring_up_to_date, must_be_ours

# STRICT tables came with 3.37.
_OLDEST_SQLITE = (3, 37, 0)
# Before 3.51.3, a checkpoint that races a write can lose committed rows. The file lock around every write transaction,
# which is also the only time when we checkpoint, keeps them apart; writers that do not take it are not kept apart.
_SAFE_WITH_FOREIGN_WRITERS = (3, 51, 3)

_LOCK_POLL_SECONDS = 0.001
_NEVER_WAITS = 0.0

_REMEDY_BY_CODE = {
    sqlite3.SQLITE_NOTADB: "Name another file, or move this one away: a new one is made in its place.",
    sqlite3.SQLITE_CORRUPT: "Restore it from a backup while nothing has it open.",
    sqlite3.SQLITE_CANTOPEN: "Make the file, and the folder it is in, writable for this user.",
    sqlite3.SQLITE_READONLY: "Make the file, and the folder it is in, writable for this user.",
    sqlite3.SQLITE_PERM: "Make the file, and the folder it is in, writable for this user.",
}
_PRIMARY_CODE = 0xFF

_log = logging.getLogger("authz.tasks")

_FileIdentity = tuple[int, int]  # device, inode


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection, and the identity of the file that it has open.

    SQLite goes on reading a file that was deleted or replaced, and nothing it says changes; only a look at the path
    tells. The file itself is never opened here: closing a descriptor of it would drop all of SQLite's locks.
    """

    connection: sqlite3.Connection
    file: Path
    identity: _FileIdentity
    log_identity: _FileIdentity
    busy_timeout_seconds: float

    @classmethod
    def open(cls, file: Path, *, busy_timeout_seconds: float = _NEVER_WAITS) -> Self:
        """Open a task store that exists; raises Unusable, sqlite3.Error or OSError."""
        identity = _identity(file)
        connection = connect(file, create=False, busy_timeout_seconds=busy_timeout_seconds)
        try:
            must_be_ours(connection, file)
            log_identity = _identity(_log_of(file))  # the proof above has read, and so opened it
            _must_still_be(file, identity)
        except BaseException:
            connection.close()
            raise
        return cls(connection, file, identity, log_identity, busy_timeout_seconds)

    def in_place(self) -> Self:
        """This, or another in its stead if the path leads to another file now; raises as `open` does.

        The old connection stays open until the new one is, so that the system cannot give its inodes to new files.
        """
        if _identity(self.file) == self.identity:
            return self
        if _log_of(self.file).exists() and _identity(_log_of(self.file)) == self.log_identity:
            raise OSError(f"{self.file} was replaced beside the write-ahead log of the file before it")
        reopened = type(self).open(self.file, busy_timeout_seconds=self.busy_timeout_seconds)
        self.connection.close()
        return reopened


class Writer:
    """The connection that writes. Threads and processes take turns."""

    def __init__(self, file: Path, *, timeout_seconds: float) -> None:
        """Open the file, made and brought up to date where needed; raises Unusable or Unavailable."""
        _must_be_possible(file)
        self._file = file
        self._timeout_seconds = timeout_seconds
        self._turn = threading.Lock()
        try:
            with _file_lock(file, timeout_seconds):
                _make(file, timeout_seconds)
                self._opened = Opened.open(file, busy_timeout_seconds=timeout_seconds)
        except (sqlite3.Error, OSError) as error:
            raise _why_not_opened(file, error) from error

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for statements that only read; raises Unavailable."""
        with self._translating(), self._turn:
            yield self._in_place()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """The connection in a transaction of its own, kept when the block ends without an error; raises Unavailable."""
        with self._translating(), self._turn, _file_lock(self._file, self._timeout_seconds):
            connection = self._in_place()
            # Not a plain BEGIN: one that reads first and then writes fails at once where another wrote in between.
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection."""
        # Without our lock, although the last connection to close checkpoints: SQLite has the file for itself then.
        self._opened.connection.close()

    def _in_place(self) -> sqlite3.Connection:
        self._opened = self._opened.in_place()
        return self._opened.connection

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, Unusable) as error:
            raise Unavailable(f"the task store {self._file}: {error}") from error


def connect(file: Path, *, create: bool, busy_timeout_seconds: float) -> sqlite3.Connection:
    """A connection with our settings; raises sqlite3.Error."""
    connection = sqlite3.connect(
        f"{file.absolute().as_uri()}?mode={'rwc' if create else 'rw'}",
        uri=True,
        timeout=busy_timeout_seconds,
        isolation_level=None,  # transactions are ours to begin and end
        check_same_thread=False,
    )
    try:
        for setting in ("synchronous=FULL", "foreign_keys=ON", "wal_autocheckpoint=100"):
            connection.execute(f"PRAGMA {setting}").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def _must_be_possible(file: Path) -> None:
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        what = f"SQLite {sqlite3.sqlite_version} is too old for the task store"
        remedy = f"Use a Python with SQLite {'.'.join(map(str, _OLDEST_SQLITE))} or later."
        raise Unusable(Problem(Place(file), what, remedy))
    if not file.parent.is_dir():
        remedy = f"Create the folder {file.parent}, or name a file in another."
        raise Unusable(Problem(Place(file), "the task store's folder does not exist", remedy))
    if sqlite3.sqlite_version_info < _SAFE_WITH_FOREIGN_WRITERS:
        _log.info("SQLite %s: nothing but authz may write to %s while it is in use", sqlite3.sqlite_version, file)


def _make(file: Path, timeout_seconds: float) -> None:
    with closing(connect(file, create=True, busy_timeout_seconds=timeout_seconds)) as connection:
        bring_up_to_date(connection, file)


@contextmanager
def _file_lock(file: Path, timeout_seconds: float) -> Iterator[None]:
    """One process at a time; the system frees the lock of one that dies. Raises OSError, and Unavailable in the end.

    The lock file is opened anew each time, so that it works between threads too, and after someone deleted it.
    """
    descriptor = os.open(f"{file.resolve()}.lock", os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + timeout_seconds
        while not _took_lock(descriptor):
            if time.monotonic() >= deadline:
                raise Unavailable(f"the task store {file}: another process has been writing for {timeout_seconds:g} s")
            time.sleep(_LOCK_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _took_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _identity(file: Path) -> _FileIdentity:
    found = file.stat()
    return found.st_dev, found.st_ino


def _must_still_be(file: Path, identity: _FileIdentity) -> None:
    if _identity(file) != identity:
        raise OSError(f"{file} was replaced while it was opened")


def _log_of(file: Path) -> Path:
    return Path(f"{file.resolve()}-wal")


def _why_not_opened(file: Path, error: sqlite3.Error | OSError) -> Unusable | Unavailable:
    if isinstance(error, OSError):
        remedy = _REMEDY_BY_CODE[sqlite3.SQLITE_PERM]
        return Unusable(Problem(Place(file), f"the task store cannot be opened: {error}", remedy))
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE
    if code in _REMEDY_BY_CODE:
        return Unusable(Problem(Place(file), f"the task store cannot be opened: {error}", _REMEDY_BY_CODE[code]))
    return Unavailable(f"the task store {file}: {error}")
