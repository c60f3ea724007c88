"""What the tests of this room are made of: a pinned clock, requests as Envoy makes them, verifiers over bundles."""

import base64
import datetime as dt
from collections.abc import Mapping
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding

from authz.core.identity import Asker, Identity
from authz.core.reasons import Reason
from authz.core.record import Arrival
from authz.core.request import Request
from authz.core.spiffe import SpiffeId
from authz.demo.ca import DevelopmentCa
from authz.ports import Verifier
from authz.svid.bundles import Bundles, BundleSource, TrustBundle
from authz.svid.x509 import CertificateVerifier, Prover
from tests.support.refusals import outcome

NOW = dt.datetime(2027, 1, 15, 8, tzinfo=dt.UTC)
AT = NOW.timestamp()
DOMAIN = "example.org"
AGENT = f"spiffe://{DOMAIN}/agent/support"
ENVOY = f"spiffe://{DOMAIN}/envoy"
ANYONE = Asker(None)
PROVEN = Asker(SpiffeId.parse(ENVOY))
XFCC = "x-forwarded-client-cert"


def arrival(at: float = AT, *, asker_certificate: str = "", boot_ns: int = 0) -> Arrival:
    """A check that arrives at this moment, from a TLS peer that showed this certificate."""
    return Arrival(at, boot_ns, "0190aaaa-bbbb", unverified_asker_certificate=asker_certificate)


def request(pem: str, principal: str = AGENT, *, headers: Mapping[str, tuple[str, ...]] | None = None) -> Request:
    """The request of a caller with this certificate (none where empty), as Envoy describes it."""
    return Request("GET", "crm.example.org", "/", headers or {}, principal, quote(pem, safe=""), "10.0.0.7:40000")


def bundle(*authorities: DevelopmentCa, keys: Mapping[str, PublicKeyTypes] | None = None) -> TrustBundle:
    """The bundle of these authorities of one trust domain, and of these keys for tokens."""
    return TrustBundle(authorities[0].trust_domain, tuple(each.root for each in authorities), keys or {})


def source_of(*bundles: TrustBundle) -> BundleSource:
    """A source that holds these bundles."""
    return BundleSource(Bundles.of(bundles))


def prover(*bundles: TrustBundle) -> Prover:
    """A prover with nothing in its cache."""
    return Prover(source_of(*bundles), cache_entries=100)


def verifier(*bundles: TrustBundle) -> CertificateVerifier:
    """A verifier with nothing in its cache."""
    return CertificateVerifier(prover(*bundles))


def found(by: Verifier, sent: Request, asker: Asker = ANYONE, *, at: float = AT) -> Identity | Reason:
    """The identity that is proven, or the reason for which none is."""
    return outcome(lambda: by.verify(sent, asker, arrival(at)))


def who(by: Verifier, sent: Request, asker: Asker = ANYONE, *, at: float = AT) -> str | Reason:
    """The SPIFFE ID that is proven, or the reason for which none is."""
    identity = found(by, sent, asker, at=at)
    return identity.spiffe_id.uri if isinstance(identity, Identity) else identity


def judge(by: Verifier, pem: str, principal: str = AGENT, *, at: float = AT) -> str | Reason:
    """The SPIFFE ID that a certificate proves, or the reason for which it proves none."""
    return who(by, request(pem, principal), at=at)


def chain_header(*pems: str, by: str = ENVOY) -> dict[str, tuple[str, ...]]:
    """The header that Envoy writes with `Chain`: the leaf's PEM and those of its intermediates."""
    return {XFCC: (f'By={by};Chain="{quote("".join(pems), safe="")}";URI={AGENT}',)}


def pem_of(der: bytes) -> str:
    """The bytes as a PEM certificate, whether or not they are one."""
    lines = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n"


def der_of(certificate: x509.Certificate) -> bytes:
    """The certificate's bytes."""
    return certificate.public_bytes(Encoding.DER)
