"""Identity: a proven SPIFFE ID, how it was proven, and for how long the proof holds."""

from dataclasses import dataclass
from enum import Enum

from authz.core.spiffe import SpiffeId


class Proof(Enum):
    """What an identity rests on."""

    CERTIFICATE = "certificate"  # the X509-SVID, validated here
    ATTESTED = "attested"  # the word of an Envoy on the allow-list: its `source.principal`
    XFCC = "xfcc"  # the word of an Envoy on the allow-list: the last element of x-forwarded-client-cert
    SIDECAR = "sidecar"  # the certificate with which the agent's own Envoy called our port

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls. Only a verifier makes one."""

    spiffe_id: SpiffeId
    proof: Proof
    valid_until_unix_seconds: float


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks us: the workload at the other end of our own port, an Envoy. Only a door makes one.

    `spiffe_id` is None in plain text, where whoever reaches the port may ask and can be told from nobody.
    """

    spiffe_id: SpiffeId | None
