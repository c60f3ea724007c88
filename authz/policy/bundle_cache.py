"""The last good bundle, kept in a file for a start without its server. What the file holds is proven at each read."""

import contextlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from authz.core.errors import Place, Problem, Unavailable, Unusable
from authz.policy.bundle import Bundle, Terms, read_bundle
from authz.policy.bundle_archive import MAX_ARCHIVE_BYTES

_OWNER_ONLY = 0o600
_REMEDY = "It is written once a bundle is in force; remove it where it cannot be used."


@dataclass(slots=True)
class BundleCache:
    """One file."""

    file: Path
    _holds: str = ""  # the digest of what we know to be in it

    def read(self, terms: Terms) -> tuple[Bundle, float]:
        """The bundle, and when it was kept, in Unix seconds; raises Unusable where there is none that counts."""
        try:
            with self.file.open("rb") as stream:
                unverified_content = stream.read(MAX_ARCHIVE_BYTES + 1)
                kept_unix_seconds = os.fstat(stream.fileno()).st_mtime
        except OSError as error:
            raise Unusable(Problem(Place(self.file), f"cannot be read: {error.strerror}", _REMEDY)) from error
        bundle = read_bundle(unverified_content, Place(self.file), terms)
        self._holds = bundle.digest
        return bundle, kept_unix_seconds

    def write(self, bundle: Bundle) -> None:
        """Keep this bundle: whole or not at all, and readable for the owner alone. Raises Unavailable."""
        if bundle.digest == self._holds:
            return
        beside = self.file.with_name(f".{self.file.name}.{secrets.token_hex(4)}")
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(bundle.content)
                stream.flush()
                os.fsync(stream.fileno())
            beside.replace(self.file)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise Unavailable(f"the bundle cannot be kept in {self.file}: {error.strerror}") from error
        self._holds = bundle.digest
