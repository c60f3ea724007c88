"""Laws of reading messages of the Workload API: whatever they hold, no trust domain gets another's authorities."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spiffe._proto.workload_pb2 import JWTBundlesResponse, X509SVIDResponse

from authz.demo.ca import DevelopmentCa
from authz.demo.jwt_authority import JwtAuthority, jwk_set
from authz.demo.workload_api import Holdings, bundle_der
from authz.svid.endpoint import NotAnEndpoint, read_endpoint
from authz.svid.workload_messages import NotReadable, read_jwt, read_x509, trust_bundles

OURS, PARTNER = "example.org", "partner.example"
WANTED = frozenset({OURS, PARTNER})
CA, PARTNER_CA = DevelopmentCa(OURS), DevelopmentCa(PARTNER)
BUNDLES = {OURS: bundle_der([CA.root]), PARTNER: bundle_der([PARTNER_CA.root])}
MESSAGE = Holdings([CA.mint(f"spiffe://{OURS}/authz")], OURS, BUNDLES).x509_message().SerializeToString()


@given(st.binary(max_size=300))
def test_bytes_that_are_no_message_are_refused_or_hold_nothing(content: bytes) -> None:
    """Any bytes are told apart into a message with its faults, or NotReadable; no other error comes out."""
    for read in (read_x509, read_jwt):
        try:
            told = read(content, WANTED)
        except NotReadable:
            continue
        assert dict(told.authorities) == {}


@given(st.integers(0, len(MESSAGE) - 1), st.integers(1, 255))
def test_a_flipped_byte_gives_no_trust_domain_anothers_authority(place: int, flip: int) -> None:
    """Whatever one byte of a message becomes, an authority is known for the trust domain it was sent for, or not."""
    content = bytearray(MESSAGE)
    content[place] ^= flip
    try:
        told = read_x509(bytes(content), WANTED)
    except NotReadable:
        return
    ours, theirs = CA.root.public_key(), PARTNER_CA.root.public_key()
    assert theirs not in [each.public_key() for each in told.authorities.get(OURS, ())]
    assert ours not in [each.public_key() for each in told.authorities.get(PARTNER, ())]
    assert told.svid is None or told.svid.spiffe_id.uri == f"spiffe://{OURS}/authz"


@given(st.dictionaries(st.sampled_from([OURS, PARTNER, "stranger.example", ""]), st.binary(max_size=40)))
def test_broken_bundles_leave_the_good_one(broken: dict[str, bytes]) -> None:
    """Beside any number of unreadable bundles, the one that is good is read, and each wanted other one is a fault."""
    told = read_x509(
        X509SVIDResponse(federated_bundles={**broken, f"spiffe://{OURS}": BUNDLES[OURS]}).SerializeToString(), WANTED
    )
    twice = broken.get(OURS, BUNDLES[OURS]) != BUNDLES[OURS]
    assert (set() if twice else {OURS}) == set(told.authorities)
    assert twice + (PARTNER in broken) == len(told.faults)


def test_two_bundles_of_one_trust_domain_are_none() -> None:
    """Told twice and differently, a trust domain's authorities are not joined: it has none, and a fault says why."""
    names = {OURS: bundle_der([DevelopmentCa(OURS).root]), f"spiffe://{OURS}": BUNDLES[OURS]}
    told = read_x509(X509SVIDResponse(federated_bundles=names).SerializeToString(), WANTED)
    assert dict(told.authorities) == {}
    assert len(told.faults) == 1
    assert "never merged" in told.faults[0]


def test_an_svid_that_is_named_otherwise_is_a_fault() -> None:
    """The message's SPIFFE ID and the certificate's must be one."""
    message = X509SVIDResponse.FromString(MESSAGE)
    message.svids[0].spiffe_id = f"spiffe://{OURS}/another"
    told = read_x509(message.SerializeToString(), WANTED)
    assert told.svid is None
    assert not told.svid_is_withdrawn
    assert len(told.faults) == 1


def test_the_first_svid_is_ours() -> None:
    """Of several identities the first is the default one, as the specification has it."""
    svids = [CA.mint(f"spiffe://{OURS}/{name}") for name in ("first", "second")]
    message = Holdings(svids, OURS, BUNDLES).x509_message()
    told = read_x509(message.SerializeToString(), WANTED)
    assert told.svid is not None
    assert f"spiffe://{OURS}/first" == told.svid.spiffe_id.uri


def test_symmetric_and_private_keys_are_no_authorities() -> None:
    """A JWK set's `oct` key would let whoever reads it sign; it is left out, and so is a key with its private half."""
    good = JwtAuthority(key_id="good")
    private = {**JwtAuthority().key.as_dict(private=True), "kid": "private"}
    keys = [good.jwk, {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0", "kid": "oct"}, private]
    told = read_jwt(jwt_message(OURS, keys), WANTED)
    assert {"good"} == set(told.authorities[OURS])


def test_a_trust_domain_without_keys_vouches_for_no_token() -> None:
    """An empty JWK set is no fault: the domain has X.509 authorities, or it has no bundle at all."""
    told = read_jwt(jwt_message(OURS, []), WANTED)
    assert told.faults == ()
    assert trust_bundles({}, told.authorities) == ()


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"keys": 1}', b'{"keys": [{"kty": "EC"}]}', b"\xff", b"null"])
def test_what_is_no_jwk_set_is_a_fault(content: bytes) -> None:
    """The trust domain then has no keys, and another's are as told."""
    bundles = {f"spiffe://{OURS}": content, f"spiffe://{PARTNER}": jwk_set([JwtAuthority(key_id="good")])}
    told = read_jwt(JWTBundlesResponse(bundles=bundles).SerializeToString(), WANTED)
    assert not told.authorities.get(OURS)
    assert {"good"} == set(told.authorities[PARTNER])


@pytest.mark.parametrize(
    "endpoint", ["unix:///run/spire/agent.sock", "unix:/run/a", "tcp://127.0.0.1:80", "tcp://[::1]:8000"]
)
def test_endpoints_are_those_of_the_standard(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Unix socket by its absolute path or an IP address with its port, from the configuration or the environment."""
    assert endpoint == read_endpoint(endpoint)
    monkeypatch.setenv("SPIFFE_ENDPOINT_SOCKET", endpoint)
    assert endpoint == read_endpoint(None)


@pytest.mark.parametrize(
    "endpoint",
    ["", "/run/agent.sock", "unix:run/a", "unix://host/run/a", "unix:////run/a", "unix:///a?b", "unix:///a#b",
     "tcp://localhost:80", "tcp://127.0.0.1", "tcp://127.0.0.1:80/x", "tcp://user@127.0.0.1:80", "http://127.0.0.1:80"],
)  # fmt: skip
def test_no_other_endpoint_is_followed(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that would have to be resolved, a relative path or an empty setting stops the start."""
    monkeypatch.delenv("SPIFFE_ENDPOINT_SOCKET", raising=False)
    with pytest.raises(NotAnEndpoint):
        read_endpoint(endpoint)


def jwt_message(domain: str, keys: list[dict[str, object]]) -> bytes:
    """A message of FetchJWTBundles with these keys."""
    jwks = json.dumps({"keys": keys}).encode()
    return JWTBundlesResponse(bundles={f"spiffe://{domain}": jwks}).SerializeToString()
