"""Trust bundles: PEM files in, one immutable snapshot of whom we believe out.

Each trust domain keeps its own authorities. Two bundles are never merged, or the authority of one domain could sign
for another (SPIFFE Trust Domain and Bundle, section 4).
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from authz.core.errors import Place, Problem, Refused, Unusable
from authz.core.reasons import Reason
from authz.core.spiffe import NotASpiffeId, check_trust_domain
from authz.svid.certificates import NotACertificate, UnverifiedCertificate, parse_certificate, split_pem

_NONE: Mapping[str, PublicKeyTypes] = MappingProxyType({})
_REMEDY = "Leave only the trust domain's CA certificates in the file, as its authority publishes them."


class NotATrustBundle(ValueError):
    """These certificates cannot vouch for a trust domain; the message says why."""


@dataclass(frozen=True, slots=True)
class TrustBundle:
    """The authorities of one trust domain, of which there is at least one; raises NotATrustBundle.

    An authority is the operator's choice, not a claim to be proven, so neither its own SPIFFE ID nor its validity is
    asked here: RFC 5280 section 6.1 validates paths at the time of each check.
    """

    trust_domain: str
    authorities: tuple[x509.Certificate, ...]
    jwt_authorities: Mapping[str, PublicKeyTypes] = _NONE  # by key id; they vouch for JWT-SVIDs and nothing else

    def __post_init__(self) -> None:
        try:
            check_trust_domain(self.trust_domain)
            for authority in self.authorities:
                _must_be_authority(UnverifiedCertificate.read(authority))
        except (NotASpiffeId, NotACertificate) as error:
            raise NotATrustBundle(str(error)) from error
        if not self.authorities and not self.jwt_authorities:
            raise NotATrustBundle(f"the bundle of {self.trust_domain} holds no authority")


@dataclass(frozen=True, slots=True)
class Bundles:
    """A snapshot of all trust bundles; `version` is a digest of its content. Made by `of`."""

    by_trust_domain: Mapping[str, TrustBundle]
    version: str = field(compare=False)

    @classmethod
    def of(cls, bundles: Iterable[TrustBundle]) -> Self:
        """The snapshot that holds these bundles, perhaps none; raises ValueError where a trust domain has two."""
        by_trust_domain: dict[str, TrustBundle] = {}
        for bundle in bundles:
            if bundle.trust_domain in by_trust_domain:
                raise ValueError(f"there are two bundles for {bundle.trust_domain}, and bundles are never merged")
            by_trust_domain[bundle.trust_domain] = bundle
        return cls(MappingProxyType(by_trust_domain), _digest(by_trust_domain))

    def of_trust_domain(self, name: str) -> TrustBundle:
        """The bundle of that trust domain alone; raises Refused."""
        bundle = self.by_trust_domain.get(name)
        if bundle is None:
            known = ", ".join(sorted(self.by_trust_domain)) or "none"
            raise Refused(Reason.TRUST_DOMAIN_UNKNOWN, f"{name}; known: {known:.500}")
        return bundle


class BundleSource:
    """Holds the snapshot that counts now, behind one reference: whoever reads it sees all of a change, or none.

    A source that has lost its origin says since when (`lost_at`); after the declared staleness its bundles no longer
    count. Times are CLOCK_BOOTTIME.
    """

    def __init__(self, bundles: Bundles, *, max_staleness_ns: int | None = None) -> None:
        """Without `max_staleness_ns` the snapshot never goes stale, as with files: they are the origin."""
        self._current = bundles
        self._max_staleness_ns = max_staleness_ns
        self._lost_at_ns: int | None = None

    def current(self, boot_ns: int) -> Bundles:
        """The snapshot to verify against, at this moment; raises Refused once it is stale. Take it once a check."""
        if self._lost_at_ns is not None and self._max_staleness_ns is not None:
            age_ns = boot_ns - self._lost_at_ns
            if age_ns > self._max_staleness_ns:
                raise Refused(Reason.TRUST_BUNDLES_STALE, f"lost {age_ns / 1e9:.1f} s ago")
        return self._current

    def replace(self, bundles: Bundles) -> None:
        """Let this snapshot count from the next check on; it is fresh."""
        self._current = bundles
        self._lost_at_ns = None

    def lost(self, boot_ns: int) -> None:
        """The origin does not answer since this moment; told twice, the first counts."""
        if self._lost_at_ns is None:
            self._lost_at_ns = boot_ns


def load_bundle_file(trust_domain: str, path: Path) -> TrustBundle:
    """The bundle in a PEM file of one or more CA certificates; raises Unusable, naming every one that is none."""
    authorities: list[x509.Certificate] = []
    problems: list[Problem] = []
    for line, pem in split_pem(_read(path)):
        try:
            certificate = parse_certificate(pem)
            _must_be_authority(certificate)
            authorities.append(certificate.parsed)
        except (NotACertificate, NotATrustBundle) as error:
            problems.append(Problem(Place(path, line), str(error), _REMEDY))
    if problems:
        raise Unusable(*problems)
    if not authorities:
        raise Unusable(Problem(Place(path), "there is no PEM certificate in the file", _REMEDY))
    try:
        return TrustBundle(trust_domain, tuple(authorities))
    except NotATrustBundle as error:
        raise Unusable(Problem(Place(path), f"trust domain {trust_domain!r}: {error}")) from error


def _must_be_authority(certificate: UnverifiedCertificate) -> None:
    """It may sign certificates (X509-SVID sections 4.1 and 4.3); raises NotATrustBundle.

    RFC 5280 section 6.1.4 (n) asks for keyCertSign only where there is a key usage, and roots without one are in use.
    """
    if not certificate.is_authority:
        raise NotATrustBundle("the certificate is not of an authority: its basic constraints lack cA")
    if certificate.key_usage is not None and not certificate.key_usage.value.key_cert_sign:
        raise NotATrustBundle("the certificate is not of an authority: its key usage lacks keyCertSign")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        remedy = "Create the file, or correct its path or permissions."
        raise Unusable(Problem(Place(path), f"cannot be read: {error.strerror}", remedy)) from error


def _digest(bundles: Mapping[str, TrustBundle]) -> str:
    digest = hashlib.sha256()
    for name in sorted(bundles):
        encoded = [each.public_bytes(Encoding.DER) for each in bundles[name].authorities]
        # DER tells its own length; the name ends at a byte it cannot hold, the list with its count.
        digest.update(b"%s/%d:" % (name.encode(), len(encoded)))
        digest.update(b"".join(encoded))
        for key_id, key in sorted(bundles[name].jwt_authorities.items()):
            digest.update(b"%s=" % key_id.encode())
            digest.update(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return digest.hexdigest()
