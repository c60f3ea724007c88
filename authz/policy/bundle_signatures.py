"""The signature of a policy bundle, as OPA's bundles have it: `.signatures.json` and files in, who signed what out.

The file holds one JWS whose payload lists each file of the bundle with its digest (OPA, "Bundles": Signing). What a
listed file must be digested as is OPA's too: its bytes, or a JSON document's members in order, without white space.
Stricter than there: `iat` is required, because the order of bundles hangs on it; `nbf` and `exp` are honoured.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError

from authz.jose import NotAToken, read_compact, read_moment
from authz.policy.bundle_keys import BundleKey
from authz.strict_json import NotAJsonObject, read_json_object

NAME = ".signatures.json"
MANIFEST = ".manifest"
STRUCTURED = frozenset({MANIFEST, "data.json"})
"""Last parts of names whose files are digested as JSON documents."""
_MAX_CHARACTERS = 512 * 1024  # some 250 for each of 1,000 files, in base64
_HASHES = {"SHA-256": hashlib.sha256, "SHA-384": hashlib.sha384, "SHA-512": hashlib.sha512}
_HASH = "SHA-256"
_PLUGIN = "_default"  # as `opa build` names its own way of signing
_HEADER = frozenset({"alg", "kid", "typ"})
_ENTRY = {"name", "hash", "algorithm"}


class NotSigned(ValueError):
    """The bundle is not signed as it should be; the message says what is wrong."""


class _Registry(jws.JWSRegistry):
    """Lets lists of many files through; how long a token may be is asked before."""

    max_payload_length = _MAX_CHARACTERS


class _Number(str):
    """A number as it is written: OPA digests 1.50 and 1.5 apart."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that holds over all files of a bundle."""

    signer: str  # the key's id
    issued_unix_seconds: float
    begins_unix_seconds: float
    expires_unix_seconds: float  # infinity where it does not


def sign(files: Mapping[str, bytes], key: BundleKey, claims: Mapping[str, Any]) -> bytes:
    """The signature file for these files, with these claims beside the list; raises NotSigned where a file is no JSON.

    `claims` are `iat`, and where wanted `exp` and `scope`.
    """
    listed = [{"name": name, "hash": _digest(name, files[name], _HASH), "algorithm": _HASH} for name in sorted(files)]
    algorithm = min(key.algorithms)
    payload = json.dumps({"files": listed, **claims}).encode()
    token = jws.serialize_compact(
        {"alg": algorithm, "kid": key.id}, payload, key.key, registry=_Registry(algorithms=[algorithm])
    )
    return json.dumps({"signatures": [token]}).encode()


def prove(files: Mapping[str, bytes], keys: Mapping[str, BundleKey], scope: str) -> Signature:
    """That one of the keys signed exactly these files for this scope; raises NotSigned."""
    if NAME not in files:
        raise NotSigned(f"it is not signed: it holds no {NAME}")
    token = _token(files[NAME])
    try:
        header, claims = read_compact(token, _MAX_CHARACTERS)
    except NotAToken as error:
        raise NotSigned(f"its signature is no JWS: {error}") from error
    key = _key(header, claims, keys)
    try:
        jws.deserialize_compact(token, key.key, registry=_Registry(algorithms=[header["alg"]]))
    except (JoseError, ValueError) as error:
        raise NotSigned(f"its signature is not by the key {key.id!r}") from error
    if claims.get("scope", "") != scope:
        raise NotSigned(f"it is signed for the scope {claims.get('scope', '')!r:.100}, and {scope!r} is wanted")
    _must_list(claims.get("files"), {name: held for name, held in files.items() if name != NAME})
    issued = _moment(claims, "iat", math.nan)
    if math.isnan(issued):
        raise NotSigned("it does not say when it was signed (iat)")
    return Signature(key.id, issued, _moment(claims, "nbf", -math.inf), _moment(claims, "exp", math.inf))


