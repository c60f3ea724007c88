"""What it costs to prove a caller by its certificate: one that was seen before, and one that never was."""

import time
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric import rsa

from authz.core.identity import Asker
from authz.core.record import Arrival
from authz.core.request import Request
from authz.demo.ca import DevelopmentCa, PrivateKey
from authz.svid.bundles import Bundles, BundleSource, TrustBundle
from authz.svid.x509 import CertificateVerifier, Prover
from bench.row import Row, median_us

SEEN_BOUND_US = 5
NEW_BOUND_US = 500
LEAVES = 300
LOOK_UPS = 3_000
_DOMAIN = "example.org"
_ENVOY = Asker(None)


def rows() -> Iterator[Row]:
    """`identity_seen_us` and `identity_new_us`."""
    ca = DevelopmentCa(_DOMAIN)
    bundle = TrustBundle(_DOMAIN, (ca.root,))
    verifier = CertificateVerifier(Prover(BundleSource(Bundles.of([bundle])), cache_entries=LEAVES))
    requests = [_hop(ca, number) for number in range(LEAVES)]
    new_us = _verify_each(verifier, requests)
    # A server decodes every check into texts of its own, whose hashes nobody has computed yet.
    again = [_copy(requests[number % LEAVES]) for number in range(LOOK_UPS)]
    seen_us = _verify_each(verifier, again)
    how = f"in process, median of batches of 20 over {LOOK_UPS} checks of {LEAVES} callers with P-256 keys"
    yield Row("identity_seen_us", seen_us, "us", SEEN_BOUND_US, how)

    rsa_key = rsa.generate_private_key(65537, 2048)  # one key for all: what is new to the verifier is the certificate
    rsa_us = _verify_each(verifier, [_hop(ca, number, rsa_key) for number in range(LEAVES)])
    how = f"the same, {LEAVES} certificates each verified once; with RSA-2048 keys in them {rsa_us:.0f} us"
    yield Row("identity_new_us", new_us, "us", NEW_BOUND_US, how)


def _verify_each(verifier: CertificateVerifier, requests: Sequence[Request]) -> float:
    """Microseconds that one of these takes, each verified once."""
    arrival, waiting = Arrival(time.time(), 0, ""), iter(requests)
    return median_us(lambda: verifier.verify(next(waiting), _ENVOY, arrival), calls=len(requests))


def _hop(ca: DevelopmentCa, number: int, key: PrivateKey | None = None) -> Request:
    """A hop of another agent, as Envoy describes it."""
    agent = f"spiffe://{_DOMAIN}/agent/{number}"
    return _request(agent, quote(ca.mint(agent, key=key).pem, safe=""))


def _copy(request: Request) -> Request:
    """The next hop of the same agent, read from other bytes."""
    return _request(
        *(text.encode().decode() for text in (request.unverified_principal, request.unverified_certificate))
    )


def _request(principal: str, certificate: str) -> Request:
    headers = {"user-agent": ("agent/1",), "x-task-id": ("0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee",)}
    return Request("GET", "crm.example.org", "/contacts/42", headers, principal, certificate, "127.0.0.1:40000")
