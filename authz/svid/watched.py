"""Files that others replace while we run: looked at once a second, and loaded anew when what they hold has changed."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from authz.core.errors import Place, Problem, Unusable

_log = logging.getLogger("authz.svid")
_EVERY_SECONDS = 1.0


class WatchedFiles:
    """A set of small files that are loaded together. What cannot be loaded stays in force as it was.

    They are read whole and compared: a time stamp can be coarse, set back or the same for two writes, and a mounted
    ConfigMap swaps a link far above the file. A few kilobytes a second cost less than being wrong about them.
    """

    def __init__(self, what: str, files: Sequence[Path], load: Callable[[], None]) -> None:
        """`load` reads the files and puts what they hold in force; what it raises Unusable for stays as it was."""
        self.what, self._files, self._load = what, tuple(files), load
        self._seen: tuple[bytes | str, ...] = self._look()
        self.loads = 0
        self.refusals = 0
        self.trouble = ""  # why the present state is not in force; empty where it is

    def start(self) -> None:
        """Load for the first time; raises Unusable."""
        # Looked at before it is read: a write between the two is seen at the next look.
        self._seen = self._look()
        self._load()
        self.loads += 1

    def look(self) -> None:
        """Load anew if anything changed since the last look. Never raises Unusable: it is counted, and logged once."""
        seen = self._look()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._load()
        except Unusable as error:
            self.refusals += 1
            if self.trouble != str(error):
                _log.error("%s: what cannot be used stays as it was: %s", self.what, error)
            self.trouble = str(error)
        else:
            self.loads += 1
            self.trouble = ""
            _log.info("%s: read anew", self.what)

    async def watch(self, every_seconds: float = _EVERY_SECONDS) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(every_seconds)
            self.look()

    def _look(self) -> tuple[bytes | str, ...]:
        return tuple(map(_content, self._files))


def read_file(path: Path) -> bytes:
    """The content; raises Unusable where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        remedy = "Create the file, or correct its path or permissions."
        raise Unusable(Problem(Place(path), f"cannot be read: {error.strerror}", remedy)) from error


def _content(path: Path) -> bytes | str:
    """The content, or why there is none."""
    try:
        return path.read_bytes()
    except OSError as error:
        return str(error.strerror)
