"""Hops of a mesh whose every certificate and bundle comes from SPIRE: real servers and agents, a real Envoy, authz."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cryptography import x509

from authz.core.errors import Unavailable
from authz.core.reasons import Reason
from authz.demo.agents import Answered, Caller, Credentials, Outcome, Remote, TlsFailure
from authz.demo.ca import DevelopmentCa
from authz.demo.credentials import AUTHZ_ID
from authz.demo.envoys import binary
from authz.demo.spire import AUDIT, LOOKUP, Tally, change_authority, has_changed, hop_until
from authz.demo.spire_domain import Workload
from authz.demo.spire_mesh import AGENT_IDS, AUDITOR, RESEARCH, SVID_SECONDS, SpireMesh
from authz.demo.spire_programs import under_own_path
from authz.demo.spire_sidecar import SpireEnvoy, SpireSidecar

CRM_ID = "spiffe://example.org/tool/crm"
ATTESTATION_SECONDS = 30


@pytest.fixture(autouse=True)
def fresh_svids(mesh: SpireMesh) -> None:
    """Agents fetch their SVIDs anew, as they would; a test before may have taken longer than one lives."""
    for who in AGENT_IDS:
        mesh.renew(who)


def seen(outcome: Outcome) -> tuple[int, str]:
    """Status and reason of an answer."""
    assert isinstance(outcome, Answered), outcome
    return outcome.status, outcome.reason


def denied(reason: Reason) -> tuple[int, str]:
    """Status and reason of a denial by authz."""
    return reason.http_status, reason.id


def last_line(mesh: SpireMesh) -> dict[str, Any]:
    """The audit record of the last check."""
    return mesh.authz.audit_lines()[-1]


@contextmanager
def arrivals(mesh: SpireMesh, expected: int) -> Iterator[None]:
    """So many requests reach the tool inside."""
    before = len(mesh.tool.received)
    yield
    assert expected == len(mesh.tool.received) - before


def test_an_agent_is_allowed_what_its_task_grants(mesh: SpireMesh) -> None:
    """With SVIDs of SPIRE's a read goes through, and the record names the agent and the Envoy, both proven."""
    with arrivals(mesh, 1):
        assert seen(mesh.call(RESEARCH, LOOKUP)) == (200, "")
    line = last_line(mesh)
    found = (line["decision"], line["agent"], line["proof"], line["asker"])
    assert found == ("allow", AGENT_IDS[RESEARCH], "certificate", CRM_ID)


def test_an_agent_is_denied_what_its_task_does_not_grant(mesh: SpireMesh) -> None:
    """A write on a task that grants reading never reaches the tool."""
    with arrivals(mesh, 0):
        assert seen(mesh.call(RESEARCH, LOOKUP, "PUT")) == denied(Reason.ACTION_NOT_GRANTED)


def test_an_agent_of_a_federated_trust_domain_may_do_what_policy_permits_it(mesh: SpireMesh) -> None:
    """A partner's agent comes in with its own trust domain's SVID, and a policy that names it lets it read."""
    with arrivals(mesh, 1):
        assert seen(mesh.call(AUDITOR, AUDIT)) == (200, "")
    assert last_line(mesh)["agent"] == AGENT_IDS[AUDITOR]


def test_an_agent_of_a_federated_trust_domain_may_do_nothing_else(mesh: SpireMesh) -> None:
    """What no policy permits it is denied although its task grants it, and another agent's task is none of its own."""
    with arrivals(mesh, 0):
        assert seen(mesh.call(AUDITOR, AUDIT, "PUT")) == denied(Reason.POLICY_PERMITS_NOTHING)
        assert seen(mesh.call(AUDITOR, LOOKUP)) == denied(Reason.TASK_OF_ANOTHER_AGENT)


