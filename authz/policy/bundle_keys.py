"""Keys of those who sign policy bundles: a JWK Set (RFC 7517) in, public keys by their ids out; and a private key.

A key has its algorithm from its own type, so a bundle has no say in it. Only signatures that others cannot make are
known here: no secret shared between signer and server, and no `none`.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from authz.core.errors import Place, Problem, Unusable
from authz.documents import read_bytes
from authz.strict_json import read_json_object

_ALGORITHMS = {
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("OKP", "Ed25519"): frozenset({"Ed25519"}),  # RFC 9864, which deprecates the name EdDSA
    ("RSA", None): frozenset({"RS256", "PS256"}),
}
_MEMBERS = {"EC": ("crv", "x", "y"), "OKP": ("crv", "x"), "RSA": ("n", "e")}
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_LEAST_RSA_BITS = 2048  # RFC 7518 section 3.3
_NEW_CURVE = "P-256"
_PUBLIC_REMEDY = "Give a JWK Set of public keys, as `authz policy bundle-key --public` writes it."
_PRIVATE_REMEDY = "Give a JWK with a private key and a `kid`, as `authz policy bundle-key` writes it."


@dataclass(frozen=True, slots=True)
class BundleKey:
    """One key, and the algorithms that it signs with."""

    id: str
    algorithms: frozenset[str]
    key: ECKey | OKPKey | RSAKey


def read_public_keys(file: Path) -> Mapping[str, BundleKey]:
    """The keys in the file by their ids; raises Unusable. Of an empty set no bundle is trusted."""
    try:
        found = read_json_object(read_bytes(file)).get("keys")
        if not isinstance(found, list):
            raise ValueError("keys is no list")  # noqa: TRY004, TRY301  told as whatever else is wrong with the file
        keys = [_public_key(each) for each in found]
    except (JoseError, ValueError, TypeError, KeyError) as error:
        what = f"is no JWK Set of keys for bundles: {type(error).__name__}: {error!s:.200}"
        raise Unusable(Problem(Place(file), what, _PUBLIC_REMEDY)) from error
    if len({key.id for key in keys}) != len(keys):
        raise Unusable(Problem(Place(file), "two keys have one `kid`", _PUBLIC_REMEDY))
    return {key.id: key for key in keys}


def read_private_key(file: Path) -> BundleKey:
    """The one key to sign with; raises Unusable."""
    try:
        key = _key(read_json_object(read_bytes(file)), private=True)
        if not key.key.is_private:
            raise ValueError("it is public")  # noqa: TRY301  told as whatever else is wrong with the file
    except (JoseError, ValueError, TypeError, KeyError) as error:
        what = f"is no private key: {type(error).__name__}"  # the text could hold a key
        raise Unusable(Problem(Place(file), what, _PRIVATE_REMEDY)) from error
    return key


def new_private_key() -> dict[str, Any]:
    """A new key for ES256 as a JWK; its id is its thumbprint (RFC 7638)."""
    key = ECKey.generate_key(_NEW_CURVE)
    return {**key.as_dict(private=True), "kid": key.thumbprint(), "alg": "ES256", "use": "sig"}


def public_set(private_key: Mapping[str, Any], others: Path | None = None) -> str:
    """The text of a JWK Set with the public part of this key, added to the set in the other file; raises Unusable."""
    kept: list[Any] = []
    if others is not None:
        read_public_keys(others)  # which refuses what is no such set
        kept = read_json_object(read_bytes(others))["keys"]
    public = {name: value for name, value in private_key.items() if name not in _PRIVATE}
    return json.dumps({"keys": [*kept, public]}, indent=2) + "\n"


def _public_key(jwk: dict[str, Any]) -> BundleKey:
    if _PRIVATE.intersection(jwk):
        raise ValueError("a key in it is secret: whoever reads the server's files could sign with it")
    return _key(jwk)


def _key(jwk: dict[str, Any], *, private: bool = False) -> BundleKey:
    """The key; raises ValueError, KeyError, TypeError or JoseError."""
    kind, key_id = jwk["kty"], jwk["kid"]
    if not isinstance(key_id, str) or not key_id.isprintable() or not 0 < len(key_id) <= 256:  # noqa: PLR2004  long enough for any id
        raise ValueError("a key has no kid")
    algorithms = _ALGORITHMS.get((kind, jwk.get("crv")))
    if algorithms is None:
        raise ValueError(f"the key {key_id!r} is of a type that is not taken: EC P-256 or P-384, Ed25519 or RSA")
    if jwk.get("use", "sig") != "sig":
        raise ValueError(f"the key {key_id!r} is not for signatures")
    if "alg" in jwk:
        algorithms &= {jwk["alg"]}
    if not algorithms:
        raise ValueError(f"the key {key_id!r} has an alg that is not taken")
    wanted = {"kty", *_MEMBERS[kind], *(_PRIVATE if private else ())}
    members = {name: value for name, value in jwk.items() if name in wanted}
    key: ECKey | OKPKey | RSAKey
    if kind == "EC":
        key = ECKey.import_key(members)
    elif kind == "OKP":
        key = OKPKey.import_key(members)
    elif _bits(members["n"]) < _LEAST_RSA_BITS:
        raise ValueError(f"the key {key_id!r} is an RSA key of fewer than {_LEAST_RSA_BITS} bits")
    else:
        key = RSAKey.import_key(members)
    return BundleKey(key_id, algorithms, key)


def _bits(number: str) -> int:
    """Of a number in base64url (RFC 7518 section 2). Asked before the library, which only warns."""
    return int.from_bytes(base64.urlsafe_b64decode(number + "=" * (-len(number) % 4)), "big").bit_length()
