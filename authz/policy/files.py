"""Where policies lie in, their files' names and contents out: what a policy set is made of, wherever it comes from."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from authz.core.errors import Place, Problem, Unusable, collecting
from authz.documents import read_bytes, text_of
from authz.policy.bundle_archive import NotAnArchive, read_archive
from authz.policy.digests import mismatches

DATA = "data.json"
"""What rules in Rego read beside the question."""
_CEDAR, _REGO = ".cedar", ".rego"
_ARCHIVES = (".tar.gz", ".tgz")
_BUNDLE_REMEDY = "Build it again: authz policy bundle."


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """One file of a policy set. A member of an archive has a path below the archive's own."""

    path: Path
    content: bytes
    name: str  # within its set

    @classmethod
    def read(cls, path: Path) -> "PolicyFile":
        """The file as it is now; raises Unusable."""
        return cls(path, read_bytes(path), path.name)

    @property
    def text(self) -> str:
        """Its text, lines ended by a newline alone; raises Unusable where it is none."""
        return text_of(self.path, self.content)

    @property
    def sha256(self) -> str:
        """Of its bytes, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()


def is_policy(name: str) -> bool:
    """Whether a file of that name is one of policies. Hidden names are none: Kubernetes and editors have theirs."""
    *_, last = parts = name.split("/")
    return (last.endswith((_CEDAR, _REGO)) or last == DATA) and not any(part.startswith(".") for part in parts)


def is_cedar(name: str) -> bool:
    """Whether a policy file of that name is in Cedar; the others are in Rego."""
    return name.endswith(_CEDAR)


def policy_files(places: Path | tuple[Path, ...], digests_file: Path | None = None) -> list[PolicyFile]:
    """The policy files of a folder, or of several folders and files together; raises Unusable where there is none.

    Among several, an archive stands for the policies in it, whoever made it: that is for tools, which decide nothing.
    Where there is a file of digests, it must list exactly these files as they are: see `authz.policy.digests`.
    """
    files, problems = list[PolicyFile](), list[Problem]()
    for path in policy_paths(places):
        with collecting(problems):
            files += _archived(path) if path.name.endswith(_ARCHIVES) else [PolicyFile.read(path)]
    if digests_file is not None:
        problems += mismatches(digests_file, {file.path: file.sha256 for file in files})
    if problems:
        raise Unusable(*problems)
    return files


def policy_paths(places: Path | tuple[Path, ...]) -> Sequence[Path]:
    """Where they are; raises Unusable where there is none."""
    if isinstance(places, tuple):
        return list(dict.fromkeys(path for each in places for path in ([each] if each.is_file() else _paths(each))))
    return _paths(places)


def _archived(path: Path) -> list[PolicyFile]:
    try:
        held = read_archive(read_bytes(path))
    except NotAnArchive as error:
        raise Unusable(Problem(Place(path), f"is no bundle: {error}", _BUNDLE_REMEDY)) from error
    files = [PolicyFile(path / name, held[name], name) for name in sorted(held) if is_policy(name)]
    if not files:
        raise Unusable(Problem(Place(path), "holds no policy file", _BUNDLE_REMEDY))
    return files


def _paths(folder: Path) -> list[Path]:
    """The policy files by name. A broken link or a folder of such a name is one too: reading it says what is wrong."""
    try:
        paths = sorted(path for path in folder.iterdir() if is_policy(path.name))
    except OSError as error:
        raise Unusable(Problem(Place(folder), f"cannot be read: {error}", "Name a folder of policy files.")) from error
    if not paths:
        remedy = "Write policies into files whose names end in .cedar, or .rego; what no policy permits is denied."
        raise Unusable(Problem(Place(folder), "holds no policy file", remedy))
    return paths
