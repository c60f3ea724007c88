"""Rules in Rego, evaluated in process, through a real Envoy."""

from collections.abc import Iterator

import pytest

from authz.core.hop import Sensitivity
from authz.core.spiffe import SpiffeId
from authz.core.task import Grant
from authz.demo.agents import Answered
from tests.support.envoy import Yard, hardened, yard
from tests.support.mesh import Mesh, running
from tests.support.rego import policy, write_rules
from tests.support.world import HOST, RESEARCH, SUPPORT

__all__ = ["yard"]  # the fixture

FAILS_ON_ONE = """package authz

forbids contains "fails" if {
    input.parameters.contact_id == "fails"
    to_number(input.parameters.contact_id) > 0
}
"""


@pytest.fixture(scope="module")
def mesh(yard: Yard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A server that evaluates the rules, an Envoy that asks the server, and a service behind it."""
    folder = tmp_path_factory.mktemp("world")
    write_rules(folder, FAILS_ON_ONE)
    with running(yard, folder, policy=policy()) as found:
        yield found


@pytest.mark.parametrize(
    ("agent", "method", "path", "status", "reason"),
    [
        (SUPPORT, "GET", "/contacts/42", 200, ""),
        (SUPPORT, "PUT", "/contacts/42", 200, ""),
        (SUPPORT, "DELETE", "/contacts/42", 403, "step_up_required"),
        (RESEARCH, "GET", "/contacts/42", 403, "policy_permits_nothing"),
        (SUPPORT, "POST", "/exports", 403, "policy_permits_nothing"),
        (SUPPORT, "GET", "/contacts/fails", 503, "policy_error"),
    ],
)
def test_rules_decide_what_passes_envoy(  # noqa: PLR0913, PLR0917  a table
    mesh: Mesh, agent: str, method: str, path: str, status: int, reason: str
) -> None:
    """What the rules allow arrives; what they deny, want an approval for or fail about does not."""
    before = len(mesh.service.received)
    grants = (Grant.parse("read,write,delete,egress:crm"),)
    task = mesh.world.start_task(
        agents=frozenset({SpiffeId.parse(agent)}), grants=grants, ceiling=Sensitivity.CONFIDENTIAL
    )
    answered = mesh.agent(agent).call(hardened(mesh.envoy, HOST), method, path, [("x-task-id", task.id)])
    assert isinstance(answered, Answered), answered
    assert (answered.status, answered.reason) == (status, reason)
    assert len(mesh.service.received) - before == (status == 200)