def test_a_trust_domain_that_is_not_federated_does_not_get_in(mesh: SpireMesh) -> None:
    """Envoy ends the handshake with an SVID of an authority that SPIRE has told it nothing of, whatever its name."""
    for name in ("evil.example", "example.org"):
        ca = DevelopmentCa(name)
        credentials = Credentials(*ca.mint(f"spiffe://{name}/agent/research").write(mesh.folder, f"forged-{name}"))
        with arrivals(mesh, 0):
            outcome = Caller(mesh.caller(RESEARCH).bundle_file, credentials).call(mesh.remote, "GET", "/contacts/7")
        assert isinstance(outcome, TlsFailure), outcome


def test_a_program_that_is_not_registered_is_nobody(mesh: SpireMesh) -> None:
    """SPIRE gives no SVID to a process whose executable no entry names, of the same user on the same node."""
    stray = under_own_path(mesh.programs[RESEARCH], mesh.folder, "stray")
    with pytest.raises(Unavailable, match="no identity issued"):
        mesh.home.fetch(stray, mesh.folder)


def test_an_envoy_that_is_not_on_the_list_may_not_ask(mesh: SpireMesh) -> None:
    """An Envoy with a correct SVID that authz's configuration does not name gets a 503, and so does its caller."""
    program = under_own_path(binary(), mesh.folder, "envoy-of-another")
    another = "spiffe://example.org/tool/another"
    mesh.home.register([Workload(spiffe_id=another, program=program, svid_seconds=SVID_SECONDS)])
    sidecar = SpireSidecar(
        name="another",
        program=program,
        service=mesh.tool.address,
        authz=mesh.authz.address,
        workload_api=mesh.home.socket,
        check_timeout_seconds=5,
    )
    with SpireEnvoy(sidecar, mesh.folder) as envoy, arrivals(mesh, 0):
        remote = Remote("crm.example.org", envoy.door, another)
        headers = [("x-task-id", mesh.task_id(LOOKUP))]
        outcome = mesh.caller(RESEARCH).call(remote, "GET", "/contacts/7", headers)
    assert seen(outcome) == denied(Reason.ASKER_NOT_ALLOWED)


def test_svids_are_renewed_while_hops_go_on(mesh: SpireMesh) -> None:
    """Over two lives of every SVID, Envoy's and authz's among them, not one hop fails."""
    tally, ends = Tally(), time.monotonic() + 2 * SVID_SECONDS
    before = [mesh.shown_by_envoy().serial_number, mesh.shown_by_authz().serial_number]
    hop_until(mesh, tally, lambda: time.monotonic() > ends)
    assert tally.faults == []
    assert tally.hops
    assert has_changed(mesh.shown_by_envoy, before[0])
    assert has_changed(mesh.shown_by_authz, before[1])


def test_the_authority_changes_while_hops_go_on(mesh: SpireMesh) -> None:
    """A new authority of our trust domain comes into use without a failed hop, at home and for the partner's agent."""
    tally = Tally()
    change_authority(mesh, tally)
    assert tally.faults == []
    assert tally.hops


def test_hops_go_on_while_the_agent_is_gone(mesh: SpireMesh) -> None:
    """For as long as SVIDs last a mesh does not need SPIRE's agent; when it is back, SVIDs are renewed again."""
    mesh.home.stop_agent()
    for _ in range(10):
        assert seen(mesh.call(RESEARCH, LOOKUP)) == (200, "")
    mesh.home.start_agent()
    mesh.home.wait_for_agent()
    give_up = time.monotonic() + ATTESTATION_SECONDS + SVID_SECONDS
    for shown in (mesh.shown_by_authz, mesh.shown_by_envoy):
        serial_number = shown().serial_number
        while not has_changed(shown, serial_number):
            assert time.monotonic() < give_up
            time.sleep(0.5)
    mesh.renew(RESEARCH)
    assert seen(mesh.call(RESEARCH, LOOKUP)) == (200, "")


def test_authz_shows_the_svid_of_its_own_entry(mesh: SpireMesh) -> None:
    """What proves authz to Envoys is the identity that SPIRE attests it to have."""
    names = mesh.shown_by_authz().extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [AUTHZ_ID]
