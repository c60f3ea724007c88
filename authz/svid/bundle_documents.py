"""Trust bundles as they are published: a PEM file, or a SPIFFE bundle document, in; a TrustBundle out.

A bundle document is a JWK Set (RFC 7517) whose keys say what they vouch for (SPIFFE Trust Domain and Bundle, section
4): `x509-svid` is an authority's certificate, `jwt-svid` a key by its id. It names no trust domain: who reads it must
know whose it is.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from authz.core.errors import Place, Problem, Unusable
from authz.strict_json import NotAJsonObject, read_json_object
from authz.svid.bundles import NotATrustBundle, TrustBundle, must_be_authority
from authz.svid.certificates import (
    NotACertificate,
    UnverifiedCertificate,
    parse_certificate,
    read_der,
    split_pem,
    without_warnings,
)

_PEM_REMEDY = "Leave only the trust domain's CA certificates in the file, as its authority publishes them."
_JSON_REMEDY = "Fetch the bundle document of the trust domain again, and leave it as its authority publishes it."
_FILE_REMEDY = "Create the file, or correct its path or permissions."
_KEY_MEMBERS = {"EC": ("crv", "x", "y"), "RSA": ("n", "e")}
_CURVES = frozenset({"P-256", "P-384", "P-521"})


@dataclass(frozen=True, slots=True)
class BundleDocument:
    """A bundle, and what its publisher says about it; None where it says nothing."""

    bundle: TrustBundle
    sequence: int | None  # `spiffe_sequence`: grows with every change
    refresh_hint_seconds: int | None  # `spiffe_refresh_hint`: how soon to look again


def load_bundle_file(trust_domain: str, path: Path) -> TrustBundle:
    """The bundle in a file, be it PEM or a bundle document; raises Unusable with all that is wrong with it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Unusable(Problem(Place(path), f"cannot be read: {error.strerror}", _FILE_REMEDY)) from error
    is_document = content.lstrip().startswith(b"{")
    try:
        if is_document:
            return parse_bundle_document(trust_domain, content).bundle
        return TrustBundle(trust_domain, _authorities(path, content))
    except NotATrustBundle as error:
        remedy = _JSON_REMEDY if is_document else ""
        raise Unusable(Problem(Place(path), f"trust domain {trust_domain!r}: {error}", remedy)) from error


def parse_bundle_document(trust_domain: str, content: bytes) -> BundleDocument:
    """The bundle that a document publishes for that trust domain; raises NotATrustBundle.

    Keys of a type or use that is unknown here are ignored, as section 4.2 has it; a key of a known type and use that
    cannot be read refuses the document, because what it takes away with it is not known.
    """
    try:
        document = read_json_object(content)
    except NotAJsonObject as error:
        raise NotATrustBundle(str(error)) from error
    keys = document.get("keys")
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise NotATrustBundle("keys is not a list of objects")
    authorities: list[x509.Certificate] = []
    jwt_authorities: dict[str, PublicKeyTypes] = {}
    for number, key in enumerate(keys, 1):
        try:
            match key.get("kty"), key.get("use"):
                case "EC" | "RSA", "x509-svid":
                    authorities.extend(_authority_of(key))
                case "EC" | "RSA", "jwt-svid":
                    _add(jwt_authorities, key)
                case _:
                    pass
        except (NotACertificate, NotATrustBundle) as error:
            raise NotATrustBundle(f"key {number}: {error}") from error
    return BundleDocument(
        TrustBundle(trust_domain, tuple(authorities), jwt_authorities),
        _number(document, "spiffe_sequence"),
        _number(document, "spiffe_refresh_hint"),
    )


def _authorities(path: Path, content: bytes) -> tuple[x509.Certificate, ...]:
    """The CA certificates of a PEM file; raises Unusable, naming every certificate that is none."""
    authorities: list[x509.Certificate] = []
    problems: list[Problem] = []
    for line, pem in split_pem(content):
        try:
            certificate = parse_certificate(pem)
            must_be_authority(certificate)
            authorities.append(certificate.parsed)
        except (NotACertificate, NotATrustBundle) as error:
            problems.append(Problem(Place(path, line), str(error), _PEM_REMEDY))
    if not authorities and not problems:
        problems.append(Problem(Place(path), "there is no PEM certificate in the file", _PEM_REMEDY))
    if problems:
        raise Unusable(*problems)
    return tuple(authorities)


def _authority_of(key: Mapping[str, Any]) -> list[x509.Certificate]:
    """Section 4.2.2: an entry without a certificate is ignored, and so is every certificate but the first."""
    chain = key.get("x5c")
    if not isinstance(chain, list) or not chain:
        return []
    if not isinstance(chain[0], str):
        raise NotATrustBundle("x5c holds no text")
    try:
        der = base64.b64decode(chain[0], validate=True)
    except (binascii.Error, ValueError) as error:
        raise NotATrustBundle(f"x5c is not base64: {error}") from error
    certificate: UnverifiedCertificate = read_der(der)
    if _public_key(key) != certificate.parsed.public_key():
        raise NotATrustBundle("the key is not that of its certificate (RFC 7517 section 4.7)")
    return [certificate.parsed]


def _add(jwt_authorities: dict[str, PublicKeyTypes], key: Mapping[str, Any]) -> None:
    """Section 4.2.3: each key has its own id."""
    key_id = key.get("kid")
    if not isinstance(key_id, str) or not key_id:
        raise NotATrustBundle("a jwt-svid key has a kid")
    if key_id in jwt_authorities:
        raise NotATrustBundle(f"two jwt-svid keys have the kid {key_id!r:.200}")
    jwt_authorities[key_id] = _public_key(key)


def _public_key(key: Mapping[str, Any]) -> RSAPublicKey | EllipticCurvePublicKey:
    """The key itself (RFC 7518 section 6), read from its own members alone: joserfc knows no SPIFFE uses."""
    kind = key["kty"]
    members = {name: value for name in _KEY_MEMBERS[kind] if isinstance(value := key.get(name), str)}
    if len(members) != len(_KEY_MEMBERS[kind]):
        raise NotATrustBundle(f"a key of type {kind} has the members {', '.join(_KEY_MEMBERS[kind])}")
    if "d" in key:
        raise NotATrustBundle("the key is private: whoever can read the document can forge identities")
    if kind == "EC" and members["crv"] not in _CURVES:
        raise NotATrustBundle(f"unknown curve {members['crv']!r:.50}")
    try:
        with without_warnings():
            if kind == "RSA":
                return RSAKey.import_key({"kty": "RSA", **members}).public_key
            return ECKey.import_key({"kty": "EC", **members}).public_key
    except (JoseError, ValueError) as error:
        raise NotATrustBundle(f"the key cannot be read ({type(error).__name__}: {error!s:.200})") from error


def _number(document: Mapping[str, Any], name: str) -> int | None:
    value = document.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise NotATrustBundle(f"{name} is not a whole number")
    return value
