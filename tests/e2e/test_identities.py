"""How a caller and an asker are proven beyond the caller's certificate: tokens, an Envoy's word, the allow-list.

By their true cause, through a real Envoy and the real server, in both of Envoy's failure modes.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc.jwk import ECKey

from authz.core.reasons import Reason
from authz.demo.agents import Answered
from authz.demo.bundle_document import bundle_document
from authz.demo.ca import Certificate
from authz.demo.jwt_authority import JwtAuthority
from authz.demo.workload_api import DevelopmentWorkloadApi
from tests.support.envoy import SERVICE_ID, Yard, careless, hardened, settled, yard
from tests.support.mesh import Hop, Mesh, running
from tests.support.servers import until
from tests.support.world import AUTHZ, DOMAIN, HOST, RESEARCH, SUPPORT
from tests.svid.signing import AUDIENCE, KEY_ID, SigningKey, token

__all__ = ["yard"]  # the fixture

MODES = pytest.mark.parametrize("failure_mode_allow", [False, True], ids=["errors-deny", "errors-pass"])
TASK = ("x-task-id", "{task}")
HEADER = "x-jwt-svid"
XFCC = "x-forwarded-client-cert"


@dataclass(frozen=True)
class TokenMesh:
    """A mesh whose server wants a token beside the certificate, and the key that signs them."""

    mesh: Mesh
    key: SigningKey

    def token(self, key: SigningKey | None = None, *, header: Mapping[str, Any] | None = None, **claims: Any) -> str:  # noqa: ANN401  claims have many types
        """A token for the support agent, or as changed; a claim or header field that is None is left out."""
        now = int(time.time())
        plain = {"sub": SUPPORT, "aud": [AUDIENCE], "exp": now + 300, **claims}
        head = {"alg": "ES256", "kid": KEY_ID, **(header or {})}
        return token(key or self.key, _without_none(head), _without_none(plain))


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


@pytest.fixture(scope="module", params=[False, True], ids=["errors-deny", "errors-pass"])
def tokens(yard: Yard, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenMesh]:
    """The mesh in one failure mode."""
    folder, key = tmp_path_factory.mktemp("tokens"), ec.generate_private_key(ec.SECP256R1())
    authority = JwtAuthority(ECKey.import_key(key), KEY_ID)
    (folder / "bundle.json").write_text(bundle_document([yard.ca], [authority]))
    identity = {
        "trust_domains": {DOMAIN: {"bundle_file": "bundle.json"}},
        "jwt": {"header": HEADER, "audience": [AUDIENCE], "required": True},
    }
    with running(yard, folder, failure_mode_allow=request.param, identity=identity) as mesh:
        yield TokenMesh(mesh, key)


def test_a_certificate_and_a_token_of_one_workload_are_allowed(tokens: TokenMesh) -> None:
    """With both, bare or as a bearer token, the hop arrives, and without the token, which is for authz alone."""
    mesh = tokens.mesh
    task = mesh.world.start_task()
    for value in (tokens.token(), f"Bearer {tokens.token()}"):
        headers = [("x-task-id", task.id), (HEADER, value)]
        outcome = mesh.agent(SUPPORT).call(hardened(mesh.envoy, HOST), "GET", "/contacts/42", headers)
        assert isinstance(outcome, Answered), outcome
        assert outcome.status == 200, outcome
        assert HEADER not in {name for name, _ in mesh.service.received[-1].headers}


BY_TOKEN: dict[Reason, Callable[[TokenMesh], tuple[str, ...]]] = {
    Reason.JWT_MISSING: lambda _: (),
    Reason.JWT_REPEATED: lambda tokens: (tokens.token(), tokens.token()),
    Reason.JWT_MALFORMED: lambda tokens: (tokens.token() + "=",),
    Reason.JWT_HEADER_NOT_ALLOWED: lambda tokens: (tokens.token(header={"jku": "https://evil.example"}),),
    Reason.JWT_ALGORITHM: lambda tokens: (tokens.token(header={"alg": "none"}),),
    Reason.JWT_CLAIM_MISSING: lambda tokens: (tokens.token(exp=None),),
    Reason.JWT_KEY_UNKNOWN: lambda tokens: (tokens.token(header={"kid": "key-2"}),),
    Reason.JWT_UNTRUSTED: lambda tokens: (tokens.token(ec.generate_private_key(ec.SECP256R1())),),
    Reason.JWT_FOR_ANOTHER_AUDIENCE: lambda tokens: (tokens.token(aud=["elsewhere"]),),
    Reason.JWT_EXPIRED: lambda tokens: (tokens.token(exp=int(time.time()) - 60),),
    Reason.JWT_NOT_YET_VALID: lambda tokens: (tokens.token(nbf=int(time.time()) + 120),),
    Reason.JWT_OF_ANOTHER_WORKLOAD: lambda tokens: (tokens.token(sub=RESEARCH),),
}


@pytest.mark.parametrize("reason", BY_TOKEN)
def test_what_a_token_does_wrong_is_denied(tokens: TokenMesh, reason: Reason) -> None:
    """A correct certificate does not make up for a token that is missing, false, or another's."""
    mesh = tokens.mesh
    headers = (TASK, *((HEADER, value) for value in BY_TOKEN[reason](tokens)))
    mesh.must_deny(
        reason, mesh.agent(SUPPORT), hardened(mesh.envoy, HOST), Hop(headers=headers), mesh.world.start_task()
    )


