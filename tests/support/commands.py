"""The command line as people run it: a process, its exit status and what it printed."""

import subprocess
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    status: int
    out: str
    err: str


def authz(*arguments: object) -> Ended:
    """Run `authz` with these arguments; a traceback fails the test, whatever the exit status."""
    command = [sys.executable, "-m", "authz", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in ended.stderr, ended.stderr
    return Ended(ended.returncode, ended.stdout, ended.stderr)