def _token(content: bytes) -> str:
    try:
        document = read_json_object(content)
    except NotAJsonObject as error:
        raise NotSigned(f"{NAME} is {error}") from error
    signatures = document.get("signatures")
    if document.get("plugin", _PLUGIN) != _PLUGIN or document.keys() - {"signatures", "plugin"}:
        raise NotSigned(f"{NAME} holds more than `signatures`: it was made by a plugin that is not known")
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise NotSigned(f"{NAME} does not hold one signature")
    if not isinstance(signatures[0], str):
        raise NotSigned(f"{NAME} holds no text as its signature")
    return signatures[0]


def _key(header: Mapping[str, Any], claims: Mapping[str, Any], keys: Mapping[str, BundleKey]) -> BundleKey:
    """The key that the header names, or the claim `keyid`; where there is but one key, it need not be named."""
    if unknown := sorted(header.keys() - _HEADER):
        raise NotSigned(f"the header of its signature has members that are not known: {unknown[:5]!r:.200}")
    named = header.get("kid", claims.get("keyid"))
    if named is None and len(keys) == 1:
        (named,) = keys
    key = keys.get(named) if isinstance(named, str) else None
    if key is None:
        raise NotSigned(f"it is signed by a key that is not known: {named!r:.200}")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in key.algorithms:
        raise NotSigned(f"it is signed with {algorithm!r:.50}, and the key {key.id!r} is one for {_any(key)}")
    return key


def _any(key: BundleKey) -> str:
    return " or ".join(sorted(key.algorithms))


def _must_list(entries: object, files: Mapping[str, bytes]) -> None:
    """Each file is listed once with its digest, and nothing else is; raises NotSigned."""
    if not isinstance(entries, list):
        raise NotSigned("its signature lists no files")
    listed: dict[str, str] = {}
    for entry in entries:
        if not isinstance(entry, dict) or {*map(type, entry.values())} != {str} or entry.keys() != _ENTRY:
            raise NotSigned("its signature lists something else than name, hash and algorithm of files")
        name = entry["name"]
        if name in listed:
            raise NotSigned(f"its signature lists {name!r:.200} twice")
        if name not in files:
            raise NotSigned(f"its signature lists {name!r:.200}, which it does not hold")
        if entry["algorithm"] not in _HASHES:
            raise NotSigned(f"its signature lists {name} by {entry['algorithm']!r:.50}: {', '.join(_HASHES)} are taken")
        listed[name] = entry["hash"]
        if entry["hash"] != _digest(name, files[name], entry["algorithm"]):
            raise NotSigned(f"{name} is not the file that was signed")
    if unlisted := sorted(files.keys() - listed.keys()):
        raise NotSigned(f"it holds {unlisted[0]}, which its signature does not list")


def _digest(name: str, content: bytes, algorithm: str) -> str:
    return _HASHES[algorithm](_structured(name, content) if _is_structured(name) else content).hexdigest()


def _is_structured(name: str) -> bool:
    return name.rpartition("/")[2] in STRUCTURED


def _structured(name: str, content: bytes) -> bytes:
    """The document as OPA writes it in order to digest it."""
    try:
        return _ordered(read_json_object(content, _Number)).encode()
    except (NotAJsonObject, UnicodeEncodeError, RecursionError) as error:
        raise NotSigned(f"{name} is no JSON document: {error!s:.200}") from error


def _ordered(value: object) -> str:
    if isinstance(value, dict):
        members = (f"{_written(name)}:{_ordered(value[name])}" for name in sorted(value))
        return f"{{{','.join(members)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_ordered, value))}]"
    return str(value) if isinstance(value, _Number) else _written(value)


def _written(value: object) -> str:
    """As Go's encoder writes it: the two separators of lines that JavaScript knows are escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _moment(claims: Mapping[str, Any], name: str, default: float) -> float:
    if name not in claims:
        return default
    try:
        return read_moment(dict(claims), name)
    except NotAToken as error:
        raise NotSigned(f"its signature's {error}") from error
