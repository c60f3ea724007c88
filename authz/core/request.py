"""Request: one hop as Envoy described it. Nothing in it is proven."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Request:
    """What Envoy said about one hop; every field is unverified, and may be what an attacker sent.

    `headers` maps each lower-case name to its values in order. Envoy folds repeated headers into one value with
    commas unless `encode_raw_headers` is set, so one value may still hide several.
    """

    method: str
    host: str
    path: str  # with the query, as on the request line; empty for CONNECT
    headers: Mapping[str, tuple[str, ...]]
    unverified_principal: str  # empty where Envoy named none
    unverified_certificate: str  # URL-encoded PEM of the leaf, as Envoy sends it
    source_address: str  # the connection's peer, for the audit record

    @property
    def path_without_query(self) -> str:
        """The part before the first `?`: the only split that cannot disagree with Envoy's."""
        return self.path.partition("?")[0]
