"""The audit log's promise: a line that was acknowledged is there, whole; what cannot be kept is refused."""

import itertools
import json
import os
import select
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from authz.core.errors import Unavailable, Unusable
from authz.observe.audit import JsonLinesAudit
from authz.observe.audit_line import MAX_LINE_BYTES
from tests.support.records import arrival, record

ROOT = Path(__file__).parents[2]
FULL = Path("/dev/full")

# What other processes run: `append` adds a line of nearly 4,096 bytes with this id.
PREAMBLE = """
import os, resource, sys
from authz.core.decision import Deny
from authz.core.errors import Unavailable
from authz.core.reasons import Reason
from authz.core.record import Arrival, Record
from authz.core.request import Request
from authz.observe.audit import JsonLinesAudit

audit = JsonLinesAudit(sys.argv[1])
request = Request("GET", "h" * 250, "/" + "p" * 1000, {}, "", "", "")

def append(decision_id):
    decision = Deny(Reason.INTERNAL_ERROR, "d" * 1000)
    audit.append(Record(Arrival(0, 0, decision_id), None, request, None, None, None, None, None, decision), 0.001)
"""

# Once its standard input ends, appends lines with the writer's name and a number, and says so after each.
WRITER = """
name, count = sys.argv[2], int(sys.argv[3])
print("ready", file=sys.stderr, flush=True)
sys.stdin.read()
for number in range(count):
    while True:
        try:
            append(f"{name}{number}")
            break
        except Unavailable:
            pass  # a reader that was slow for once
    if sys.argv[1] != "-":
        print(number, flush=True)
"""

# Appends until it is refused, and then once more; tells why.
UNTIL_FULL = """
refusals = 0
while refusals < 2:
    try:
        append("a")
    except Unavailable as error:
        print(error, file=sys.stderr)
        refusals += 1
"""

# Appends to a file that may not grow beyond 100 bytes after its first line, and then may again.
ON_A_SMALL_DISK = """
append("whole")
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(sys.argv[1]) + 100, unlimited[1]))
for refused in ("broken", "refused"):
    try:
        append(refused)
    except Unavailable as error:
        print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
append("after")
append("last")
"""


@contextmanager
def audit_to(destination: Path | str) -> Iterator[JsonLinesAudit]:
    """An audit log that is closed in the end."""
    audit = JsonLinesAudit(destination)
    try:
        yield audit
    finally:
        audit.close()


def ids(text: str) -> list[str]:
    """The decision ids of all lines; each must be whole."""
    return [json.loads(each)["decision_id"] for each in text.splitlines()]


def append(audit: JsonLinesAudit, decision_id: str) -> None:
    """One line with this id."""
    audit.append(record(arrival=arrival(decision_id=decision_id)), 0.001)


def run(code: str, *arguments: str, stdin: int = subprocess.DEVNULL, stdout: int) -> "subprocess.Popen[bytes]":
    """Another process of ours."""
    command = [sys.executable, "-c", PREAMBLE + code, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE)


def test_lines_are_there_when_append_returns(tmp_path: Path) -> None:
    """Each record's line stands at the end of the file, in order, as soon as it is acknowledged."""
    file = tmp_path / "audit.jsonl"
    with audit_to(file) as audit:
        for number in range(3):
            append(audit, str(number))
            assert [str(each) for each in range(number + 1)] == ids(file.read_text())


def test_a_restart_goes_on_in_the_same_file(tmp_path: Path) -> None:
    """What is in the file already stays, and new lines follow it."""
    file = tmp_path / "audit.jsonl"
    for run in ("first", "second"):
        with audit_to(file) as audit:
            append(audit, run)
    assert ids(file.read_text()) == ["first", "second"]


def test_only_the_owner_writes_and_its_group_reads(tmp_path: Path) -> None:
    """A new file has the mode 0640, and a tighter umask is respected."""
    for umask, mode in ((0o022, 0o640), (0o077, 0o600)):
        file = tmp_path / f"{umask}.jsonl"
        before = os.umask(umask)
        try:
            with audit_to(file):
                assert mode == stat.S_IMODE(file.stat().st_mode)
        finally:
            os.umask(before)


