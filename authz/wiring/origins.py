"""Where policies come from: the settings in; contents to compile, and how they look now, out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from authz.config import PolicySettings
from authz.core.errors import Unusable
from authz.policy.files import PolicyFile, policy_files, policy_paths
from authz.wiring.bundles import bundle_source

Look = tuple[tuple[str, str], ...]
"""Names of files, with a digest of what each holds or why it cannot be read."""


class Origin(Protocol):
    """Where policies come from, and come from anew while others are in force. Called from threads."""

    def start(self) -> None:
        """Have something to read; raises Unusable where there can be nothing."""
        ...

    def goes_back(self, why: Unusable) -> bool:
        """Whether there is, in place of what cannot be used at the start, what was in force before."""
        ...

    def look(self) -> Look:
        """How they look now; raises nothing."""
        ...

    def files(self) -> list[PolicyFile]:
        """Their names and contents; raises Unusable."""
        ...

    def keep(self) -> None:
        """Keep those that were read last for the next start, where their origin may be out of reach then.

        They are about to be in force: whatever happens, nothing older than them is after that.
        """
        ...

    def taken(self) -> None:
        """Those that were read last are in force now. For the thread that put them in force."""
        ...


@dataclass(frozen=True, slots=True)
class FolderOrigin:
    """A folder, or folders and files together; where there is a file of digests, as it lists them."""

    places: Path | tuple[Path, ...]
    digests_file: Path | None = None

    def start(self) -> None:
        """They are read when they are asked for."""

    def goes_back(self, why: Unusable) -> bool:
        """There is nothing but what lies there."""
        del why
        return False

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

    def keep(self) -> None:
        """They lie where they are."""

    def taken(self) -> None:
        """Nothing hangs on it."""


def digest_of(path: Path) -> tuple[str, str]:
    """The name of the file, and the SHA-256 of what it holds or why it cannot be read."""
    try:
        return path.name, PolicyFile.read(path).sha256
    except Unusable as unusable:
        return path.name, str(unusable)


def origin_of(policy: PolicySettings) -> Origin:
    """Where the settings say that policies come from."""
    if policy.bundle is not None:
        return bundle_source(policy.bundle)
    if policy.directory is None:
        raise ValueError("the settings name neither a directory nor a bundle")
    return FolderOrigin(policy.directory, policy.digests_file)
