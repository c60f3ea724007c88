"""Processes of ours, each in a group of its own and ended by its id.

A Child runs until it is stopped and writes into a file; a Command ends by itself and is asked for its output.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from authz.core.errors import Unavailable

_POLL_SECONDS = 0.01
_SHOWN_LOG_LINES = 12
_COMMAND_SECONDS = 120.0


class Child:
    """A started process. Whoever makes one must `stop` it.

    It leads its own process group, so that a terminal's Ctrl-C reaches us alone and we end things in order.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log_file: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start `command`, its output appended to the file, in our environment or the given one; raises Unavailable."""
        self.name = name
        self.log_file = log_file
        with log_file.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    process_group=0,
                    env=environment,
                )
            except OSError as error:
                raise Unavailable(f"{name} cannot be started: {error}") from error

    @property
    def pid(self) -> int:
        """The process id, which is also its group's."""
        return self._process.pid

    def wait_until(self, is_ready: Callable[[], bool], timeout_seconds: float) -> None:
        """Ask again and again until it is ready; raises Unavailable where it ended or takes longer."""
        give_up = time.monotonic() + timeout_seconds
        while not is_ready():
            if self._process.poll() is not None:
                raise Unavailable(f"{self.name} ended with status {self._process.returncode}:\n{self.log_tail()}")
            if time.monotonic() > give_up:
                raise Unavailable(f"{self.name} is not ready after {timeout_seconds:g} s:\n{self.log_tail()}")
            time.sleep(_POLL_SECONDS)

    def stop(self, grace_seconds: float = 3.0) -> None:
        """End it: SIGTERM to its group, SIGKILL where that was not enough in time. Stopping twice is stopping once."""
        if self._signal(signal.SIGTERM):
            try:
                self._process.wait(grace_seconds)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it at once, without a word to it."""
        if self._signal(signal.SIGKILL):
            self._process.wait()

    def log_tail(self) -> str:
        """The last lines of its output, indented."""
        lines = self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-_SHOWN_LOG_LINES:])

    def _signal(self, number: signal.Signals) -> bool:
        """Whether it was still ours to signal: once waited for, its id may be another process's."""
        if self._process.poll() is not None:
            return False
        os.killpg(self._process.pid, number)
        return True


class Command:
    """A command that has been started. Whoever makes one must `stop` it, unless it has been asked for its output."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start `command` in the given environment; raises Unavailable."""
        self.name = name
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                process_group=0,
                env=environment,
                text=True,
            )
        except OSError as error:
            raise Unavailable(f"{name} cannot be started: {error}") from error

    def output(self) -> str:
        """What it printed, once it has ended; raises Unavailable where it failed."""
        try:
            output, errors = self._process.communicate(timeout=_COMMAND_SECONDS)
        except subprocess.TimeoutExpired as error:
            self.stop()
            raise Unavailable(f"{self.name} takes longer than {_COMMAND_SECONDS:g} s") from error
        if self._process.returncode:
            raise Unavailable(f"{self.name} ended with status {self._process.returncode}:\n{errors}")
        return output

    def stop(self) -> None:
        """End it at once if it has not ended. Stopping twice is stopping once."""
        with self._process as process:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
