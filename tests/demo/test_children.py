"""Starting and ending processes, and being interrupted meanwhile."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from authz.core.errors import Unavailable
from authz.demo.children import Child
from authz.demo.interrupts import Interrupts

STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(60)
"""


def is_running(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    """Where a child writes."""
    return tmp_path / "child.log"


def child(script: str, log_file: Path) -> Child:
    """A Python that runs the script."""
    return Child("child", [sys.executable, "-c", script], log_file)


def test_a_child_that_does_not_listen_is_killed(log_file: Path) -> None:
    """SIGTERM that is ignored is followed by SIGKILL when the grace is over, and the process is gone."""
    stubborn = child(STUBBORN, log_file)
    stubborn.wait_until(lambda: "deaf" in log_file.read_text(), 20)
    stubborn.stop(grace_seconds=0.1)
    assert not is_running(stubborn.pid)
    stubborn.stop()


def test_a_childs_children_end_with_it(log_file: Path) -> None:
    """What a child has started itself is in its group and ends with it."""
    script = "import subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True); input()"
    script = script.replace("input()", "__import__('time').sleep(60)")
    parent = child(script, log_file)
    parent.wait_until(lambda: log_file.read_text().endswith("\n"), 20)
    grandchild = int(log_file.read_text())
    parent.stop()
    give_up = time.monotonic() + 10
    while is_running(grandchild) and time.monotonic() < give_up:
        time.sleep(0.01)
    assert not is_running(grandchild) or Path(f"/proc/{grandchild}/stat").read_text().split()[2] == "Z"


def test_a_child_that_ends_early_says_what_it_said(log_file: Path) -> None:
    """A child that ends before it is ready is reported with its status and its last words."""
    dying = child("import sys; sys.exit('no port left')", log_file)
    with pytest.raises(Unavailable, match=r"(?s)status 1.*no port left"):
        dying.wait_until(lambda: False, 20)


def test_a_child_that_is_never_ready_is_given_up(log_file: Path) -> None:
    """Waiting has an end."""
    idle = child("import time; time.sleep(60)", log_file)
    try:
        with pytest.raises(Unavailable, match=r"not ready after 0\.1 s"):
            idle.wait_until(lambda: False, 0.1)
    finally:
        idle.stop()


def test_a_command_that_does_not_exist_is_named(log_file: Path) -> None:
    """A program that is not there is reported as such."""
    with pytest.raises(Unavailable, match="child cannot be started"):
        Child("child", ["/nowhere/program"], log_file)


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    """Interrupts, entered."""
    with Interrupts() as entered:
        yield entered


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_signals_interrupt(interrupts: Interrupts, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end things in the same way."""
    del interrupts
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


def test_a_held_block_is_finished_first(interrupts: Interrupts) -> None:
    """A signal in a held block interrupts at the end of the outermost one, so that nothing started is forgotten."""
    reached: list[str] = []
    with pytest.raises(KeyboardInterrupt), interrupts.held():  # noqa: PT012  the order is the point
        with interrupts.held():
            signal.raise_signal(signal.SIGTERM)
            reached.append("inner")
        reached.append("outer")
    assert reached == ["inner", "outer"]


def test_ending_is_not_interrupted(interrupts: Interrupts) -> None:
    """Once things are being ended, signals change nothing."""
    interrupts.ignore()
    with interrupts.held():
        signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)


def test_the_handlers_of_before_come_back() -> None:
    """Outside of the context signals do what they did."""
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
