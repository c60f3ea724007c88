"""Keys of Txn-Tokens: a JWK set in a file in, the key that signs now and those that are honoured out.

The file is a JWK Set (RFC 7517) with private keys, for servers alone. `nbf` of a key says from when on it signs, `exp`
until when its tokens count. A new key is published some time before it signs, so that who verifies knows it by then;
an old one is honoured until the longest of its tokens has ended.
"""

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

from authz.core.errors import Place, Problem, Unavailable, Unusable
from authz.strict_json import read_json_object

ALGORITHM_OF_CURVE = {"P-256": "ES256", "P-384": "ES384", "Ed25519": "Ed25519"}
_NEW_CURVE = "P-256"
_OWNER_ONLY = 0o600
_REMEDY = "Give a JWK set with private EC (P-256, P-384) or Ed25519 keys, each with a `kid` of its own."


@dataclass(frozen=True, slots=True)
class TokenKey:
    """One key: it signs from `signs_from` on, and its tokens are honoured until `honoured_until`."""

    id: str
    algorithm: str
    key: ECKey | OKPKey
    signs_from: float  # Unix seconds
    honoured_until: float | None  # Unix seconds; None: until it is replaced

    @property
    def public(self) -> dict[str, Any]:
        """The public JWK, for those who verify."""
        return {**self.key.as_dict(private=False), "kid": self.id, "alg": self.algorithm, "use": "sig"}

    def counts(self, unix_seconds: float) -> None:
        """Its tokens still count; raises KeyError where they do not."""
        if self.honoured_until is not None and unix_seconds >= self.honoured_until:
            raise KeyError(self.id)


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of one moment. `version` differs where any of them does."""

    keys: Sequence[TokenKey]
    version: str

    def signing(self, unix_seconds: float) -> TokenKey:
        """The newest key that may sign; raises Unavailable where none may."""
        ready = [key for key in self.keys if key.signs_from <= unix_seconds and key.key.is_private]
        if not ready:
            raise Unavailable("there is no key that may sign tokens now")
        return max(ready, key=lambda key: key.signs_from)

    def honoured(self, key_id: str, unix_seconds: float) -> TokenKey:
        """The key of that id, if its tokens count; raises KeyError."""
        for key in self.keys:
            if key.id == key_id:
                key.counts(unix_seconds)
                return key
        raise KeyError(key_id)

    def public(self, unix_seconds: float) -> dict[str, Any]:
        """The JWK Set for those who verify: keys that sign, will sign, or are still honoured."""
        counting = [key for key in self.keys if key.honoured_until is None or unix_seconds < key.honoured_until]
        return {"keys": [key.public for key in counting]}


class TokenKeys:
    """Holds the set that counts now, behind one reference. `load` and `rotate` touch the file; the rest is memory."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._current = KeySet((), "")

    @classmethod
    def open(cls, file: Path) -> Self:
        """The keys in the file, made with a first key where there is none; raises Unusable."""
        keys = cls(file)
        if not file.exists():
            keys.rotate(publish_ahead_seconds=0, honoured_seconds=0)
        keys.load()
        return keys

    @property
    def current(self) -> KeySet:
        """The set that counts now."""
        return self._current

    def load(self) -> None:
        """Read the file; raises Unusable and leaves the last good set."""
        try:
            content = self.file.read_bytes()
        except OSError as error:
            raise Unusable(Problem(Place(self.file), f"cannot be read: {error.strerror}", _REMEDY)) from error
        self._current = read_keys(content, self.file)

    def rotate(self, *, publish_ahead_seconds: float, honoured_seconds: float) -> str:
        """Add a key that signs after that time, and let the others' tokens count for so long behind it.

        Returns the new key's id. Raises Unusable where the file cannot be read or written.
        """
        now = time.time()
        try:
            with _locked(self.file):
                old = read_keys(self.file.read_bytes(), self.file).keys if self.file.exists() else ()
                new = _made(now + publish_ahead_seconds if old else 0.0)  # nobody has to learn of a first key
                documents = [_document(each, now + publish_ahead_seconds + honoured_seconds) for each in old]
                counting = [each for each in documents if each["exp"] > now]
                _replace(self.file, {"keys": [*counting, _document(new, None)]})
        except OSError as error:
            remedy = "Make the file, and the folder it is in, writable for this user; or replace the file yourself."
            raise Unusable(Problem(Place(self.file), f"cannot be written: {error.strerror}", remedy)) from error
        self.load()
        return new.id


def read_keys(content: bytes, file: Path) -> KeySet:
    """The keys of a JWK Set; raises Unusable. Of an empty set no token is trusted."""
    try:
        found = read_json_object(content)["keys"]
        keys = [_read_key(each) for each in found]
    except (JoseError, ValueError, TypeError, KeyError) as error:
        what = f"is no JWK set of token keys: {type(error).__name__}"  # the text could hold a key
        raise Unusable(Problem(Place(file), what, _REMEDY)) from error
    if len({key.id for key in keys}) != len(keys):
        raise Unusable(Problem(Place(file), "two keys have one `kid`", _REMEDY))
    return KeySet(keys, "+".join(sorted(f"{key.id}:{key.honoured_until}" for key in keys)))


def _read_key(jwk: dict[str, Any]) -> TokenKey:
    curve, key_id = jwk["crv"], jwk["kid"]
    if not isinstance(key_id, str) or not key_id:
        raise ValueError("kid")
    kind = OKPKey if jwk["kty"] == "OKP" else ECKey
    key = kind.import_key({name: value for name, value in jwk.items() if name in {"kty", "crv", "x", "y", "d"}})
    until = jwk.get("exp")
    return TokenKey(
        key_id, ALGORITHM_OF_CURVE[curve], key, float(jwk.get("nbf", 0)), None if until is None else float(until)
    )


def _made(signs_from: float) -> TokenKey:
    return TokenKey(
        secrets.token_hex(8), ALGORITHM_OF_CURVE[_NEW_CURVE], ECKey.generate_key(_NEW_CURVE), signs_from, None
    )


def _document(key: TokenKey, honoured_until: float | None) -> dict[str, Any]:
    """The JWK with its private part. A key that is replaced already keeps its end."""
    until = honoured_until if key.honoured_until is None else key.honoured_until
    document = {**key.key.as_dict(private=True), "kid": key.id, "nbf": key.signs_from}
    return document if until is None else {**document, "exp": until}


def _replace(file: Path, document: dict[str, Any]) -> None:
    """Whole or not at all, and readable for the owner alone from the first byte on."""
    beside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    with os.fdopen(descriptor, "w") as stream:
        json.dump(document, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(file)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    descriptor = os.open(f"{file}.lock", os.O_RDONLY | os.O_CREAT, _OWNER_ONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
