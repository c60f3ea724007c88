"""Policies for opa-envoy-plugin in a real OPA, through a real Envoy: what they want changed is changed."""

from collections.abc import Iterator

import pytest

from authz.demo.agents import Answered
from tests.support.envoy import Yard, hardened, yard
from tests.support.mesh import Mesh, running
from tests.support.opa import running_opa
from tests.support.world import HOST, SUPPORT

__all__ = ["yard"]  # the fixture

POLICY = """
package envoy.authz

import input.attributes.request.http as http

default result := {"allowed": false, "http_status": 409, "body": "not today", "headers": {"x-why": "closed"}}

result := {
    "allowed": true,
    "headers": {"X-Jwt-Svid": "by-policy"},
    "response_headers_to_add": {"x-seen": concat("/", input.parsed_path)},
    "query_parameters_to_set": {"tenant": "a"},
    "query_parameters_to_remove": ["secret"],
} if {
    http.method == "GET"
    input.authz.task.purpose == "answer ticket 4711"
    input.attributes.source.principal == "spiffe://example.org/agent/support"
    http.headers["x-case"] == "sets"
}

result := {"allowed": true, "request_headers_to_remove": ["x-jwt-svid"]} if http.headers["x-case"] == "removes"

result := {"allowed": true, "headers": {"x-other": "1"}} if http.headers["x-case"] == "sets another"

result := {"allowed": true} if not http.headers["x-case"]
"""


@pytest.fixture(scope="module")
def mesh(yard: Yard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A server that asks a real OPA, an Envoy that asks the server, and a service behind it."""
    folder = tmp_path_factory.mktemp("opa")
    (folder / "policy.rego").write_text(POLICY)
    with running_opa(folder) as address:
        opa = {"url": f"http://{address}/v1/data/envoy/authz/result", "timeout_seconds": 5.0}
        policy = {"engine": "opa", "input": "opa-envoy-plugin", "directory": "policies", "opa": opa}
        with running(yard, tmp_path_factory.mktemp("world"), policy=policy) as found:
            yield found


def call(mesh: Mesh, path: str = "/contacts/42", case: str = "", method: str = "GET") -> Answered:
    """A hop of the support agent, with a value of its own for the header that the policy knows."""
    headers = [("x-task-id", mesh.world.start_task().id), ("x-jwt-svid", "by-client")]
    headers += [("x-case", case)] if case else []
    answered = mesh.agent(SUPPORT).call(hardened(mesh.envoy, HOST), method, path, headers)
    assert isinstance(answered, Answered), answered
    return answered


def test_an_allowed_hop_goes_on_as_the_policy_wants_it(mesh: Mesh) -> None:
    """The upstream gets the policy's header and query parameters, and the client a header of the response."""
    answered = call(mesh, "/contacts/42?secret=1&a=b", "sets")
    assert answered.status == 200
    received = mesh.service.received[-1]
    assert [value for name, value in received.headers if name == "x-jwt-svid"] == ["by-policy"]
    path, _, query = received.target.partition("?")
    assert path == "/contacts/42"
    assert set(query.split("&")) == {"a=b", "tenant=a"}
    assert dict(answered.headers)["x-seen"] == "contacts/42"


def test_a_header_that_the_policy_takes_away_does_not_arrive(mesh: Mesh) -> None:
    """Without the policy's word it arrives; with it, it does not."""
    assert call(mesh).status == 200
    assert ("x-jwt-svid", "by-client") in mesh.service.received[-1].headers
    assert call(mesh, case="removes").status == 200
    assert "x-jwt-svid" not in dict(mesh.service.received[-1].headers)


def test_a_denied_hop_has_the_policys_status_body_and_headers(mesh: Mesh) -> None:
    """The client reads the policy's words; the reason and the decision id are beside them."""
    before = len(mesh.service.received)
    answered = call(mesh, case="none of these")
    headers = dict(answered.headers)
    assert (answered.status, answered.body, headers["x-why"]) == (409, b"not today", "closed")
    assert headers["x-authz-reason"] == "policy_permits_nothing"
    assert headers["x-authz-decision-id"]
    assert len(mesh.service.received) == before


def test_a_header_that_envoy_may_not_change_stops_the_hop(mesh: Mesh) -> None:
    """Where Envoy's `decoder_header_mutation_rules` do not name the header, the hop is denied and not half done."""
    before = len(mesh.service.received)
    assert call(mesh, case="sets another").status == 500
    assert len(mesh.service.received) == before
