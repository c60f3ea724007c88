"""The demo over SPIRE as a user runs it."""

import contextlib
import io
import re
from pathlib import Path

from rich.console import Console

from authz.demo.spire import play
from tests.support.spire import need_spire


def command_lines() -> list[str]:
    """Of all processes."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            lines.append((process / "cmdline").read_text(errors="replace"))
    return lines


def test_the_demo_is_as_expected_and_leaves_nothing() -> None:
    """The demo over SPIRE ends with all hops as expected; its processes have ended and its folder is gone."""
    need_spire()
    told = io.StringIO()
    assert play(Console(file=told, width=120)) == 0, told.getvalue()
    up = re.search(r"^all up after [0-9.]+ s, in (/\S+)$", told.getvalue(), re.MULTILINE)
    counted = re.fullmatch(r"demo: (\d+) hops, (\d+) as expected", told.getvalue().splitlines()[-1])
    assert up, told.getvalue()
    assert counted, told.getvalue()
    assert counted[1] == counted[2]
    assert not Path(up[1]).exists()
    assert [line for line in command_lines() if up[1] in line] == []