BY_FORWARDED = {
    Reason.XFCC_MALFORMED: "URI",
    Reason.XFCC_AMBIGUOUS: f"URI={SUPPORT};URI={SUPPORT}",
    Reason.XFCC_OF_ANOTHER_PROXY: f"By=spiffe://example.org/elsewhere;URI={SUPPORT}",
    Reason.PRINCIPAL_MISMATCH: f"URI={RESEARCH}",
    Reason.SPIFFE_ID_MALFORMED: "URI=https://example.org/agent/support",
    Reason.TRUST_DOMAIN_UNKNOWN: "URI=spiffe://elsewhere.example/agent/support",
}


@MODES
def test_in_mode_xfcc_the_last_element_names_the_caller(yard: Yard, tmp_path: Path, failure_mode_allow: bool) -> None:  # noqa: FBT001  of the mark
    """Written by the Envoy that asks it is believed; malformed, ambiguous or another proxy's it is denied."""
    with running(yard, tmp_path, failure_mode_allow=failure_mode_allow, identity={"mode": "xfcc"}) as mesh:
        task, agent = mesh.world.start_task(), mesh.agent(SUPPORT)
        outcome = settled(agent, hardened(mesh.envoy, HOST), "GET", "/contacts/42", [("x-task-id", task.id)])
        assert isinstance(outcome, Answered)
        assert outcome.status == 200
        assert mesh.world.last_record()["proof"] == "xfcc"
        for reason, value in BY_FORWARDED.items():
            hop = Hop(headers=(TASK, (XFCC, value)))
            mesh.must_deny(reason, agent, careless(mesh.envoy, HOST), hop, task)
        mesh.must_deny(Reason.IDENTITY_MISSING, agent, careless(mesh.envoy, HOST), Hop(), task)


@MODES
def test_in_mode_attested_the_envoys_word_is_enough(yard: Yard, tmp_path: Path, failure_mode_allow: bool) -> None:  # noqa: FBT001  of the mark
    """An Envoy on the list names the caller; a certificate that is passed beside its word must still be right."""
    with running(yard, tmp_path, failure_mode_allow=failure_mode_allow, identity={"mode": "attested"}) as mesh:
        task = mesh.world.start_task()
        outcome = settled(
            mesh.agent(SUPPORT), hardened(mesh.envoy, HOST), "GET", "/contacts/42", [("x-task-id", task.id)]
        )
        assert isinstance(outcome, Answered)
        assert outcome.status == 200
        record = mesh.world.last_record()
        assert (record["agent"], record["proof"], record["asker"]) == (SUPPORT, "attested", SERVICE_ID)
        door = careless(mesh.envoy, HOST)
        mesh.must_deny(Reason.IDENTITY_MISSING, yard.caller(None), door, Hop(), task)
        mesh.must_deny(Reason.SVID_URI_SAN_COUNT, yard.caller(yard.ca.mint(SUPPORT, RESEARCH)), door, Hop(), task)