def test_standard_output_takes_the_lines(capfd: pytest.CaptureFixture[str]) -> None:
    """Where the destination is `-`, lines go to standard output."""
    with audit_to("-") as audit:
        append(audit, "one")
        append(audit, "two")
    audit_lines = capfd.readouterr().out
    assert ids(audit_lines) == ["one", "two"]


def test_a_folder_that_is_missing_stops_the_start(tmp_path: Path) -> None:
    """No audit log, no server: the file, the cause and the remedy are named."""
    file = tmp_path / "missing" / "audit.jsonl"
    with pytest.raises(Unusable) as caught:
        JsonLinesAudit(file)
    assert f"{file}: not usable as the audit log: No such file or directory" in str(caught.value)
    assert "Create its folder" in str(caught.value)


def test_a_folder_is_no_audit_log(tmp_path: Path) -> None:
    """A folder's name is refused at the start."""
    with pytest.raises(Unusable, match="Name a file, not a folder"):
        JsonLinesAudit(tmp_path)


def test_a_pipe_without_a_reader_stops_the_start(tmp_path: Path) -> None:
    """A named pipe that nobody reads is refused at once, not waited for."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(Unusable, match="Start what reads this pipe"):
        JsonLinesAudit(pipe)


def test_a_full_disk_is_no_audit_log() -> None:
    """Where the device is full, no append is acknowledged."""
    with audit_to(FULL) as audit:
        for _ in range(3):
            with pytest.raises(Unavailable, match="No space left on device"):
                append(audit, "lost")


def test_a_line_that_broke_off_stands_alone(tmp_path: Path) -> None:
    """A disk that fills up within a line refuses that record; later lines begin on a line of their own, whole."""
    file = tmp_path / "audit.jsonl"
    with run(ON_A_SMALL_DISK, str(file), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = process.stdout.read().decode().splitlines()
    first, broken, *rest = file.read_text().splitlines()
    assert len(broken) == 100
    assert ids("\n".join([first, *rest])) == ["whole", "after", "last"]
    assert len(said) == 2
    assert "took 100 of" in said[0]
    assert "File too large" in said[1]


def test_a_line_that_an_earlier_process_broke_off_stands_alone(tmp_path: Path) -> None:
    """A file that ends within a line, as after a full disk, gets a newline before the next record."""
    file = tmp_path / "audit.jsonl"
    file.write_text('{"time":"20')
    with audit_to(file) as audit:
        append(audit, "next")
    broken, whole = file.read_text().splitlines()
    assert broken == '{"time":"20'
    assert ids(whole) == ["next"]


def test_a_reader_that_has_gone_is_no_audit_log() -> None:
    """A pipe whose reader has closed it takes no record, and no signal ends the server."""
    reading, writing = os.pipe()
    with audit_to(Path(f"/proc/self/fd/{writing}")) as audit:
        append(audit, "read")
        os.close(reading)
        with pytest.raises(Unavailable, match="Broken pipe"):
            append(audit, "lost")
    os.close(writing)


def test_a_reader_that_has_stopped_is_no_audit_log(tmp_path: Path) -> None:
    """A pipe that is full refuses records instead of waiting for its reader, and takes them again once it is read."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with audit_to(pipe) as audit:
        acknowledged = 0
        with pytest.raises(Unavailable, match="has stopped reading"):  # noqa: PT012  it takes some until it is full
            while True:
                append(audit, str(acknowledged))
                acknowledged += 1
        began = time.monotonic()
        with pytest.raises(Unavailable):
            append(audit, "lost")
        assert time.monotonic() - began < 5  # a blocked write would never return
        received = os.read(reading, 1 << 20).decode()
        append(audit, "later")
        received += os.read(reading, 1 << 20).decode()
    os.close(reading)
    assert [*map(str, range(acknowledged)), "later"] == ids(received)


def test_standard_output_that_is_full_does_not_hang_the_server() -> None:
    """A full pipe on standard output refuses records too, although writing to it would wait."""
    reading, writing = os.pipe()
    with run(UNTIL_FULL, "-", stdout=writing) as process:
        os.close(writing)
        assert process.stderr is not None
        said = process.stderr.read().decode().splitlines()
    assert said == ["standard output: what reads the audit log has stopped reading"] * 2
    with os.fdopen(reading) as pipe:
        assert ids(pipe.read())


