"""A signed or pinned archive of policies in, its files out, or why it does not count; and the archive's maker.

The archive is laid out as OPA's bundles are: policy files, `.manifest` with the revision, `.signatures.json`. Until all
of it is proven it is nothing: there is no part of a bundle that counts alone.
"""

import datetime as dt
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from authz.core.errors import Place, Problem, Unusable
from authz.policy.bundle_archive import NotAnArchive, read_archive, write_archive
from authz.policy.bundle_keys import BundleKey
from authz.policy.bundle_signatures import MANIFEST, NAME, NotSigned, Signature, prove, sign
from authz.policy.files import PolicyFile, is_policy
from authz.strict_json import NotAJsonObject, read_json_object

MAX_AHEAD_SECONDS = 300.0
"""How far the signer's clock may be ahead. A bundle of next year would shut out all that follow it until then."""
_MAX_REVISION = 128
_ARCHIVE_REMEDY = "Build it again: authz policy bundle."
_SIGNATURE_REMEDY = "Sign it by one of the keys in policy.bundle.public_keys_file, or correct that file."
_DIGEST_REMEDY = "Put there the bundle that is meant, or pin its digest: authz policy bundle-verify prints it."
_ORDER_REMEDY = "To go back to older policies, sign them anew."
_TIME_REMEDY = "Sign the policies anew; look at the clocks of the signer and of this machine."


@dataclass(frozen=True, slots=True)
class Terms:
    """What must hold of a bundle: a signature by one of the keys, or the one digest, or both."""

    keys: Mapping[str, BundleKey] | None
    digest: str = ""  # SHA-256 of the archive, in hexadecimal
    scope: str = ""  # that the signature names, where it names one
    version: str = ""  # another wherever any of the others is

    def __post_init__(self) -> None:
        if self.keys is None and not self.digest:
            raise ValueError("without keys or a digest anybody's bundle would count")


@dataclass(frozen=True, slots=True)
class Bundle:
    """Policies that are proven to be the signer's, or the ones that are pinned. `read_bundle` alone makes one."""

    digest: str  # SHA-256 of the archive, in hexadecimal
    revision: str  # as its author calls it; empty where it says nothing
    files: tuple[PolicyFile, ...]
    signature: Signature | None  # None where the digest is the proof
    place: Place
    content: bytes = field(repr=False)  # the archive

    def __str__(self) -> str:
        by = self.signature
        signed = f", signed at {shown(by.issued_unix_seconds)} by {by.signer}" if by else ""
        return f"{self.revision or 'without a revision'} (sha256:{self.digest:.12}{signed})"

    @property
    def expires_unix_seconds(self) -> float:
        """From when on it does not count; infinity where it does not end."""
        return math.inf if self.signature is None else self.signature.expires_unix_seconds

    def must_hold_at(self, unix_seconds: float) -> None:
        """It is in its time; raises Unusable."""
        signature = self.signature
        if signature is None:
            return
        if not unix_seconds < signature.expires_unix_seconds:
            raise Unusable(Problem(self.place, f"it expired at {shown(signature.expires_unix_seconds)}", _TIME_REMEDY))
        begins = max(signature.begins_unix_seconds, signature.issued_unix_seconds - MAX_AHEAD_SECONDS)
        if not unix_seconds >= begins:
            what = f"it is of the future: it counts from {shown(begins)} on"
            raise Unusable(Problem(self.place, what, _TIME_REMEDY))

    def must_follow(self, other: "Bundle | None") -> None:
        """It was signed after the other, or is the same; raises Unusable. Pinned bundles have no order."""
        if other is None or other.digest == self.digest or self.signature is None or other.signature is None:
            return
        issued, before = self.signature.issued_unix_seconds, other.signature.issued_unix_seconds
        if not issued > before:
            what = f"it was signed at {shown(issued)}, and the bundle in force at {shown(before)}: no later"
            raise Unusable(Problem(self.place, what, _ORDER_REMEDY))


def read_bundle(unverified_content: bytes, place: Place, terms: Terms) -> Bundle:
    """The bundle that the archive is, proven; raises Unusable. Its time and order are asked of the Bundle."""
    digest = hashlib.sha256(unverified_content).hexdigest()
    if terms.digest and digest != terms.digest:
        what = f"its digest is sha256:{digest}, and policy.bundle.digest pins sha256:{terms.digest}"
        raise Unusable(Problem(place, what, _DIGEST_REMEDY))
    try:
        files = read_archive(unverified_content)
    except NotAnArchive as error:
        raise Unusable(Problem(place, f"it cannot be read: {error}", _ARCHIVE_REMEDY)) from error
    try:
        signature = None if terms.keys is None else prove(files, terms.keys, terms.scope)
    except NotSigned as error:
        raise Unusable(Problem(place, str(error), _SIGNATURE_REMEDY)) from error
    return Bundle(digest, _revision(files, place), _policies(files, place), signature, place, unverified_content)


def _policies(files: Mapping[str, bytes], place: Place) -> tuple[PolicyFile, ...]:
    """Every file but the bundle's own two; one that nobody would read is refused: its author thinks that it counts."""
    policies = []
    for name in sorted(files.keys() - {NAME, MANIFEST}):
        if not is_policy(name):
            remedy = "Leave it out: authz policy bundle takes policy files alone."
            raise Unusable(Problem(place, f"it holds {name}, which is no policy file", remedy))
        policies.append(PolicyFile(place.file / name, files[name], name))
    if not policies:
        raise Unusable(Problem(place, "it holds no policy file", _ARCHIVE_REMEDY))
    return tuple(policies)


def _revision(files: Mapping[str, bytes], place: Place) -> str:
    if MANIFEST not in files:
        return ""
    try:
        revision = read_json_object(files[MANIFEST]).get("revision", "")
    except NotAJsonObject as error:
        raise Unusable(Problem(place, f"{MANIFEST} is {error}", _ARCHIVE_REMEDY)) from error
    if not isinstance(revision, str) or len(revision) > _MAX_REVISION or not revision.isprintable():
        what = f"{MANIFEST} has a revision that is no text of at most {_MAX_REVISION} characters"
        raise Unusable(Problem(place, what, _ARCHIVE_REMEDY))
    return revision


def make_bundle(
    policies: Iterable[PolicyFile], revision: str, key: BundleKey | None, claims: Mapping[str, Any]
) -> bytes:
    """An archive of these policies, signed where there is a key; raises Unusable where they make none.

    `claims` are `iat`, and where wanted `exp` and `scope`.
    """
    files = {each.name: each.content for each in policies}
    if revision:
        files[MANIFEST] = json.dumps({"revision": revision}).encode()
    if key is not None:
        files[NAME] = sign(files, key, claims)
    try:
        return write_archive(files)
    except NotAnArchive as error:
        remedy = "Give files of plain names, and of a size that a server takes (docs/bundles.md)."
        raise Unusable(Problem(Place(Path("the bundle")), f"cannot be made: {error}", remedy)) from error


def shown(unix_seconds: float) -> str:
    """An instant for people, in UTC to the second; a number where no calendar has it."""
    try:
        return f"{dt.datetime.fromtimestamp(unix_seconds, dt.UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return f"{unix_seconds:g}"
