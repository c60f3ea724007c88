"""Who gets in: at the hardened door of the sidecar configuration, and at a careless one beside it."""

import socket
import ssl

import pytest

from authz.demo.agents import Answered, Caller, TlsFailure
from authz.demo.ca import Certificate
from tests.support.envoy import AGENT_ID, Place, Yard, careless, deny, hardened, settled

IMPOSTORS = ["nobody", "foreign domain", "foreign CA", "DNS SAN", "CA certificate"]


def impostor(yard: Yard, kind: str) -> Caller:
    """A caller whose certificate is not that of a workload of ours."""
    minted: dict[str, Certificate | None] = {
        "nobody": None,
        "foreign domain": yard.foreign.mint("spiffe://evil.example/agent/research"),
        "foreign CA": yard.foreign.mint(AGENT_ID),
        "DNS SAN": yard.ca.mint(dns=(AGENT_ID,)),
        "CA certificate": yard.ca.mint(AGENT_ID, ca=True),
    }
    return yard.caller(minted[kind])


@pytest.mark.parametrize("kind", IMPOSTORS)
def test_the_hardened_door_refuses_impostors(place: Place, kind: str) -> None:
    """Without a workload's certificate of the trust domain nobody gets as far as HTTP."""
    outcome = impostor(place.yard, kind).call(hardened(place.envoy), "GET", "/people/3")
    assert isinstance(outcome, TlsFailure), outcome
    assert "alert" in outcome.why
    assert place.authorizer.checks == []


@pytest.mark.parametrize("kind", IMPOSTORS)
def test_a_careless_door_lets_impostors_in(place: Place, kind: str) -> None:
    """With the default validator and optional certificates all of them reach authz, which is what must refuse them."""
    place.authorizer.script = deny
    outcome = settled(impostor(place.yard, kind), careless(place.envoy), "GET", "/people/3")
    assert isinstance(outcome, Answered)
    assert outcome.status == 403
    assert place.authorizer.checks


def test_two_uri_sans_pass_the_hardened_door(place: Place) -> None:
    """Envoy takes the first of two SPIFFE IDs for the caller: only authz, which sees the certificate, can refuse it."""
    caller = place.yard.caller(place.yard.ca.mint("spiffe://example.org/agent/first", AGENT_ID))
    settled(caller, hardened(place.envoy), "GET", "/people/3")
    assert place.check.attributes.source.principal == "spiffe://example.org/agent/first"


def test_sessions_are_not_resumed(place: Place) -> None:
    """Every connection proves its certificate anew, so that a bundle that changed counts at once."""
    credentials = place.yard.agent.credentials
    assert credentials
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(place.yard.bundle_file)
    context.load_cert_chain(credentials.certificate_file, credentials.private_key_file)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # where a session exists right after the handshake
    session = None
    for _ in range(2):
        with (
            socket.create_connection(place.envoy.door) as plain,
            context.wrap_socket(plain, session=session) as connection,
        ):
            assert not connection.session_reused
            session = connection.session
