"""JWT-SVIDs: a token's text in, what it proves out, by all rules of JWT-SVID sections 2 to 4 but those about time.

Time is asked of a `Token` at each use, so that a token may be remembered. No part of a token but its subject, key id
and algorithm is ever told.
"""

import math
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from authz.core.errors import Refused
from authz.core.reasons import Reason
from authz.core.spiffe import SpiffeId
from authz.jose import NotAToken, read_compact, read_moment
from authz.svid.bundles import Bundles
from authz.svid.names import read_workload_id

_HEADER = frozenset({"alg", "kid", "typ"})
_TYPES = frozenset({"JWT", "JOSE"})
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
_LEAST_RSA_BITS = 2048  # RFC 7518 section 3.3


@dataclass(frozen=True, slots=True)
class Token:
    """A token whose form, audience and signature are right."""

    subject: SpiffeId
    begins_unix_seconds: float  # the later of nbf and iat; minus infinity where it has neither
    expires_unix_seconds: float

    def must_hold_at(self, unix_seconds: float, leeway_seconds: float) -> None:
        """It is in its validity, give or take the leeway; raises Refused. A time that is no number is in none."""
        if not unix_seconds < self.expires_unix_seconds + leeway_seconds:  # RFC 7519 section 4.1.4: before, not at
            raise Refused(Reason.JWT_EXPIRED, f"{unix_seconds - self.expires_unix_seconds:.0f} s ago")
        if not unix_seconds >= self.begins_unix_seconds - leeway_seconds:
            raise Refused(Reason.JWT_NOT_YET_VALID, f"for another {self.begins_unix_seconds - unix_seconds:.0f} s")


def prove_token(unverified_token: str, bundles: Bundles, audiences: frozenset[str]) -> Token:
    """What the token proves, if a key of its subject's trust domain signed it for one of the audiences.

    Raises Refused. The key id, optional in JWT-SVID section 2.2, is asked for as by other implementations: without it
    each token would be tried against every key.
    """
    header, claims = _read(unverified_token)
    algorithm, key_id = _read_header(header)
    token = Token(_read_subject(claims, bundles), _begins(claims), _expires(claims))
    _must_be_for(claims, audiences)
    key = bundles.of_trust_domain(token.subject.trust_domain).jwt_authorities.get(key_id)
    if key is None:
        raise Refused(Reason.JWT_KEY_UNKNOWN, f"{token.subject.trust_domain}: {key_id!r:.200}")
    _must_be_signed(unverified_token, algorithm, key)
    return token


def _read(unverified_token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        return read_compact(unverified_token)
    except NotAToken as error:
        raise Refused(Reason.JWT_MALFORMED, str(error)) from error


def _read_header(header: dict[str, Any]) -> tuple[str, str]:
    """Algorithm and key id (JWT-SVID section 2)."""
    if unknown := sorted(header.keys() - _HEADER):
        raise Refused(Reason.JWT_HEADER_NOT_ALLOWED, f"{unknown[:5]!r:.200}")
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or (algorithm not in _RSA and algorithm not in _CURVES):
        raise Refused(Reason.JWT_ALGORITHM, f"{algorithm!r:.200}")
    if "typ" in header and (not isinstance(header["typ"], str) or header["typ"] not in _TYPES):
        raise Refused(Reason.JWT_HEADER_NOT_ALLOWED, f"typ {header['typ']!r:.200}")
    if not isinstance(key_id, str) or not key_id:
        raise Refused(Reason.JWT_KEY_UNKNOWN, "no key id")
    return algorithm, key_id


def _read_subject(claims: dict[str, Any], bundles: Bundles) -> SpiffeId:
    """JWT-SVID section 3.1."""
    subject = claims.get("sub")
    if not isinstance(subject, str):
        raise Refused(Reason.JWT_CLAIM_MISSING, "sub")
    return read_workload_id(subject, bundles)


def _must_be_for(claims: dict[str, Any], audiences: frozenset[str]) -> None:
    """JWT-SVID section 3.2. RFC 7519 section 4.1.3: a single audience may stand alone."""
    found = claims.get("aud", [])
    found = [found] if isinstance(found, str) else found
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise Refused(Reason.JWT_MALFORMED, "aud is neither a text nor a list of texts")
    if not found:
        raise Refused(Reason.JWT_CLAIM_MISSING, "aud")
    if audiences.isdisjoint(found):
        raise Refused(Reason.JWT_FOR_ANOTHER_AUDIENCE, f"{found[:5]!r:.500}")


def _expires(claims: dict[str, Any]) -> float:
    """JWT-SVID section 3.3."""
    if "exp" not in claims:
        raise Refused(Reason.JWT_CLAIM_MISSING, "exp")
    return _moment(claims, "exp")


def _begins(claims: dict[str, Any]) -> float:
    """RFC 7519 sections 4.1.5 and 4.1.6. A token that is issued in the future was post-dated, or a clock is wrong."""
    return max((_moment(claims, name) for name in ("nbf", "iat") if name in claims), default=-math.inf)


def _moment(claims: dict[str, Any], name: str) -> float:
    try:
        return read_moment(claims, name)
    except NotAToken as error:
        raise Refused(Reason.JWT_MALFORMED, str(error)) from error


def _must_be_signed(unverified_token: str, algorithm: str, key: PublicKeyTypes) -> None:
    """RFC 7515 section 5.2, with a key that fits the algorithm (JWT-SVID section 4.2)."""
    try:
        jws.deserialize_compact(unverified_token, _fitting(key, algorithm), algorithms=[algorithm])
    except (JoseError, ValueError) as error:
        raise Refused(Reason.JWT_UNTRUSTED, f"{type(error).__name__}") from error


def _fitting(key: PublicKeyTypes, algorithm: str) -> RSAKey | ECKey:
    if isinstance(key, RSAPublicKey) and algorithm in _RSA and key.key_size >= _LEAST_RSA_BITS:
        return RSAKey.import_key(key)
    if isinstance(key, EllipticCurvePublicKey) and key.curve.name == _CURVES.get(algorithm):
        return ECKey.import_key(key)
    raise Refused(Reason.JWT_ALGORITHM, f"{algorithm} with {type(key).__name__}")
