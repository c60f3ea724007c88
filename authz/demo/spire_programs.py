"""SPIRE's two programs, found; and programs under paths of their own, by which SPIRE tells workloads apart."""

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from authz.core.errors import Unavailable

SERVER, AGENT = "spire-server", "spire-agent"


@dataclass(frozen=True, slots=True)
class SpirePrograms:
    """The files to run. The agent is also the client of the Workload API on the command line."""

    server: Path
    agent: Path


def find_spire() -> SpirePrograms:
    """What `make spire` built, or what the PATH has; raises Unavailable."""
    return SpirePrograms(_find(SERVER), _find(AGENT))


def _find(name: str) -> Path:
    folder = _cache_folder() / "spire" / "bin"
    if os.access(built := folder / name, os.X_OK):
        return built
    if on_path := shutil.which(name):
        return Path(on_path)
    raise Unavailable(f"there is no {name} in {folder} or on the PATH: run `make spire`")


def _cache_folder() -> Path:
    """Where the Makefile puts what it builds."""
    if named := os.environ.get("AUTHZ_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "authz"


def under_own_path(program: Path, folder: Path, name: str) -> Path:
    """The same program as FOLDER/NAME; raises Unavailable.

    All processes of the demo have one user, so SPIRE's unix attestor can only tell them apart by the path that
    /proc/PID/exe shows. A symbolic link would be resolved there. A hard link is not, and costs no space; across file
    systems, or where the file is another user's, it has to be a copy.
    """
    path, original = folder / name, program.resolve()
    with contextlib.suppress(OSError):
        path.hardlink_to(original)
        return path
    try:
        shutil.copy(original, path)
    except OSError as error:
        raise Unavailable(f"{original} cannot be copied to {path}: {error}") from error
    return path


def this_interpreter() -> Path:
    """The path of our own executable as SPIRE's attestor sees it, whatever links led to it."""
    return Path("/proc/self/exe").readlink()
