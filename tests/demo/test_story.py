"""The demo as a user runs it: the real server, real Envoys, real tools."""

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from authz.core.reasons import Reason
from authz.demo import story
from authz.demo.hops import STORY, TASKS, PlannedHop, Scene

ROOT = Path(__file__).parents[2]
PLAY = """
import sys
from rich.console import Console
from authz.demo import story
sys.exit(story.play(Console(), keep_running=True))
"""
PLAY_FOR_LONG = """
import sys
from rich.console import Console
from authz.demo import hops, story
story.TASKS = {"lookup": hops.TASKS["lookup"]}
story.STORY = (hops.Scene("Again and again", 10_000 * (hops.PlannedHop("research", "lookup", 200),)),)
sys.exit(story.play(Console(), keep_running=False))
"""
PATIENCE_SECONDS = 240


@pytest.fixture
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the demo makes its folder; whatever it starts has this path on its command line."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def processes_of(folder: Path) -> list[str]:
    """The command lines of all processes that name the folder."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in words:
                found.append(words)
    return found


def assert_nothing_is_left(folder: Path) -> None:
    """No process and no file of the demo is there any more."""
    assert processes_of(folder) == []
    assert list(folder.iterdir()) == []


def test_all_hops_are_as_expected(temporary_folder: Path) -> None:
    """Every hop of the demo gets the answer that it must, in columns that 120 characters hold, and nothing is left."""
    output = io.StringIO()
    status = story.play(Console(file=output, width=80), keep_running=False)
    lines = output.getvalue().splitlines()
    count = sum(len(scene.hops) for scene in STORY) + 1
    assert lines[-1] == f"demo: {count} hops, {count} as expected", output.getvalue()
    assert status == 0
    assert max(map(len, lines)) <= 120
    assert "\x1b" not in output.getvalue()
    assert_nothing_is_left(temporary_folder)


def test_what_is_not_as_expected_shows(temporary_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hop that gets another answer, or reaches a tool that it must not reach, fails the demo; its logs are kept."""
    right = PlannedHop("research", "lookup", 200)
    wrong = PlannedHop("research", "lookup", Reason.ACTION_NOT_GRANTED)
    denied = PlannedHop("research", "lookup", Reason.ACTION_NOT_GRANTED, method="POST", path="/reports")
    missing = PlannedHop("crm", "lookup", 202, method="POST", tool="mail", path="/messages", relayed=True)
    plain = PlannedHop("research", "lookup", 200, jsonrpc_id=7)
    monkeypatch.setattr(story, "STORY", (Scene("Two right, three wrong", (right, wrong, denied, missing, plain)),))
    monkeypatch.setattr(story, "LAST_SCENE", Scene("No more", ()))
    monkeypatch.setattr(story, "TASKS", {"lookup": TASKS["lookup"]})
    output = io.StringIO()
    status = story.play(Console(file=output, width=120), keep_running=False)
    said = output.getvalue()
    assert status == story.FAILED
    assert said.splitlines()[-1] == "demo: 5 hops, 2 as expected"
    assert "NOT AS EXPECTED: expected 403 action_not_granted" in said
    assert "NOT AS EXPECTED: crm got it 1 times instead of 0" in said
    assert "NOT AS EXPECTED: the answer is not one to the JSON-RPC message" in said
    assert "NOT AS EXPECTED: mail got it 0 times instead of 1" in said
    logs = [Path(line) for line in said.splitlines() if line.startswith(str(temporary_folder))]
    assert {"authz.log", "audit.jsonl", "envoy-crm.log"} <= {log.name for log in logs if log.is_file()}
    assert processes_of(temporary_folder) == []


class Run:
    """The demo in a process group of its own, as in a terminal."""

    def __init__(self, folder: Path, script: str) -> None:
        self.folder = folder
        self._output_file = folder.parent / f"{folder.name}.out"
        with self._output_file.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", script],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
                env={**os.environ, "TMPDIR": str(folder), "COLUMNS": "120"},
            )

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._output_file.read_text()

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Return when it is so; fails when the demo ends before, or takes too long."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not is_so():
            assert self._process.poll() is None, self.output
            assert time.monotonic() < give_up, self.output
            time.sleep(0.02)

    def interrupt(self, number: signal.Signals) -> int:
        """Send the signal to the whole group, as a terminal does, and return the exit status."""
        os.killpg(self._process.pid, number)
        return self._process.wait(PATIENCE_SECONDS)

    def end(self) -> None:
        """Leave nothing behind, whatever the test found."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(PATIENCE_SECONDS)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[[str], Run]]:
    """Starts the demo."""
    runs: list[Run] = []

    def start(script: str) -> Run:
        folder = tmp_path / "tmp"
        folder.mkdir()
        runs.append(Run(folder, script))
        return runs[-1]

    yield start
    for each in runs:
        each.end()


def has_file(name: str) -> Callable[[Run], bool]:
    """Whether the demo has written such a file."""
    return lambda run: bool(list(run.folder.glob(f"authz-demo-*/{name}")))


MOMENTS: dict[str, Callable[[Run], bool]] = {
    "at the start": has_file("authz.log"),
    "while tasks are started": has_file("tasks.db"),
    "while Envoys start": has_file("envoy-mail.log"),
    "in mid-story": lambda run: "\n5 " in run.output,
}


@pytest.mark.parametrize(
    ("moment", "number"),
    [*((moment, signal.SIGINT) for moment in MOMENTS), ("in mid-story", signal.SIGTERM)],
)
def test_an_interrupt_ends_everything(run: Callable[[str], Run], moment: str, number: signal.Signals) -> None:
    """Ctrl-C or SIGTERM, at whatever moment, ends every process that the demo has started and removes its folder."""
    started = run(PLAY_FOR_LONG)
    started.wait_until(lambda: MOMENTS[moment](started))
    assert started.interrupt(number) == story.INTERRUPTED, started.output
    assert "Traceback" not in started.output
    assert_nothing_is_left(started.folder)


def test_the_mesh_stays_up_for_trying(run: Callable[[str], Run]) -> None:
    """With --keep-running the printed commands work as printed, until Ctrl-C, which ends everything with status 0."""
    started = run(PLAY)
    started.wait_until(lambda: "a task of your own" in started.output and started.output.endswith("\n\n"))
    commands = dict(re.findall(r"^# (.*)\n(.*)$", started.output, re.MULTILINE))
    if shutil.which("curl"):
        assert pasted(commands["the research agent reads a contact, and may"])["id"] == 7
        assert pasted(commands["it deletes one, and may not"])["reason"] == "action_not_granted"
        assert pasted(commands["another agent does not get in on that task"])["reason"] == "task_of_another_agent"
        assert "ended" in paste(commands["the task ends; then try the first command again"])
        assert pasted(commands["the research agent reads a contact, and may"])["reason"] == "task_ended"
    assert "task_of_another_agent" in paste(commands["what was decided, and why"])
    assert "research" in paste(commands["the tasks there are"])
    assert "active" in paste(commands["a task of your own"])
    assert started.interrupt(signal.SIGINT) == 0, started.output
    assert_nothing_is_left(started.folder)


def paste(command: str) -> str:
    """What a pasted command prints."""
    done = subprocess.run(shlex.split(command), cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def pasted(command: str) -> dict[str, object]:
    """The JSON that a pasted command prints."""
    document: dict[str, object] = json.loads(paste(command))
    return document