@MODES
def test_in_mode_sidecar_the_envoy_is_the_agent(yard: Yard, tmp_path: Path, failure_mode_allow: bool) -> None:  # noqa: FBT001  of the mark
    """The SVID with which the agent's own Envoy calls our port names the agent; a check of another caller is denied."""
    with running(
        yard,
        tmp_path,
        failure_mode_allow=failure_mode_allow,
        asker=yard.ca.mint(SUPPORT),
        server={"envoys": [SUPPORT]},
        identity={"mode": "sidecar"},
    ) as mesh:
        task, door = mesh.world.start_task(), careless(mesh.envoy, HOST)
        outcome = settled(yard.caller(None), door, "GET", "/contacts/42", [("x-task-id", task.id)])
        assert isinstance(outcome, Answered)
        assert outcome.status == 200
        assert (mesh.world.last_record()["agent"], mesh.world.last_record()["proof"]) == (SUPPORT, "sidecar")
        mesh.must_deny(Reason.PRINCIPAL_MISMATCH, mesh.agent(RESEARCH), door, Hop(), task)


OF_AN_ASKER: dict[Reason, Any] = {
    Reason.ASKER_NOT_ALLOWED: lambda yard: yard.ca.mint("spiffe://example.org/tool/stray"),
    Reason.ASKER_UNPROVEN: lambda yard: yard.ca.mint(SERVICE_ID, "spiffe://example.org/tool/stray"),
}


@MODES
@pytest.mark.parametrize("reason", OF_AN_ASKER)
def test_an_envoy_that_may_not_ask_lets_nothing_through(
    yard: Yard,
    tmp_path: Path,
    reason: Reason,
    failure_mode_allow: bool,  # noqa: FBT001  of the mark
) -> None:
    """An Envoy of the same trust domain that is not on the list, or proves no one identity, is denied each check."""
    asker: Certificate = OF_AN_ASKER[reason](yard)
    with running(yard, tmp_path, failure_mode_allow=failure_mode_allow, asker=asker) as mesh:
        task, agent = mesh.world.start_task(), mesh.agent(SUPPORT)
        mesh.must_deny(reason, agent, hardened(mesh.envoy, HOST), Hop(), task)


def test_bundles_that_are_too_old_let_nothing_through(yard: Yard, tmp_path: Path) -> None:
    """Once the Workload API is gone for longer than declared, hops get 503: from authz, and from Envoy once it is told.

    Not with errors that pass: an Envoy that is told to leave a server that is not ready, and to let pass what it cannot
    ask about, does both.
    """
    api = DevelopmentWorkloadApi(tmp_path / "api.sock", AUTHZ, yard.ca)
    api.start()
    identity = {
        "trust_domains": {DOMAIN: {"bundle": "workload-api"}},
        "workload_api": {"socket": api.endpoint, "max_staleness_seconds": 1},
    }
    try:
        with running(yard, tmp_path, server={"svid": "workload-api"}, identity=identity) as mesh:
            task, agent, remote = mesh.world.start_task(), mesh.agent(SUPPORT), hardened(mesh.envoy, HOST)
            headers = [("x-task-id", task.id)]
            outcome = settled(agent, remote, "GET", "/contacts/42", headers)
            assert isinstance(outcome, Answered)
            assert outcome.status == 200
            api.stop()
            until(lambda: "not ready: no trust bundle counts" in mesh.log())
            arrived = len(mesh.service.received)
            for _ in range(10):
                outcome = agent.call(remote, "GET", "/contacts/42", headers)
                assert isinstance(outcome, Answered)
                assert outcome.status == 503
                assert outcome.reason in {"", "trust_bundles_stale"}
            assert len(mesh.service.received) == arrived
    finally:
        api.stop()
