"""Request: one hop as Envoy described it. Nothing in it is proven."""

from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_SHOWN_BODY_BYTES = 65_536
"""Of a body that policies are shown; a larger one is refused, or they are told that it is cut."""


@dataclass(frozen=True, slots=True)
class Body:
    """The body, as far as Envoy passed it on; raw, for only the catalog knows what it should be."""

    content: bytes = b""
    declared_bytes: int | None = None  # as Envoy counted or was told; None where it said nothing
    is_partial: bool = False  # Envoy says that there was more
    is_exact: bool = True  # false where it came as text: Envoy then writes `!` for each byte that is not UTF-8
    is_declared_whole: bool = False  # Envoy says that this is all


NO_BODY = Body()


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
    body: Body = NO_BODY
    attributes: Mapping[str, object] = field(
        default_factory=dict
    )  # what Envoy said as JSON, where an engine wants that

    @property
    def path_without_query(self) -> str:
        """The part before the first `?`: the only split that cannot disagree with Envoy's."""
        return self.path.partition("?")[0]

    @property
    def query(self) -> str:
        """The part behind the first `?`, undecoded; empty where there is none."""
        return self.path.partition("?")[2]
