"""Story: the mesh is started, every hop is played before the reader's eyes, and the sum is drawn.

Exit status: 0 where all hops were as expected, 1 where not (the logs are kept and named), 130 on Ctrl-C or SIGTERM.
"""

import contextlib
import signal
import time
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.text import Text

from authz.demo.credentials import TOOLS
from authz.demo.hops import LAST_SCENE, STORY, TASKS, PlannedHop, Scene
from authz.demo.mesh import Mesh
from authz.demo.paste import things_to_try
from authz.demo.player import PlayedHop, Player

FAILED = 1
INTERRUPTED = 130

_COLUMNS = {"#": 2, "who": 8, "task": 8, "what": 30, "expected": 29, "answer": 6, "reason": 25, "ms": 4}


def play(console: Console, *, keep_running: bool) -> int:
    """Play the story and return the exit status; raises Unavailable where the mesh cannot be started.

    With `keep_running` the server is not killed at the end; the mesh stays up, with commands to try, until Ctrl-C.
    """
    started = time.perf_counter()
    _say(console, f"starting authz, {len(TOOLS)} tools, an Envoy before each, a stray one, and {len(TASKS)} tasks")
    try:
        with Mesh(TASKS) as mesh:
            player = Player(mesh)
            _say(console, f"all up after {time.perf_counter() - started:.1f} s, in {mesh.folder}\n")
            is_as_expected = _tell(console, mesh, player, STORY if keep_running else (*STORY, LAST_SCENE))
            if keep_running:
                _say(console, things_to_try(mesh))
                with contextlib.suppress(KeyboardInterrupt):
                    signal.pause()
    except KeyboardInterrupt:
        _say(console, "interrupted; everything that was started has been ended")
        return INTERRUPTED
    return 0 if is_as_expected else FAILED


def _tell(console: Console, mesh: Mesh, player: Player, scenes: Iterable[Scene]) -> bool:
    """Whether all was as expected; every hop is shown when it has been played."""
    _say(console, _row(_COLUMNS), "bold")
    played: list[PlayedHop] = []
    for scene in scenes:
        _say(console, f"\n{scene.title}", "bold")
        for hop in _play_scene(console, player, scene):
            played.append(hop)
            _show(console, len(played), hop)
    as_expected = sum(not hop.faults for hop in played)
    if as_expected < len(played):
        mesh.keep()
        _say(console, "\n".join(["\nNot all was as expected. The logs are kept:", *map(str, mesh.logs)]), "bold red")
    _say(console, f"\ndemo: {len(played)} hops, {as_expected} as expected")
    return as_expected == len(played)


def _play_scene(console: Console, player: Player, scene: Scene) -> Iterator[PlayedHop]:
    for hop in scene.hops:
        if hop.after:
            _say(console, f"   -- {hop.after.value}")
            player.bring_about(hop.after)
        yield player.play(hop, scene.door)


def _show(console: Console, number: int, played: PlayedHop) -> None:
    hop = played.planned
    expected = f"{hop.status} {hop.reason}"
    milliseconds = f"{played.outcome.milliseconds:.0f}"
    cells = (str(number), hop.who, hop.task, _what(hop), expected, str(played.status), played.reason, milliseconds)
    _say(console, _row(cells), "red" if played.faults else "green" if hop.reaches_tool else "yellow")
    notes = [f"NOT AS EXPECTED: {fault}" for fault in played.faults]
    if played.tries > 1:
        notes.append(f"asked {played.tries} times: Envoy gave the check up before it was answered")
    for note in notes:
        _say(console, f"   {note}", "red" if played.faults else "dim")


def _what(hop: PlannedHop) -> str:
    request = f"{hop.method} {hop.tool}{hop.path}"
    return f"{request}, {hop.note}" if hop.note else request


def _row(cells: Iterable[str]) -> str:
    """The cells in their columns; numbers of milliseconds are aligned to the right."""
    padded = [cell.ljust(width) for cell, width in zip(cells, _COLUMNS.values(), strict=True)]
    padded[-1] = padded[-1].strip().rjust(_COLUMNS["ms"])
    return " ".join(padded)


def _say(console: Console, text: str, style: str = "") -> None:
    """A line as it is: no markup, no folding, so that what is not a terminal gets the same columns."""
    console.print(Text(text, style=style), soft_wrap=True)
