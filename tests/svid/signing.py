"""A JWT-SVID authority that will sign anything, with `cryptography` alone: not by the library that verifies it."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

from tests.svid.checks import AGENT, AT

AUDIENCE = "authz"
KEY_ID = "key-1"
SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_HASHES: dict[str, HashAlgorithm] = {"256": SHA256(), "384": SHA384(), "512": SHA512()}


def claims(**changes: Any) -> dict[str, Any]:  # noqa: ANN401  claims have many types
    """The claims of a correct token for us, or as changed; a claim that is changed to None is left out."""
    plain = {"sub": AGENT, "aud": [AUDIENCE], "exp": int(AT) + 300, "iat": int(AT) - 10}
    return {name: value for name, value in {**plain, **changes}.items() if value is not None}


def header(**changes: Any) -> dict[str, Any]:  # noqa: ANN401  as above
    """The header of a correct token, or as changed."""
    plain = {"alg": "ES256", "kid": KEY_ID, "typ": "JWT"}
    return {name: value for name, value in {**plain, **changes}.items() if value is not None}


def token(key: SigningKey, head: Mapping[str, Any] | bytes, body: Mapping[str, Any] | bytes) -> str:
    """A token with this header and these claims, signed by its `alg`; ES256 or RS256 where that says nothing."""
    algorithm = head.get("alg") if isinstance(head, Mapping) else None
    signed = f"{encoded(head)}.{encoded(body)}"
    return f"{signed}.{base64url(signature(key, algorithm, signed.encode()))}"


def signature(key: SigningKey, algorithm: object, data: bytes) -> bytes:
    """RFC 7518 section 3."""
    name = algorithm if isinstance(algorithm, str) and algorithm[2:] in _HASHES else "RS256"
    digest = _HASHES[name[2:]]
    if isinstance(key, rsa.RSAPrivateKey):
        if name.startswith("PS"):
            return key.sign(data, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
        return key.sign(data, padding.PKCS1v15(), digest)
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
    size = (key.curve.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def encoded(part: Mapping[str, Any] | bytes) -> str:
    """A header or claims as a part of a token."""
    return base64url(part if isinstance(part, bytes) else json.dumps(part).encode())


def base64url(content: bytes) -> str:
    """RFC 7515 section 2."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
