"""However a server on the completion queue ends, its process neither crashes nor hangs; what came in is answered."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.queue_lives import CALLS, LIVES, MANY, ROUNDS

ROOT = Path(__file__).parents[2]
BOUND_SECONDS = 120

ENDS = {
    "started_and_stopped": str(ROUNDS),
    "with_slow_calls_within_the_grace": str({"answered": CALLS}),
    "with_slow_calls_beyond_the_grace": str({"denied": CALLS}),
    "with_more_calls_than_are_taken_in": str({"answered": MANY}),
    "with_silent_peers": str((True, 100)),
    "by_a_failing_program": "failing",
    "with_answers_that_come_too_late": "False",
}
"""The last line of those where it says something."""


@pytest.mark.parametrize("life", LIVES)
def test_it_ends_in_time_and_without_a_crash(life: str) -> None:
    """Exit status 0, within the bound; an abort would be -6, a crash -11, a hang would be over it."""
    command = [sys.executable, "-m", "tests.support.queue_lives", life]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=BOUND_SECONDS, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout.splitlines()[-1] == ENDS.get(life, ended.stdout.splitlines()[-1])
