"""What the tests of this room are made of: a pinned clock, requests as Envoy makes them, verifiers over bundles."""

import base64
import datetime as dt
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from authz.core.identity import Identity
from authz.core.reasons import Reason
from authz.core.request import Request
from authz.demo.ca import DevelopmentCa
from authz.svid.bundles import Bundles, BundleSource, TrustBundle
from authz.svid.x509 import X509Verifier
from tests.support.refusals import outcome

NOW = dt.datetime(2027, 1, 15, 8, tzinfo=dt.UTC)
AT = NOW.timestamp()
DOMAIN = "example.org"
AGENT = f"spiffe://{DOMAIN}/agent/support"


def request(pem: str, principal: str = AGENT) -> Request:
    """The request of a caller with this certificate (none where empty), as Envoy describes it."""
    return Request("GET", "crm.example.org", "/", {}, principal, quote(pem, safe=""), "10.0.0.7:40000")


def bundle(*authorities: DevelopmentCa) -> TrustBundle:
    """The bundle of these authorities of one trust domain."""
    return TrustBundle(authorities[0].trust_domain, tuple(each.root for each in authorities))


def verifier(*bundles: TrustBundle) -> X509Verifier:
    """A verifier with nothing in its cache."""
    return X509Verifier(BundleSource(Bundles.of(bundles)), cache_entries=100)


def judge(by: X509Verifier, pem: str, principal: str = AGENT, *, at: float = AT) -> str | Reason:
    """The SPIFFE ID that is proven, or the reason for which nothing is."""
    found: Identity | Reason = outcome(lambda: by.verify(request(pem, principal), at))
    return found.spiffe_id.uri if isinstance(found, Identity) else found


def pem_of(der: bytes) -> str:
    """The bytes as a PEM certificate, whether or not they are one."""
    lines = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n"


def der_of(certificate: x509.Certificate) -> bytes:
    """The certificate's bytes."""
    return certificate.public_bytes(Encoding.DER)
