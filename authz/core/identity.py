"""Identity: a proven SPIFFE ID, how it was proven, and for how long the proof holds."""

from dataclasses import dataclass
from enum import Enum

from authz.core.spiffe import SpiffeId


class Proof(Enum):
    """What an identity rests on."""

    CERTIFICATE = "certificate"  # the X509-SVID, validated here

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls. Only a verifier makes one."""

    spiffe_id: SpiffeId
    proof: Proof
    valid_until_unix_seconds: float
