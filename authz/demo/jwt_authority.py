"""A development JWT authority: one signing key of a trust domain in; JWK sets and JWT-SVIDs out. Not for production."""

import json
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey

LIFETIME_SECONDS = 300


@dataclass(frozen=True)
class JwtAuthority:
    """A P-256 key that signs JWT-SVIDs (JWT-SVID section 3), with its key id."""

    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256"), repr=False)
    key_id: str = field(default_factory=lambda: secrets.token_hex(8))

    def mint(self, spiffe_id: str, audience: Iterable[str], lifetime_seconds: int = LIFETIME_SECONDS) -> str:
        """A JWT-SVID for the workload, to be shown to the audience."""
        now = int(time.time())
        claims = {"sub": spiffe_id, "aud": list(audience), "iat": now, "exp": now + lifetime_seconds}
        return jwt.encode({"alg": "ES256", "kid": self.key_id, "typ": "JWT"}, claims, self.key)

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key, as the Workload API has it."""
        return {**self.key.as_dict(private=False), "kid": self.key_id}


def jwk_set(authorities: Iterable[JwtAuthority]) -> bytes:
    """The JWK set that the Workload API hands out for a trust domain."""
    return json.dumps({"keys": [each.jwk for each in authorities]}).encode()
