"""The command line as people run it: arguments in, exit status and what was printed out."""

import contextlib
import io
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from unittest.mock import patch

from authz.cli import main


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    status: int
    out: str
    err: str


def authz(*arguments: object) -> Ended:
    """Run `authz` with these arguments inside this process; an exception that comes out fails the test."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["authz", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        status = _status(main)
    return Ended(status, out.getvalue(), err.getvalue())


def authz_process(*arguments: object) -> Ended:
    """Run it as a process of its own; a traceback fails the test, whatever the exit status."""
    command = [sys.executable, "-m", "authz", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in ended.stderr, ended.stderr
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def _status(run: Callable[[], None]) -> int:
    try:
        run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
