"""A JWT-SVID beside the caller's own proof: the header's values in, the same identity out, or a refusal.

A token is a bearer's, so it never stands alone: whatever proves the caller is asked first, and the token must name the
same workload.
"""

import hashlib
import re

from cachetools import LRUCache

from authz.core.errors import Refused
from authz.core.identity import Asker, Identity
from authz.core.reasons import Reason
from authz.core.record import Arrival
from authz.core.request import Request
from authz.ports import Verifier
from authz.svid.bundles import BundleSource
from authz.svid.tokens import Token, prove_token

_BEARER = re.compile(r"bearer +", re.IGNORECASE)  # RFC 9110 section 11.4, RFC 6750 section 2.1


class JwtVerifier:
    """A layer around another verifier. The header holds one token, bare or as `Bearer <token>`.

    Tokens that were verified are remembered by their digest, never themselves, until the bundles change. Their time is
    asked at each use.
    """

    def __init__(  # noqa: PLR0913  the settings of the header, one by one
        self,
        inner: Verifier,
        source: BundleSource,
        *,
        header: str,
        audiences: frozenset[str],
        leeway_seconds: float,
        required: bool,
        cache_entries: int,
    ) -> None:
        """`header` is lower-case. A token is for us if any of `audiences` is in its `aud`: none admits no token."""
        self._inner = inner
        self._source = source
        self._header = header
        self._audiences = audiences
        self._leeway_seconds = leeway_seconds
        self._required = required
        self._proven: LRUCache[tuple[bytes, str], Token] = LRUCache(cache_entries)

    def verify(self, request: Request, asker: Asker, arrival: Arrival) -> Identity:
        """The identity that the inner verifier proves, if no token contradicts it; raises Refused.

        It is valid no longer than the token.
        """
        identity = self._inner.verify(request, asker, arrival)
        values = request.headers.get(self._header, ())
        if not values:
            if self._required:
                raise Refused(Reason.JWT_MISSING, self._header)
            return identity
        token = self._prove(_only(values), arrival)
        token.must_hold_at(arrival.unix_seconds, self._leeway_seconds)
        if token.subject != identity.spiffe_id:
            raise Refused(Reason.JWT_OF_ANOTHER_WORKLOAD, f"sub {token.subject}, caller {identity.spiffe_id}")
        until = min(identity.valid_until_unix_seconds, token.expires_unix_seconds + self._leeway_seconds)
        return Identity(identity.spiffe_id, identity.proof, until)

    def _prove(self, unverified_token: str, arrival: Arrival) -> Token:
        bundles = self._source.current(arrival.boot_ns)
        # A lone surrogate is in no token, but must not be a fault here.
        key = (hashlib.sha256(unverified_token.encode("utf-8", "surrogatepass")).digest(), bundles.version)
        token = self._proven.get(key)
        if token is None:
            token = self._proven[key] = prove_token(unverified_token, bundles, self._audiences)
        return token


def _only(values: tuple[str, ...]) -> str:
    """The one token. Envoy folds a repeated header into one value with commas, which no token has."""
    if len(values) != 1 or "," in values[0]:
        raise Refused(Reason.JWT_REPEATED, f"{sum(value.count(',') + 1 for value in values)} values")
    value = values[0]
    scheme = _BEARER.match(value)
    return value[scheme.end() :] if scheme else value
