"""Denials by their true cause: real agents, a real Envoy, the real server; in both of Envoy's failure modes.

The careless door is an Envoy listener with the default validator: it lets in what the hardened one refuses by itself,
so that authz is seen to decide alone.
"""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from authz.core.hop import Sensitivity
from authz.core.reasons import Reason
from authz.core.spiffe import SpiffeId
from authz.core.task import Grant, TaskState
from authz.demo.agents import Answered, Caller
from authz.demo.ca import key_usage
from tests.support.envoy import Yard, careless, hardened, yard
from tests.support.mesh import Hop, Mesh, running
from tests.support.world import HOST, RESEARCH, SUPPORT

__all__ = ["yard"]  # the fixture

BEYOND_THIS_ENVOY = {
    # What no request through this Envoy can cause. tests/e2e/test_reasons.py has Envoy deny each of them all the same.
    Reason.REQUEST_MALFORMED: "Envoy writes well-formed checks",
    Reason.REQUEST_NOT_HTTP: "its HTTP filter always describes a request",
    Reason.PATH_MISSING: "it refuses CONNECT",
    Reason.QUERY_AMBIGUOUS: "tests/catalog/test_messages.py: needs a route that reads queries",
    Reason.BODY_MISSING: "test_mcp.py: needs a service whose bodies decide",
    Reason.BODY_INCOMPLETE: "Envoy passes bodies on whole, or answers 413",
    Reason.BODY_ENCODED: "test_mcp.py: needs a service whose bodies decide",
    Reason.BODY_TYPE: "as above",
    Reason.BODY_MALFORMED: "as above",
    Reason.BODY_AMBIGUOUS: "as above",
    Reason.BATCH_REFUSED: "as above",
    Reason.MESSAGE_MALFORMED: "as above",
    Reason.MESSAGE_AMBIGUOUS: "as above",
    Reason.HEADER_MISMATCH: "as above",
    Reason.PROTOCOL_VERSION: "as above",
    Reason.ARGUMENT_MALFORMED: "as above",
    Reason.ACTION_UNSET: "tests/cli/test_catalog.py: needs a draft",
    Reason.CERTIFICATE_MISSING: "it passes the certificate with the principal",
    Reason.CERTIFICATE_MALFORMED: "it passes certificates that it has parsed",
    Reason.PRINCIPAL_MISMATCH: "it takes the principal from the one URI SAN",
    Reason.SVID_EXPIRED: "its TLS refuses expired certificates",
    Reason.SVID_NOT_YET_VALID: "and those that are not valid yet",
    Reason.SVID_KEY_USAGE: "and those that may not sign handshakes",
    Reason.TASK_STORE_UNAVAILABLE: "has a test of its own below",
    Reason.POLICY_ENGINE_UNAVAILABLE: "tests/policy/test_opa.py: needs an engine beside us",
    Reason.AUDIT_UNAVAILABLE: "has a test of its own below",
    Reason.INTERNAL_ERROR: "would need a defect",
    Reason.OVERLOADED: "tests/server/test_checks.py: needs a thousand checks that wait",
    Reason.CHECK_TIMED_OUT: "the embedded store answers at once",
    Reason.XFCC_MALFORMED: "test_identities.py: needs mode xfcc",
    Reason.XFCC_AMBIGUOUS: "as above",
    Reason.XFCC_OF_ANOTHER_PROXY: "as above",
    Reason.JWT_MISSING: "test_identities.py: needs a server that wants tokens",
    Reason.JWT_REPEATED: "as above",
    Reason.JWT_MALFORMED: "as above",
    Reason.JWT_HEADER_NOT_ALLOWED: "as above",
    Reason.JWT_ALGORITHM: "as above",
    Reason.JWT_CLAIM_MISSING: "as above",
    Reason.JWT_KEY_UNKNOWN: "as above",
    Reason.JWT_UNTRUSTED: "as above",
    Reason.JWT_FOR_ANOTHER_AUDIENCE: "as above",
    Reason.JWT_EXPIRED: "as above",
    Reason.JWT_NOT_YET_VALID: "as above",
    Reason.JWT_OF_ANOTHER_WORKLOAD: "as above",
    Reason.ASKER_UNPROVEN: "test_identities.py: needs another Envoy",
    Reason.ASKER_NOT_ALLOWED: "as above",
    Reason.TASK_SUSPENDED: "test_task_service.py: needs the task service",
    Reason.TASK_IDLE: "tests/core/test_errand.py: needs a session that rests",
    Reason.TASK_TOO_LONG: "test_task_service.py: of demands, not of hops",
    Reason.DELEGATION_WIDENS: "as above",
    Reason.DELEGATION_TOO_DEEP: "as above",
    Reason.DELEGATION_LOOPS: "as above",
    Reason.ACCESS_REQUEST_UNKNOWN: "as above",
    Reason.ACCESS_REQUESTS_EXHAUSTED: "tests/core/test_errand.py: needs many requests",
    Reason.APPROVAL_UNASKED: "test_task_service.py: of demands, not of hops",
    Reason.APPROVAL_OF_ONES_OWN: "as above",
    Reason.APPROVAL_DENIED: "test_task_service.py: needs the task service",
    Reason.STEP_UP_REQUIRED: "as above",
    Reason.BUDGET_EXHAUSTED: "as above",
    Reason.TOKEN_REPEATED: "test_task_service.py: needs a server that takes tokens",
    Reason.TOKEN_OF_ANOTHER_AGENT: "as above",
    Reason.TOKEN_OF_ANOTHER_TASK: "as above",
    Reason.TOKEN_MALFORMED: "tests/tasks/test_token.py: needs forged tokens",
    Reason.TOKEN_HEADER_NOT_ALLOWED: "as above",
    Reason.TOKEN_ALGORITHM: "as above",
    Reason.TOKEN_KEY_UNKNOWN: "as above",
    Reason.TOKEN_UNTRUSTED: "as above",
    Reason.TOKEN_CLAIM_MISSING: "as above",
    Reason.TOKEN_OF_ANOTHER_DOMAIN: "as above",
    Reason.TOKEN_EXPIRED: "as above",
    Reason.TOKEN_FROM_THE_FUTURE: "as above",
    Reason.TOKEN_LIVES_TOO_LONG: "as above",
    Reason.TRUST_BUNDLES_STALE: "test_identities.py: needs a Workload API that goes away",
}


