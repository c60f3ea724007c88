"""The door: who may ask us at all, by the certificate that the TLS peer of our own port showed."""

from authz.core.errors import Refused
from authz.core.identity import Asker, Identity
from authz.core.reasons import Reason
from authz.core.record import Arrival
from authz.core.spiffe import SpiffeId
from authz.svid.x509 import Prover

_ANYONE = Asker(None)


class OpenDoor:
    """For plain text, which the configuration asks for by name: whoever reaches the port may ask."""

    def admit(self, arrival: Arrival) -> Asker:  # noqa: ARG002  nobody is asked for anything
        """An asker without a name."""
        return _ANYONE


class ProvenCaller:
    """For our own API: whoever proves a SPIFFE ID of a configured trust domain; what each may, policies say."""

    def __init__(self, prover: Prover) -> None:
        self._prover = prover

    def prove(self, arrival: Arrival) -> Identity:
        """The workload at the other end of the call; raises Refused."""
        if not arrival.unverified_asker_certificate:
            raise Refused(Reason.IDENTITY_MISSING, "no certificate over TLS 1.3")
        return self._prover.prove(arrival.unverified_asker_certificate, arrival, arrival.unverified_asker_chain)


class GuardedDoor:
    """Admits the workloads on the allow-list, proven by the same rules as callers. An empty list admits nobody."""

    def __init__(self, prover: Prover, allowed: frozenset[SpiffeId]) -> None:
        self._prover = prover
        self._allowed = allowed

    def admit(self, arrival: Arrival) -> Asker:
        """The proven Envoy; raises Refused. Its PEM is not URL-encoded, and has no percent sign."""
        if not arrival.unverified_asker_certificate:
            raise Refused(Reason.ASKER_UNPROVEN, "no certificate over TLS 1.3")
        try:
            proven = self._prover.prove(arrival.unverified_asker_certificate, arrival, arrival.unverified_asker_chain)
        except Refused as refused:
            if refused.reason is Reason.TRUST_BUNDLES_STALE:
                raise
            # The reason is about the Envoy's certificate, not the caller's.
            raise Refused(Reason.ASKER_UNPROVEN, f"{refused.reason}: {refused.detail}") from refused
        if proven.spiffe_id not in self._allowed:
            raise Refused(Reason.ASKER_NOT_ALLOWED, proven.spiffe_id.uri)
        return Asker(proven.spiffe_id)
