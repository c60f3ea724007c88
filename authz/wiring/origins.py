"""Where policies come from: the settings in; contents to compile, and how they look now, out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from authz.config import PolicySettings
from authz.core.errors import Unusable
from authz.policy.files import PolicyFile, policy_files, policy_paths

Look = tuple[tuple[str, str], ...]
"""Names of files, with a digest of what each holds or why it cannot be read."""


class Origin(Protocol):
    """Where policies come from, and come from anew while others are in force. Called from threads."""

    def look(self) -> Look:
        """How they look now; raises nothing."""
        ...

    def files(self) -> list[PolicyFile]:
        """Their names and contents; raises Unusable."""
        ...


@dataclass(frozen=True, slots=True)
class FolderOrigin:
    """A folder, or folders and files together; where there is a file of digests, as it lists them."""

    places: Path | tuple[Path, ...]
    digests_file: Path | None = None

    def look(self) -> Look:
        """They are read whole: a time stamp can lie."""
        digests = () if self.digests_file is None else (digest_of(self.digests_file),)
        try:
            return (*digests, *map(digest_of, policy_paths(self.places)))
        except Unusable as unusable:
            return (*digests, (str(self.places), str(unusable)))

    def files(self) -> list[PolicyFile]:
        """As `policy_files`."""
        return policy_files(self.places, self.digests_file)


def digest_of(path: Path) -> tuple[str, str]:
    """The name of the file, and the SHA-256 of what it holds or why it cannot be read."""
    try:
        return path.name, PolicyFile.read(path).sha256
    except Unusable as unusable:
        return path.name, str(unusable)


def origin_of(policy: PolicySettings) -> Origin:
    """Where the settings say that policies come from."""
    return FolderOrigin(policy.directory, policy.digests_file)
