"""Mode `xfcc`: callers are who a proven Envoy says they are, by the last element of x-forwarded-client-cert.

For proxies behind which the caller's mTLS ends before the listener that asks, as at an Istio waypoint, where the check
names no principal. Envoy does not escape the names it writes, so a name with a comma could begin an element of its
own. Two rules keep that out: a principal that is there must name the same caller, and where there is none the header
has one element, as Istio writes it in place of what came in. A principal is as good here as in mode `attested`.
"""

from authz.core.errors import Refused
from authz.core.identity import Asker, Identity, Proof
from authz.core.reasons import Reason
from authz.core.record import Arrival
from authz.core.request import Request
from authz.core.spiffe import SpiffeId
from authz.svid.bundles import BundleSource
from authz.svid.forwarded import Element, NotForwarded, read_elements, unverified_header
from authz.svid.names import proven_id, read_workload_id
from authz.svid.x509 import CertificateVerifier, Prover, must_be_principal


class XfccVerifier:
    """Takes the header from an Envoy on the allow-list; a principal or certificate beside it must name the same."""

    def __init__(self, source: BundleSource, prover: Prover) -> None:
        self._source = source
        self._by_certificate = CertificateVerifier(prover)

    def verify(self, request: Request, asker: Asker, arrival: Arrival) -> Identity:
        """The identity that the last element names, valid at the arrival's moment and no longer; raises Refused."""
        asker_id = proven_id(asker)
        elements = _read(request)
        _must_be_by(elements[-1], asker_id)
        uris = elements[-1].of("uri")
        if len(uris) != 1:
            raise Refused(Reason.XFCC_AMBIGUOUS, f"{len(uris)} URIs: {uris[:3]!r:.500}")
        spiffe_id = read_workload_id(uris[0], self._source.current(arrival.boot_ns))
        if request.unverified_certificate:
            self._by_certificate.verify(request, asker, arrival)
        if request.unverified_principal or request.unverified_certificate:
            must_be_principal(request, spiffe_id)
        elif len(elements) != 1:
            raise Refused(Reason.XFCC_AMBIGUOUS, f"{len(elements)} elements, and no principal")
        return Identity(spiffe_id, Proof.XFCC, arrival.unix_seconds)


def _read(request: Request) -> tuple[Element, ...]:
    header = unverified_header(request)
    if not header:
        raise Refused(Reason.IDENTITY_MISSING, "no x-forwarded-client-cert")
    try:
        return read_elements(header)
    except NotForwarded as error:
        raise Refused(Reason.XFCC_MALFORMED, str(error)) from error


def _must_be_by(element: Element, asker_id: SpiffeId) -> None:
    """Envoy writes its own URI SAN as `By`. Another's there shows that the element was let through, not written."""
    by = element.of("by")
    if by and by != (asker_id.uri,):
        raise Refused(Reason.XFCC_OF_ANOTHER_PROXY, f"by {by[:3]!r:.500}, asked by {asker_id}")