@pytest.fixture(scope="module", params=[False, True], ids=["errors-deny", "errors-pass"])
def mesh(yard: Yard, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """The mesh in one failure mode."""
    folder = tmp_path_factory.mktemp("mesh")
    with running(yard, folder, failure_mode_allow=request.param) as started:
        yield started


BY_REQUEST = {
    Reason.METHOD_AMBIGUOUS: Hop(headers=(("x-task-id", "{task}"), ("x-http-method-override", "DELETE"))),
    Reason.HOST_AMBIGUOUS: Hop(host="crm.example.org,evil.example"),
    Reason.PATH_AMBIGUOUS: Hop(path="/contacts/42;admin=1"),
    Reason.TASK_HEADER_REPEATED: Hop(headers=(("x-task-id", "{task}"), ("x-task-id", "{task}"))),
    Reason.TASK_ID_MALFORMED: Hop(headers=(("x-task-id", "../{task}"),)),
    Reason.TASK_MISSING: Hop(headers=()),
    Reason.TASK_UNKNOWN: Hop(headers=(("x-task-id", "0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee"),)),
    Reason.TASK_OF_ANOTHER_AGENT: Hop(agent=RESEARCH),
    Reason.TASK_NOT_STARTED: Hop(task={"starts_unix_seconds": 9_000_000_000}),
    Reason.TASK_EXPIRED: Hop(task={"expires_unix_seconds": 1_000_000_000}),
    Reason.TASK_ENDED: Hop(task={"state": TaskState.ENDED}),
    Reason.ACTION_UNKNOWN: Hop(path="/nowhere"),
    Reason.ACTION_NOT_GRANTED: Hop(method="DELETE"),
    Reason.SENSITIVITY_ABOVE_CEILING: Hop(task={"ceiling": Sensitivity.PUBLIC}),
    Reason.POLICY_PERMITS_NOTHING: Hop(
        method="PUT", agent=RESEARCH, task={"agents": frozenset({SpiffeId.parse(RESEARCH)})}
    ),
    Reason.POLICY_FORBIDS: Hop(
        method="POST",
        path="/mail",
        task={"grants": (Grant.parse("egress,read:crm"),), "ceiling": Sensitivity.RESTRICTED},
    ),
    Reason.POLICY_ERROR: Hop(
        method="POST",
        path="/exports",
        task={"grants": (Grant.parse("egress,read:crm"),), "ceiling": Sensitivity.RESTRICTED},
    ),
}

CallerOf = Callable[[Yard], Caller]
OTHER = "spiffe://example.org/agent/other"

BY_CERTIFICATE: dict[Reason, CallerOf] = {
    Reason.IDENTITY_MISSING: lambda yard: yard.caller(None),
    Reason.SVID_URI_SAN_COUNT: lambda yard: yard.caller(yard.ca.mint(SUPPORT, OTHER)),
    Reason.SPIFFE_ID_MALFORMED: lambda yard: yard.caller(yard.ca.mint("spiffe://example.org/agent/../support")),
    Reason.SVID_WITHOUT_PATH: lambda yard: yard.caller(yard.ca.mint("spiffe://example.org")),
    Reason.SVID_IS_CA: lambda yard: yard.caller(
        yard.ca.mint(SUPPORT, ca=True, usage=key_usage(digital_signature=True, key_cert_sign=True))
    ),
    Reason.SVID_EXTENDED_KEY_USAGE: lambda yard: yard.caller(
        yard.ca.mint(SUPPORT, extended_key_usage=(ExtendedKeyUsageOID.CLIENT_AUTH,))
    ),
    Reason.SVID_SAN_NOT_CRITICAL: lambda yard: yard.caller(yard.ca.mint(SUPPORT, san_critical=False)),
    Reason.TRUST_DOMAIN_UNKNOWN: lambda yard: yard.caller(yard.foreign.mint("spiffe://evil.example/agent/support")),
    Reason.SVID_UNTRUSTED: lambda yard: yard.caller(yard.foreign.mint(SUPPORT)),
}


def test_every_reason_is_caused_or_excused() -> None:
    """Each reason is provoked here, or it says why it cannot be."""
    covered = [*BY_REQUEST, *BY_CERTIFICATE, *BEYOND_THIS_ENVOY, Reason.TASK_RECORD_MALFORMED]
    assert sorted(reason.id for reason in covered) == sorted(reason.id for reason in Reason)


def test_the_hop_that_the_others_differ_from_is_allowed(mesh: Mesh) -> None:
    """A correct hop arrives, through either door, with its task header as it was decided on."""
    task = mesh.world.start_task()
    for remote in (hardened(mesh.envoy, HOST), careless(mesh.envoy, HOST)):
        outcome = mesh.agent(SUPPORT).call(remote, "GET", "/contacts/42", [("x-task-id", task.id)])
        assert isinstance(outcome, Answered), outcome
        assert outcome.status == 200
        assert [value for name, value in mesh.service.received[-1].headers if name == "x-task-id"] == [task.id]


@pytest.mark.parametrize("reason", BY_REQUEST)
def test_what_a_request_does_wrong_is_denied(mesh: Mesh, reason: Reason) -> None:
    """Each fault of request, task or right is denied for its own reason, and never arrives."""
    hop = BY_REQUEST[reason]
    task = mesh.world.start_task(**hop.task)
    mesh.must_deny(reason, mesh.agent(hop.agent), hardened(mesh.envoy, hop.host), hop, task)


@pytest.mark.parametrize("reason", BY_CERTIFICATE)
def test_what_a_certificate_does_wrong_is_denied(mesh: Mesh, reason: Reason) -> None:
    """Even behind a careless Envoy each false or missing identity is denied for its own reason."""
    task = mesh.world.start_task()
    mesh.must_deny(reason, BY_CERTIFICATE[reason](mesh.yard), careless(mesh.envoy, HOST), Hop(), task)


def test_a_dns_name_spelled_like_a_spiffe_id_is_no_identity(mesh: Mesh) -> None:
    """Envoy makes a principal of it that looks right; the certificate tells."""
    task = mesh.world.start_task()
    caller = mesh.yard.caller(mesh.yard.ca.mint(dns=(SUPPORT,), subject="support"))
    mesh.must_deny(Reason.SVID_URI_SAN_COUNT, caller, careless(mesh.envoy, HOST), Hop(), task)


def test_a_task_whose_record_is_damaged_is_denied(mesh: Mesh) -> None:
    """A record that cannot be read is our trouble: 503, and no guess."""
    task = mesh.world.start_task()
    with sqlite3.connect(mesh.world.database) as connection:
        connection.execute("UPDATE task SET record = '{}' WHERE id = ?", (task.id,))
    connection.close()
    mesh.must_deny(Reason.TASK_RECORD_MALFORMED, mesh.agent(SUPPORT), hardened(mesh.envoy, HOST), Hop(), task)


def test_a_task_store_that_is_gone_denies(yard: Yard, tmp_path: Path) -> None:
    """Once the store's file is away longer than the declared staleness, remembered tasks are denied too."""
    tasks = {"sqlite_file": "tasks.db", "max_staleness_seconds": 0}
    with running(yard, tmp_path, failure_mode_allow=True, tasks=tasks) as mesh:
        task = mesh.world.start_task()
        agent, remote = mesh.agent(SUPPORT), hardened(mesh.envoy, HOST)
        outcome = agent.call(remote, "GET", "/contacts/42", [("x-task-id", task.id)])
        assert isinstance(outcome, Answered)
        assert outcome.status == 200
        mesh.world.database.rename(tmp_path / "elsewhere.db")
        for _ in range(40):
            outcome = agent.call(remote, "GET", "/contacts/42", [("x-task-id", task.id)])
            assert isinstance(outcome, Answered)
            if outcome.status != 200:
                break
        mesh.must_deny(Reason.TASK_STORE_UNAVAILABLE, agent, remote, Hop(), task)


def test_an_answer_that_cannot_be_recorded_is_denied(yard: Yard, tmp_path: Path) -> None:
    """With the audit log on a full device nothing is allowed."""
    if not Path("/dev/full").exists():
        pytest.skip("this machine has no /dev/full")
    with running(yard, tmp_path, failure_mode_allow=True, audit={"file": "/dev/full"}) as mesh:
        task = mesh.world.start_task()
        mesh.must_deny(Reason.AUDIT_UNAVAILABLE, mesh.agent(SUPPORT), hardened(mesh.envoy, HOST), Hop(), task)
