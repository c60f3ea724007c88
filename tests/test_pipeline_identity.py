"""The first steps of the story, told with the real parts: who asks, and whose word counts in which mode."""

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc.jwk import ECKey

from authz.core.decision import Allow, Deny
from authz.core.identity import Asker, Proof
from authz.core.reasons import Reason
from authz.core.record import Record
from authz.core.spiffe import SpiffeId
from authz.demo.jwt_authority import JwtAuthority
from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from tests.support.world import DOMAIN, ENVOY, RESEARCH, SUPPORT, Running, World, check_request

XFCC = "x-forwarded-client-cert"


def told(record: Record) -> Reason | Proof:
    """The reason of a denial; what the identity rested on in an allow."""
    if isinstance(record.decision, Deny):
        return record.decision.reason
    assert isinstance(record.decision, Allow)
    assert record.identity is not None
    return record.identity.proof


def hop(world: World, principal: str = "", **headers: str) -> bytes:
    """A hop on a live task of the support agent, as an Envoy describes it that passes no certificate on."""
    task = world.start_task()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return check_request(None, principal, headers={"x-task-id": task.id, **named})


def test_the_envoy_that_asks_is_on_the_record(tmp_path: Path) -> None:
    """A proven Envoy on the list is admitted, and the record says which it was."""
    world = World.guarded(tmp_path)
    running = world.pipeline()
    record = running.decide(world.check(world.start_task().id), asker=world.svid(ENVOY))
    assert Asker(SpiffeId.parse(ENVOY)) == record.asker
    assert told(record) is Proof.CERTIFICATE
    running.close()


def test_who_may_not_ask_is_answered_before_anything_is_read(tmp_path: Path) -> None:
    """An asker without certificate, or not on the list, gets a 503 and learns nothing of what it sent."""
    world = World.guarded(tmp_path)
    running = world.pipeline()
    message = world.check(world.start_task().id)
    for asker, reason in ((None, Reason.ASKER_UNPROVEN), (world.svid(SUPPORT), Reason.ASKER_NOT_ALLOWED)):
        for sent in (message, b"\xff\xff"):
            answer = running.answer(sent, asker=asker)
            assert told(answer.record) is reason
            assert (answer.record.asker, answer.record.request, answer.record.identity) == (None, None, None)
            assert CheckResponse.FromString(answer.message).denied_response.status.code == 503
    running.close()


def test_mode_attested_takes_a_proven_envoys_principal(tmp_path: Path) -> None:
    """The principal alone names the agent; absent, strange or of another agent, it does not."""
    world = World.guarded(tmp_path, identity={"mode": "attested"})
    running, envoy = world.pipeline(), world.svid(ENVOY)
    assert told(running.decide(hop(world, SUPPORT), asker=envoy)) is Proof.ATTESTED
    assert told(running.decide(hop(world, SUPPORT))) is Reason.ASKER_UNPROVEN
    assert told(running.decide(hop(world), asker=envoy)) is Reason.IDENTITY_MISSING
    assert told(running.decide(hop(world, "crm.example.org"), asker=envoy)) is Reason.SPIFFE_ID_MALFORMED
    assert told(running.decide(hop(world, RESEARCH), asker=envoy)) is Reason.TASK_OF_ANOTHER_AGENT
    running.close()


def test_mode_xfcc_takes_a_proven_envoys_header(tmp_path: Path) -> None:
    """The last element's URI names the agent; another proxy's element does not."""
    world = World.guarded(tmp_path, identity={"mode": "xfcc"})
    running, envoy = world.pipeline(), world.svid(ENVOY)
    written = {XFCC.replace("-", "_"): f"By={ENVOY};URI={SUPPORT}"}
    assert told(running.decide(hop(world, **written), asker=envoy)) is Proof.XFCC
    assert told(running.decide(hop(world, RESEARCH, **written), asker=envoy)) is Reason.PRINCIPAL_MISMATCH
    assert told(running.decide(hop(world, SUPPORT), asker=envoy)) is Reason.IDENTITY_MISSING
    forged = {XFCC.replace("-", "_"): f"By={RESEARCH};URI={SUPPORT}"}
    assert told(running.decide(hop(world, **forged), asker=envoy)) is Reason.XFCC_OF_ANOTHER_PROXY
    running.close()


def test_mode_sidecar_takes_the_asker(tmp_path: Path) -> None:
    """The agent is whose own Envoy asks; it must be on the list as any other."""
    world = World.guarded(tmp_path, identity={"mode": "sidecar"})
    world.config_file.write_text(world.config_file.read_text().replace(f"- {ENVOY}", f"- {SUPPORT}"))
    running = world.pipeline()
    assert told(running.decide(hop(world), asker=world.svid(SUPPORT))) is Proof.SIDECAR
    assert told(running.decide(hop(world), asker=world.svid(ENVOY))) is Reason.ASKER_NOT_ALLOWED
    assert told(running.decide(hop(world, RESEARCH), asker=world.svid(SUPPORT))) is Reason.PRINCIPAL_MISMATCH
    running.close()


@pytest.fixture(scope="module")
def authority() -> JwtAuthority:
    """A signing key of the trust domain."""
    return JwtAuthority()


@pytest.fixture
def with_tokens(tmp_path: Path, authority: JwtAuthority) -> tuple[World, Running]:
    """A world that requires a JWT-SVID, with a SPIFFE bundle document, and its pipeline."""
    trusted = {DOMAIN: {"bundle_file": "bundle.json"}}
    jwt = {"header": "x-jwt-svid", "audience": ["authz"], "required": True}
    world = World.guarded(tmp_path, identity={"trust_domains": trusted, "jwt": jwt})
    key, der = world.ca.root.public_key(), world.ca.root.public_bytes(Encoding.DER)
    assert isinstance(key, EllipticCurvePublicKey)
    root = {"use": "x509-svid", **ECKey.import_key(key).as_dict(), "x5c": [base64.b64encode(der).decode()]}
    keys = [root, {**authority.jwk, "use": "jwt-svid"}]
    (tmp_path / "bundle.json").write_text(json.dumps({"keys": keys, "spiffe_sequence": 1}))
    return world, world.pipeline()


def test_a_token_must_name_the_caller(with_tokens: tuple[World, Running], authority: JwtAuthority) -> None:
    """Beside the certificate, the caller's own token for us lets the hop go on, and nothing else in its place does."""
    world, running = with_tokens
    task, envoy = world.start_task(), world.svid(ENVOY)

    def sent(*token: str) -> Reason | Proof:
        headers = {"x-task-id": task.id, **dict.fromkeys(["x-jwt-svid"] * len(token), ",".join(token))}
        return told(running.decide(world.check(None, headers=headers), asker=envoy))

    own = authority.mint(SUPPORT, ["authz"])
    assert sent(f"Bearer {own}") is Proof.CERTIFICATE
    assert sent() is Reason.JWT_MISSING
    assert sent(own, own) is Reason.JWT_REPEATED
    assert sent(authority.mint(RESEARCH, ["authz"])) is Reason.JWT_OF_ANOTHER_WORKLOAD
    assert sent(authority.mint(SUPPORT, ["crm"])) is Reason.JWT_FOR_ANOTHER_AUDIENCE
    assert sent(JwtAuthority(key_id=authority.key_id).mint(SUPPORT, ["authz"])) is Reason.JWT_UNTRUSTED
    running.close()
