"""The audit log: records in, one line of JSON each at the end of a file or on standard output, before the answer.

A line reaches the kernel in one write, whole, or the check is denied. Lines outlive this process, however it ends; a
machine that loses its power may lose the last of them.
"""

import errno
import os
import select
import stat
from collections.abc import Iterable
from pathlib import Path

from authz.core.errors import Place, Problem, Unavailable, Unusable
from authz.core.record import Record
from authz.observe.audit_line import line

STANDARD_OUTPUT = "-"

_STDOUT_FD = 1
_MODE = 0o640
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_PATIENCE_MS = 100
"""How long a full pipe may hold up this process, once: until its reader goes on, later checks are denied at once."""


class JsonLinesAudit:
    """Appends a line for each check. Several processes may append to one file."""

    def __init__(self, destination: Path | str, values: Iterable[str] = ()) -> None:
        """`destination` is a file in a folder that exists, or `-`; raises Unusable where it cannot be opened.

        `values` names the arguments and path parameters whose values may be written down.
        """
        self._values = frozenset(values)
        self._file = None if destination == STANDARD_OUTPUT else Path(destination)
        self._name = "standard output" if self._file is None else str(self._file)
        try:
            self._fd = _open(self._file)
        except OSError as error:
            problem = Problem(Place(Path(self._name)), f"not usable as the audit log: {error.strerror}", _remedy(error))
            raise Unusable(problem) from error
        self._may_fill = self._is_full = self._within_a_line = False
        self._room = select.poll()
        self._look()

    def append(self, record: Record, duration_seconds: float) -> None:
        """Write the record's line; raises Unavailable where it was not written whole."""
        data = line(record, duration_seconds, self._values)
        if self._within_a_line:
            data = b"\n" + data
        try:
            if self._may_fill:
                self._wait_for_room()
            written = os.write(self._fd, data)
        except OSError as error:
            raise Unavailable(f"{self._name}: the audit log cannot be written: {error.strerror}") from error
        # What is missing is not written after: another process may have appended its own line in between.
        self._within_a_line = written < len(data)
        if self._within_a_line:
            raise Unavailable(f"{self._name}: the audit log took {written} of {len(data)} bytes")

    def reopen(self) -> None:
        """Go on in the file that now has the name, after a rotation; raises Unavailable and keeps the old one."""
        if self._file is None:
            return
        try:
            fd = _open(self._file)
        except OSError as error:
            raise Unavailable(f"{self._name}: the audit log cannot be reopened: {error.strerror}") from error
        # The number stays the same, so that an append in another thread never meets a closed descriptor.
        os.dup2(fd, self._fd, inheritable=False)
        os.close(fd)
        self._look()

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)

    def _wait_for_room(self) -> None:
        # Where poll says that there is room, a pipe takes a whole line.
        self._is_full = not self._room.poll(0 if self._is_full else _PATIENCE_MS)
        if self._is_full:
            raise Unavailable(f"{self._name}: what reads the audit log has stopped reading")

    def _look(self) -> None:
        """What kind of thing the descriptor is, and whether something broke off in the middle of a line there."""
        regular = stat.S_ISREG(os.fstat(self._fd).st_mode)
        self._may_fill = not regular
        self._room.register(self._fd, select.POLLOUT)
        self._within_a_line = self._file is not None and regular and _ends_within_a_line(self._file)


def _open(file: Path | None) -> int:
    # Standard output is not opened anew by its name: a process that was started by another user may not do that.
    return os.dup(_STDOUT_FD) if file is None else os.open(file, _FLAGS, _MODE)


def _ends_within_a_line(file: Path) -> bool:
    """Whether the last byte is no newline; also where the file may not be read, as an empty line does no harm."""
    try:
        with file.open("rb") as readable:
            if not readable.seek(0, os.SEEK_END):
                return False
            readable.seek(-1, os.SEEK_END)
            return readable.read(1) != b"\n"
    except OSError:
        return True


def _remedy(error: OSError) -> str:
    match error.errno:
        case errno.ENOENT:
            return "Create its folder; the file itself is made as needed."
        case errno.EISDIR:
            return "Name a file, not a folder."
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return "Let the server's user write there."
        case errno.ENXIO:
            return "Start what reads this pipe before the server."
        case _:
            return "Name another file, or - for standard output."