def test_after_a_rotation_lines_go_to_the_new_file(tmp_path: Path) -> None:
    """Lines go to the renamed file until `reopen`, and to a new one of the old name after it; none is lost."""
    file, rotated = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    with audit_to(file) as audit:
        append(audit, "one")
        file.rename(rotated)
        append(audit, "two")
        audit.reopen()
        append(audit, "three")
    assert ids(rotated.read_text()) == ["one", "two"]
    assert ids(file.read_text()) == ["three"]


def test_a_rotation_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    """Where no new file can be opened, `reopen` says so and lines still go to the old one."""
    folder = tmp_path / "log"
    folder.mkdir()
    with audit_to(folder / "audit.jsonl") as audit:
        append(audit, "one")
        folder.rename(tmp_path / "moved")
        with pytest.raises(Unavailable, match="cannot be reopened"):
            audit.reopen()
        append(audit, "two")
    assert ids((tmp_path / "moved" / "audit.jsonl").read_text()) == ["one", "two"]


def test_rotating_under_load_loses_nothing(tmp_path: Path) -> None:
    """While another thread appends without a pause, twenty rotations neither lose nor break a line."""
    file = tmp_path / "audit.jsonl"
    appended: list[str] = []
    done = threading.Event()
    with audit_to(file) as audit:

        def load() -> None:
            while not done.is_set():
                append(audit, str(len(appended)))
                appended.append(str(len(appended)))

        thread = threading.Thread(target=load)
        thread.start()
        for rotation in range(20):
            time.sleep(0.005)
            file.rename(tmp_path / f"{rotation:02d}.jsonl")
            audit.reopen()
        done.set()
        thread.join()
    parts = [*sorted(tmp_path.glob("??.jsonl")), file]
    assert len([part for part in parts if part.stat().st_size]) > 10
    assert appended == [each for part in parts for each in ids(part.read_text())]


def test_reopening_standard_output_changes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """There is nothing to rotate there, and lines go on."""
    with audit_to("-") as audit:
        audit.reopen()
        append(audit, "one")
    assert ids(capfd.readouterr().out) == ["one"]


@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_lines_of_two_processes_never_mix(tmp_path: Path, kind: str) -> None:
    """Two processes append long lines to one file, or to one pipe: every line is whole, and each keeps its order."""
    count = 1000
    file = tmp_path / "audit.jsonl"
    destination = str(file) if kind == "file" else "-"
    waiting, gate = os.pipe()
    reading, writing = os.pipe()
    stdout = subprocess.DEVNULL if kind == "file" else writing
    with ExitStack() as stack:
        pipe = stack.enter_context(os.fdopen(reading))
        writers = [
            stack.enter_context(run(WRITER, destination, name, str(count), stdin=waiting, stdout=stdout))
            for name in "ab"
        ]
        os.close(writing)
        os.close(waiting)
        for each in writers:
            assert each.stderr is not None
            assert each.stderr.readline() == b"ready\n"
        os.close(gate)
        from_pipe = pipe.read()
    assert [each.returncode for each in writers] == [0, 0]
    found = ids(file.read_text() if kind == "file" else from_pipe)
    turns = sum(one[0] != other[0] for one, other in itertools.pairwise(found))
    assert turns > 1, "one was done before the other began, so this run shows nothing"
    for name in "ab":
        assert [f"{name}{number}" for number in range(count)] == [each for each in found if each[0] == name]


def test_an_acknowledged_line_outlives_a_killed_process(tmp_path: Path) -> None:
    """SIGKILL at any moment loses no line whose append had returned; only one that had not can be cut short."""
    file = tmp_path / "audit.jsonl"
    with run(WRITER, str(file), "a", "1000000", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        select.select([process.stdout], [], [], 10)
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        acknowledged = process.stdout.read().split()
    assert acknowledged
    whole, _, _cut_short = file.read_text().rpartition("\n")  # the kernel may end a write between two pages
    kept = ids(whole)
    assert [f"a{number.decode()}" for number in acknowledged] == kept[: len(acknowledged)]


def test_the_longest_line_goes_into_a_pipe_whole_or_not_at_all() -> None:
    """The bound on a line's length is what the kernel takes from one write without mixing it with another."""
    assert MAX_LINE_BYTES <= select.PIPE_BUF
