"""The demo over SPIRE as a user runs it."""

import contextlib
import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from authz.demo.spire import play
from authz.demo.spire_mesh import SpireMesh
from tests.support.spire import need_spire


def command_lines() -> list[str]:
    """Of all processes."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            lines.append((process / "cmdline").read_text(errors="replace"))
    return lines


def test_the_demo_is_as_expected_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo over SPIRE ends with all hops as expected; its processes have ended and its folder is gone."""
    need_spire()
    folders = []
    remove = SpireMesh._remove_folder
    monkeypatch.setattr(SpireMesh, "_remove_folder", lambda mesh: (folders.append(mesh.folder), remove(mesh))[1])
    told = io.StringIO()
    assert play(Console(file=told, width=120)) == 0
    last = told.getvalue().splitlines()[-1]
    counted = re.fullmatch(r"demo: (\d+) hops, (\d+) as expected", last)
    assert counted, last
    assert counted[1] == counted[2]
    (folder,) = folders
    assert not folder.exists()
    assert [line for line in command_lines() if str(folder) in line] == []
