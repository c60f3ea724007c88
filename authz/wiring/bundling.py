"""Policies made into a bundle, and a bundle looked into; for the command line."""

import hashlib
import json
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from authz.bundle_settings import BundleSettings
from authz.config import load_settings
from authz.core.errors import Place, Problem, Unusable
from authz.policy.bundle import Bundle, Terms, make_bundle, read_bundle
from authz.policy.bundle_keys import new_private_key, public_set, read_private_key, read_public_keys
from authz.policy.files import PolicyFile, policy_files
from authz.wiring.bundles import terms_of
from authz.wiring.policy_sets import Named, parts_of

__all__ = ["Bundle", "Named", "Order", "make", "make_key", "verify"]

_OWNER_ONLY = 0o600
_EVERYBODY = 0o666  # less the umask


@dataclass(frozen=True, slots=True)
class Order:
    """What a bundle is to be."""

    folder: Path
    key_file: Path | None  # without one it is not signed, and counts where its digest is pinned
    revision: str = ""
    scope: str = ""
    lifetime_seconds: float | None = None


def make(order: Order, output: Path, checked_for: Named | None) -> Bundle:
    """Write the bundle; raises Unusable. The policies are first held against this catalog and these groups, if any."""
    if checked_for is not None:
        parts_of(checked_for).read()
    now = int(time.time())
    claims: dict[str, Any] = {"iat": now}
    if order.scope:
        claims["scope"] = order.scope
    if order.lifetime_seconds is not None:
        claims["exp"] = now + int(order.lifetime_seconds)
    key = read_private_key(order.key_file) if order.key_file else None
    content = make_bundle(policy_files(order.folder), order.revision, key, claims)
    _write(output, content, _EVERYBODY)
    return read_bundle(content, Place(output), Terms({key.id: key} if key else None, _sha256(content), order.scope))


def make_key(private_file: Path, public_file: Path) -> str:
    """Write a new private key, and add its public part to the set in the other file; the key's id. Raises Unusable."""
    if private_file.exists():
        raise Unusable(Problem(Place(private_file), "there is such a file", "Name a new one: no key is overwritten."))
    key = new_private_key()
    public = public_set(key, public_file if public_file.exists() else None)
    _write(private_file, (json.dumps(key, indent=2) + "\n").encode(), _OWNER_ONLY)
    _write(public_file, public.encode(), _EVERYBODY)
    return str(key["kid"])


def verify(archive: Path, public_keys_file: Path | None, digest: str | None, scope: str, config_file: Path) -> Bundle:
    """The bundle, if it counts now by these keys and this digest, or else by the configuration's; raises Unusable."""
    content = PolicyFile.read(archive).content
    if public_keys_file is None and digest is None:
        terms = terms_of(_configured(config_file))
    else:
        keys = read_public_keys(public_keys_file) if public_keys_file else None
        terms = Terms(keys, (digest or "").removeprefix("sha256:"), scope)
    bundle = read_bundle(content, Place(archive), terms)
    bundle.must_hold_at(time.time())
    return bundle


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _configured(config_file: Path) -> BundleSettings:
    bundle = load_settings(config_file).policy.bundle
    if bundle is None:
        remedy = "Say what is to prove the bundle: --public-keys or --digest."
        raise Unusable(Problem(Place(config_file), "names no policy.bundle", remedy))
    return bundle


def _write(file: Path, content: bytes, mode: int) -> None:
    """Whole or not at all: a server may be following the file."""
    beside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
            stream.write(content)
        beside.replace(file)
    except OSError as error:
        problem = Problem(Place(file), f"cannot be written: {error.strerror}", "Name a file in a folder that is yours.")
        raise Unusable(problem) from error
