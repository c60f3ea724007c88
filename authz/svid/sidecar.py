"""Mode `sidecar`: the caller is the agent whose own Envoy asks, by the certificate with which it called our port.

For the way out of a workload: its Envoy takes plain text from the agent beside it, so a check names no caller, and the
agent and its Envoy share one SVID. A listener for the way in must ask a server of another mode: here its callers
would be taken for the agent.
"""

from authz.core.errors import Refused
from authz.core.identity import Asker, Identity, Proof
from authz.core.reasons import Reason
from authz.core.record import Arrival
from authz.core.request import Request
from authz.svid.names import proven_id


class SidecarVerifier:
    """Takes the asker for the caller, unless the check names another caller."""

    def verify(self, request: Request, asker: Asker, arrival: Arrival) -> Identity:
        """The asker's identity, which was proven for the arrival's moment; raises Refused."""
        spiffe_id = proven_id(asker)
        if request.unverified_certificate:
            # A hop with a client certificate came over mTLS, so from elsewhere, whatever name it shows.
            raise Refused(Reason.PRINCIPAL_MISMATCH, f"the hop shows a certificate; asked by {spiffe_id}")
        if request.unverified_principal not in ("", spiffe_id.uri):
            found = f"principal {request.unverified_principal!r:.200}, asked by {spiffe_id}"
            raise Refused(Reason.PRINCIPAL_MISMATCH, found)
        return Identity(spiffe_id, Proof.SIDECAR, arrival.unix_seconds)
