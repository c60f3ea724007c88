"""Trust bundles: whom we believe about which trust domain, in one immutable snapshot.

Each trust domain keeps its own authorities. Two bundles are never merged, or the authority of one domain could sign
for another (SPIFFE Trust Domain and Bundle, section 4).
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from authz.core.errors import Refused
from authz.core.reasons import Reason
from authz.core.spiffe import NotASpiffeId, check_trust_domain
from authz.svid.certificates import NotACertificate, UnverifiedCertificate

_NONE: Mapping[str, PublicKeyTypes] = MappingProxyType({})


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
    jwt_authorities: Mapping[str, PublicKeyTypes] = field(default_factory=lambda: _NONE)  # by key id; for tokens alone

    def __post_init__(self) -> None:
        try:
            check_trust_domain(self.trust_domain)
            for authority in self.authorities:
                must_be_authority(UnverifiedCertificate.read(authority))
        except (NotASpiffeId, NotACertificate) as error:
            raise NotATrustBundle(str(error)) from error
        if not self.authorities and not self.jwt_authorities:
            raise NotATrustBundle(f"the bundle of {self.trust_domain} holds no authority")


@dataclass(frozen=True, slots=True)
class Bundles:
    """A snapshot of all trust bundles; `version` is a digest of its content. Made by `of`.

    `stale` names the trust domains that are ours to know, but whose source has not told us, or not for too long.
    """

    by_trust_domain: Mapping[str, TrustBundle]
    version: str = field(compare=False)
    stale: frozenset[str] = frozenset()

    @classmethod
    def of(cls, bundles: Iterable[TrustBundle], *, stale: Iterable[str] = ()) -> Self:
        """The snapshot that holds these bundles, perhaps none; raises ValueError where a trust domain has two."""
        by_trust_domain: dict[str, TrustBundle] = {}
        for bundle in bundles:
            if bundle.trust_domain in by_trust_domain:
                raise ValueError(f"there are two bundles for {bundle.trust_domain}, and bundles are never merged")
            by_trust_domain[bundle.trust_domain] = bundle
        unknown = frozenset(stale)
        return cls(MappingProxyType(by_trust_domain), _digest(by_trust_domain, unknown), unknown)

    @property
    def authorities_pem(self) -> bytes:
        """The X.509 authorities of all trust domains, for a TLS library that asks for one list and tells no domain."""
        authorities = (each for bundle in self.by_trust_domain.values() for each in bundle.authorities)
        return b"".join(each.public_bytes(Encoding.PEM) for each in authorities)

    def of_trust_domain(self, name: str) -> TrustBundle:
        """The bundle of that trust domain alone; raises Refused."""
        if name in self.stale:
            raise Refused(Reason.TRUST_BUNDLES_STALE, name)
        bundle = self.by_trust_domain.get(name)
        if bundle is None:
            known = ", ".join(sorted(self.by_trust_domain)) or "none"
            raise Refused(Reason.TRUST_DOMAIN_UNKNOWN, f"{name}; known: {known:.500}")
        return bundle


class BundleSource:
    """Holds the snapshot that counts now, behind one reference: whoever reads it sees all of a change, or none.

    A source that has lost its origin says since when (`lost`); after the declared staleness its bundles no longer
    count: then nothing does, or what the snapshot's maker said is left. Times are CLOCK_BOOTTIME.
    """

    def __init__(self, bundles: Bundles, *, max_staleness_ns: int | None = None) -> None:
        """Without `max_staleness_ns` the snapshot never goes stale, as with files: they are the origin."""
        self._current = bundles
        self._once_stale: Bundles | None = None
        self._max_staleness_ns = max_staleness_ns
        self._lost_at_ns: int | None = None

    def current(self, boot_ns: int) -> Bundles:
        """The snapshot to verify against, at this moment; raises Refused once it is stale. Take it once a check."""
        if self._lost_at_ns is not None and self._max_staleness_ns is not None:
            age_ns = boot_ns - self._lost_at_ns
            if age_ns > self._max_staleness_ns:
                if self._once_stale is not None:
                    return self._once_stale
                raise Refused(Reason.TRUST_BUNDLES_STALE, f"lost {age_ns / 1e9:.1f} s ago")
        return self._current

    def replace(self, bundles: Bundles, *, once_stale: Bundles | None = None) -> None:
        """Let this snapshot count from the next check on; it is fresh. `once_stale` counts when it no longer is."""
        self._current, self._once_stale = bundles, once_stale
        self._lost_at_ns = None

    def lost(self, boot_ns: int) -> None:
        """The origin does not answer since this moment; told twice, the first counts."""
        if self._lost_at_ns is None:
            self._lost_at_ns = boot_ns


def must_be_authority(certificate: UnverifiedCertificate) -> None:
    """It may sign certificates (X509-SVID sections 4.1 and 4.3); raises NotATrustBundle.

    RFC 5280 section 6.1.4 (n) asks for keyCertSign only where there is a key usage, and roots without one are in use.
    """
    if not certificate.is_authority:
        raise NotATrustBundle("the certificate is not of an authority: its basic constraints lack cA")
    if certificate.key_usage is not None and not certificate.key_usage.value.key_cert_sign:
        raise NotATrustBundle("the certificate is not of an authority: its key usage lacks keyCertSign")


def _digest(bundles: Mapping[str, TrustBundle], stale: frozenset[str]) -> str:
    digest = hashlib.sha256(b"".join(b"!%s/" % name.encode() for name in sorted(stale)))
    for name in sorted(bundles):
        encoded = [each.public_bytes(Encoding.DER) for each in bundles[name].authorities]
        # DER tells its own length; the name ends at a byte it cannot hold, the list with its count.
        digest.update(b"%s/%d:" % (name.encode(), len(encoded)))
        digest.update(b"".join(encoded))
        for key_id, key in sorted(bundles[name].jwt_authorities.items()):
            encoded_id = key_id.encode("utf-8", "surrogatepass")
            digest.update(b"%d:%s=" % (len(encoded_id), encoded_id))
            digest.update(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return digest.hexdigest()
