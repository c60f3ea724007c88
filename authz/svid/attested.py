"""Mode `attested`: callers are who a proven Envoy says they are, by its `source.principal`.

For meshes whose Envoys pass no certificates on. The mode is as good as the Envoys' own check of their callers: Envoy
takes the first URI SAN for the principal, else a DNS SAN, so it must validate by SPIFFE's rules (its SPIFFE
validator, or Istio), or a certificate with a DNS name spelled like a SPIFFE ID names anybody.
"""

from authz.core.errors import Refused
from authz.core.identity import Asker, Identity, Proof
from authz.core.reasons import Reason
from authz.core.record import Arrival
from authz.core.request import Request
from authz.svid.bundles import BundleSource
from authz.svid.names import proven_id, read_workload_id
from authz.svid.x509 import CertificateVerifier, Prover


class AttestedVerifier:
    """Takes the principal from an Envoy on the allow-list; a certificate beside it must prove the same."""

    def __init__(self, source: BundleSource, prover: Prover) -> None:
        self._source = source
        self._by_certificate = CertificateVerifier(prover)

    def verify(self, request: Request, asker: Asker, arrival: Arrival) -> Identity:
        """The identity that the principal names, valid at the arrival's moment and no longer; raises Refused."""
        proven_id(asker)
        if request.unverified_certificate:
            self._by_certificate.verify(request, asker, arrival)
        if not request.unverified_principal:
            raise Refused(Reason.IDENTITY_MISSING, "no principal")
        spiffe_id = read_workload_id(request.unverified_principal, self._source.current(arrival.boot_ns))
        return Identity(spiffe_id, Proof.ATTESTED, arrival.unix_seconds)
