"""Messages of the SPIFFE Workload API in; authorities by trust domain, and our own SVID, out. Pure.

Each message is the full state (SPIFFE Workload API, section 4.1), and each trust domain in it is judged alone: one that
cannot be read is told as a fault and is then absent, as if the message did not name it, and the others stand. To keep
what an earlier message said of it could keep an authority that this one takes back. Never are two sets joined.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from spiffe import JwtBundle, TrustDomain
from spiffe._proto.workload_pb2 import X509SVID, JWTBundlesResponse, X509SVIDResponse

from authz.core.spiffe import SCHEME
from authz.svid.bundles import NotATrustBundle, TrustBundle
from authz.svid.certificates import without_warnings
from authz.svid.own import NotOurSvid, OwnSvid

_LONG_FORM = 0x80
_V = TypeVar("_V")

X509Authorities = tuple[x509.Certificate, ...]
JwtAuthorities = Mapping[str, PublicKeyTypes]


class NotReadable(ValueError):
    """A part of a message that cannot be used; the text says which and why."""


@dataclass(frozen=True, slots=True)
class X509Told:
    """What a message of FetchX509SVID says. `svid` is None where there is none, or where it is a fault."""

    authorities: Mapping[str, X509Authorities]
    svid: OwnSvid | None
    svid_is_withdrawn: bool
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JwtTold:
    """What a message of FetchJWTBundles says."""

    authorities: Mapping[str, JwtAuthorities]
    faults: tuple[str, ...]


def read_x509(message: bytes, wanted: frozenset[str]) -> X509Told:
    """The X.509 authorities of the wanted trust domains, and the first SVID; raises NotReadable for no such message."""
    response = _parsed(X509SVIDResponse.FromString, message)
    # The bundle beside an SVID is that of the SVID's own trust domain.
    own = [(each.spiffe_id.removeprefix(SCHEME).partition("/")[0], each.bundle) for each in response.svids]
    federated = [(name.removeprefix(SCHEME), der) for name, der in response.federated_bundles.items()]
    faults: list[str] = []
    authorities = _by_domain([*own, *federated], wanted, _read_authorities, faults)
    svid: OwnSvid | None = None
    if response.svids:
        first = response.svids[0]  # "the first SVID in the list is the default identity"
        try:
            svid = _read_svid(first)
        except NotReadable as error:
            faults.append(f"our own SVID {first.spiffe_id!r:.200}: {error}")
    return X509Told(authorities, svid, not response.svids, tuple(faults))


def read_jwt(message: bytes, wanted: frozenset[str]) -> JwtTold:
    """The JWT authorities of the wanted trust domains; raises NotReadable for no such message."""
    response = _parsed(JWTBundlesResponse.FromString, message)
    faults: list[str] = []
    named = [(name.removeprefix(SCHEME), jwks) for name, jwks in response.bundles.items()]
    return JwtTold(_by_domain(named, wanted, _read_keys, faults), tuple(faults))


def trust_bundles(
    authorities: Mapping[str, X509Authorities], keys: Mapping[str, JwtAuthorities]
) -> tuple[TrustBundle, ...]:
    """The bundle of each trust domain that either names. What one holds is never taken for what the other does."""
    domains = sorted(authorities.keys() | keys.keys())
    parts = [(each, authorities.get(each, ()), keys.get(each, {})) for each in domains]
    return tuple(TrustBundle(*part) for part in parts if part[1] or part[2])


def _by_domain(
    named: Iterable[tuple[str, bytes]],
    wanted: frozenset[str],
    read: Callable[[str, bytes], _V],
    faults: list[str],
) -> dict[str, _V]:
    """What is said of each wanted trust domain; of two that differ, neither counts."""
    said: dict[str, set[bytes]] = {}
    for name, content in named:
        if name in wanted:
            said.setdefault(name, set()).add(content)
    found: dict[str, _V] = {}
    for name, contents in said.items():
        if len(contents) > 1:
            faults.append(f"the bundle of {name}: there are two, not alike, and bundles are never merged")
            continue
        try:
            found[name] = read(name, contents.pop())
        except NotReadable as error:
            faults.append(f"the bundle of {name}: {error}")
    return found


def _read_authorities(trust_domain: str, der: bytes) -> X509Authorities:
    authorities = tuple(_read_certificates(der))
    try:
        return TrustBundle(trust_domain, authorities).authorities
    except NotATrustBundle as error:
        raise NotReadable(str(error)) from error


def _read_keys(trust_domain: str, jwks: bytes) -> JwtAuthorities:
    try:
        bundle = JwtBundle.parse(TrustDomain(trust_domain), jwks)
    except Exception as error:
        # The library and those under it have no error in common: a bad number raises binascii's, bad text a ValueError.
        raise NotReadable(f"not a JWK set ({type(error).__name__}: {error!s:.200})") from error
    # Symmetric and private keys are no authorities, and JWT-SVID section 4 knows RSA and EC alone.
    usable = (RSAPublicKey, EllipticCurvePublicKey)
    return {key_id: key for key_id, key in bundle.jwt_authorities.items() if isinstance(key, usable)}


def _read_svid(message: X509SVID) -> OwnSvid:
    chain_pem = b"".join(each.public_bytes(Encoding.PEM) for each in _read_certificates(message.x509_svid))
    try:
        key = load_der_private_key(message.x509_svid_key, password=None)
        key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise NotReadable(f"the private key cannot be read ({type(error).__name__})") from error
    try:
        svid = OwnSvid.of(chain_pem, key_pem)
    except NotOurSvid as error:
        raise NotReadable(str(error)) from error
    if svid.spiffe_id.uri != message.spiffe_id:
        raise NotReadable(f"its certificate is that of {svid.spiffe_id}")
    return svid


def _read_certificates(der: bytes) -> list[x509.Certificate]:
    """The certificates that stand one behind the other, "ASN.1 DER encoded with no intermediate padding"."""
    certificates: list[x509.Certificate] = []
    while der:
        size = _size_of_first(der)
        try:
            with without_warnings():
                certificate = x509.load_der_x509_certificate(der[:size])
                certificate.public_key()  # read only when asked for, and then perhaps not readable
        except Exception as error:
            # The library's Rust core raises ValueError and its own errors: no base in common.
            raise NotReadable(f"certificate {len(certificates) + 1} cannot be read ({error!s:.200})") from error
        certificates.append(certificate)
        der = der[size:]
    return certificates


def _size_of_first(der: bytes) -> int:
    """How many bytes the first DER value takes, by its header (X.690 section 8.1.3); what lies inside is not judged."""
    if len(der) > 1 and der[1] < _LONG_FORM:
        return 2 + der[1]
    digits = der[1] - _LONG_FORM if len(der) > 1 else 0
    size = 2 + digits + int.from_bytes(der[2 : 2 + digits], "big")
    if not digits or size > len(der):
        raise NotReadable("a certificate is cut short")
    return size


def _parsed(parse: Callable[[bytes], _V], message: bytes) -> _V:
    try:
        return parse(message)
    except Exception as error:
        # protobuf's C core raises DecodeError, the Python one also others.
        raise NotReadable(f"not a message of the Workload API: {error!s:.200}") from error
