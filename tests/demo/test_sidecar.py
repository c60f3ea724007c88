"""The sidecar configuration that we tell operators to copy, in a real Envoy before a real service."""

import json
import time
from pathlib import Path

import grpc
import pytest

from authz.demo.envoys import Envoy
from authz.demo.tools import Received
from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from tests.support.envoy import (
    AGENT_ID,
    HOST,
    Place,
    deny,
    hardened,
    settled,
    validate,
)

ROOT = Path(__file__).parents[2]
TASK = "0193f2a4-0000-7000-8000-000000000001"


def values(received: Received, name: str) -> list[str]:
    """The values of a header that the service got."""
    return [value for header, value in received.headers if header == name]


def test_the_file_is_valid_as_it_stands(folder_with_svid: Path) -> None:
    """Envoy accepts envoy/envoy.yaml unchanged and without a warning, given the files it names."""
    said = validate(ROOT / "envoy" / "envoy.yaml", folder_with_svid)
    assert said.returncode == 0, said.stderr
    assert "[warning]" not in said.stderr


def test_an_allowed_hop_arrives(place: Place) -> None:
    """What authz allows reaches the service once, and its answer reaches the agent."""
    assert place.call().status == 200
    assert [(each.method, each.target) for each in place.received] == [("GET", "/people/3")]


def test_a_denied_hop_does_not_arrive(place: Place) -> None:
    """What authz denies never reaches the service, and the agent gets authz's own answer."""
    place.authorizer.script = deny
    answer = place.call()
    assert (answer.status, answer.reason, answer.decision_id) == (403, "action_not_granted", "d-1")
    assert place.received == ()


def test_authz_sees_the_callers_certificate(place: Place) -> None:
    """A check carries the caller's principal and its certificate, so that authz can verify it itself."""
    place.call()
    source = place.check.attributes.source
    assert source.principal == AGENT_ID
    assert source.certificate.startswith("-----BEGIN%20CERTIFICATE-----")


def test_repeated_headers_stay_apart(place: Place) -> None:
    """A header given twice is in the check twice, with its bytes exact, not folded into one value."""
    place.call(headers=[("x-task-id", "one"), ("x-task-id", "two"), ("x-note", "caf\xe9")])
    assert place.header("x-task-id") == [b"one", b"two"]
    assert place.header("x-note") == [b"caf\xe9"]


def test_headers_that_steer_envoy_are_dropped(place: Place) -> None:
    """A caller cannot shorten timeouts, ask for retries or name itself internal."""
    steering = ["x-envoy-upstream-rq-timeout-ms", "x-envoy-max-retries", "x-envoy-internal"]
    assert place.call(headers=[(name, "1") for name in steering]).status == 200
    for name in steering:
        assert values(place.received[-1], name) == []
        assert place.header(name) == []


def test_a_forged_client_certificate_header_is_replaced(place: Place) -> None:
    """The service and authz see who Envoy proved, not who the caller says it is."""
    place.call(headers=[("x-forwarded-client-cert", "By=spiffe://x;URI=spiffe://example.org/admin")])
    (told,) = values(place.received[-1], "x-forwarded-client-cert")
    assert f"URI={AGENT_ID}" in told
    assert "admin" not in told
    assert [told.encode()] == place.header("x-forwarded-client-cert")


def test_headers_with_underscores_are_refused(place: Place) -> None:
    """x_task_id, which a framework may take for x-task-id, is refused before authz is asked."""
    assert place.call(headers=[("x_task_id", TASK)]).status == 400
    assert place.authorizer.checks == []


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("/people/../payroll/7", "/payroll/7"),
        ("/people/%2e%2e/payroll/7", "/payroll/7"),
        ("/people/..;/payroll/7", "/payroll/7"),
        ("/people/..\\payroll/7", "/payroll/7"),
        ("//payroll/7", "/payroll/7"),
        ("/../../payroll/7", "/payroll/7"),
        ("/./payroll//7", "/payroll/7"),
        ("/%70ayroll/7", "/payroll/7"),
        ("/payroll/7;x=y", "/payroll/7;x=y"),
        ("/people/%252e%252e/payroll/7", "/people/%252e%252e/payroll/7"),
        ("/people/3?next=/../payroll/7", "/people/3?next=/../payroll/7"),
    ],
)
def test_authz_and_the_service_get_the_same_path(place: Place, sent: str, expected: str) -> None:
    """However a path is dressed up, authz decides about the very path that the service gets."""
    place.call(sent)
    assert [expected.encode()] == place.header(":path")
    assert expected == place.received[-1].target


@pytest.mark.parametrize(
    "sent", ["/people/..%2fpayroll/7", "/payroll%2F7", "/people/..%5cpayroll/7", "/people/%00", "/people/3#/x", "*"]
)
def test_a_path_with_two_readings_is_refused(place: Place, sent: str) -> None:
    """Escaped slashes, NUL and fragments go neither to authz nor to the service."""
    assert place.call(sent).status == 400
    assert place.authorizer.checks == []
    assert place.received == ()


def test_the_host_has_one_form(place: Place) -> None:
    """Whatever port or final dot a caller adds, authz gets the bare host, to compare with the catalog."""
    settled(place.yard.agent, hardened(place.envoy, f"{HOST}.:8443"), "GET", "/people/3")
    assert [HOST.encode()] == place.header(":authority")


def test_websockets_are_refused(place: Place) -> None:
    """An upgraded connection, which would be checked once and never again, is refused even where authz allows it."""
    answer = place.call(headers=[("connection", "upgrade"), ("upgrade", "websocket")])
    assert answer.status == 403
    assert place.received == ()


def sets(name: str) -> CheckResponse:
    """An allow that sets a request header."""
    option = {"header": {"key": name, "value": TASK}, "append": {"value": False}}
    return CheckResponse(status={"code": 0}, ok_response={"headers": [option]})


def test_authz_may_set_the_task_header(place: Place) -> None:
    """The service gets the one task id that was decided on, whatever the caller sent."""
    place.authorizer.script = lambda _check, _context: sets("x-task-id")
    assert place.call(headers=[("x-task-id", "one"), ("x-task-id", "two")]).status == 200
    assert values(place.received[-1], "x-task-id") == [TASK]


@pytest.mark.parametrize("name", ["authorization", "x-forwarded-client-cert", "x-task-id-2", ":path", "host"])
def test_authz_may_set_nothing_else(place: Place, name: str) -> None:
    """An authz that was taken over cannot rewrite requests: any other header fails the hop."""
    place.authorizer.script = lambda _check, _context: sets(name)
    assert place.call().status == 500
    assert place.received == ()


def test_a_trace_goes_on(place: Place) -> None:
    """The caller's trace goes on to the service, and the check itself is a span of it."""
    trace_id, span_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    place.call(headers=[("traceparent", f"00-{trace_id}-{span_id}-01")])
    assert str(place.authorizer.metadata[-1]["traceparent"]).startswith(f"00-{trace_id}-")
    (passed_on,) = values(place.received[-1], "traceparent")
    assert passed_on.startswith(f"00-{trace_id}-")
    assert span_id not in passed_on


def decided(check: CheckRequest, context: grpc.ServicerContext) -> CheckResponse:
    """A denial with metadata as authz sends it."""
    answer = deny(check, context)
    answer.dynamic_metadata.update(
        {"decision": "deny", "reason": "action_not_granted", "decision_id": "d-1", "task": TASK, "agent": AGENT_ID}
    )
    return answer


def test_the_access_log_names_the_decision(place: Place) -> None:
    """A line of Envoy's access log leads to the audit record by the decision id, and holds no query."""
    place.authorizer.script = decided
    place.call("/people/3?secret=hush")
    line = logged(place.envoy, "d-1")
    assert {
        "decision": "deny",
        "reason": "action_not_granted",
        "decision_id": "d-1",
        "task": TASK,
        "agent": AGENT_ID,
        "status": 403,
        "path": "/people/3",
        "peer": AGENT_ID,
    }.items() <= line.items()
    assert "hush" not in place.envoy.log_file.read_text()


def logged(envoy: Envoy, decision_id: str) -> dict[str, object]:
    """The line of the access log with that decision, once it is there."""
    give_up = time.monotonic() + 10
    while time.monotonic() < give_up:
        lines = [json.loads(line) for line in envoy.log_file.read_text().splitlines() if line.startswith("{")]
        found: list[dict[str, object]] = [line for line in lines if line["decision_id"] == decision_id]
        if found:
            return found[-1]
        time.sleep(0.05)
    raise AssertionError(f"no line with {decision_id} in {envoy.log_file.read_text()}")


@pytest.mark.parametrize("path", ["/quitquitquit", "/config_dump", "/certs", "/logging", "/drain_listeners"])
def test_the_admin_port_gives_nothing_away(place: Place, path: str) -> None:
    """Whoever reaches the admin port can neither stop Envoy nor read its configuration."""
    status, _ = place.envoy._ask_admin(path)
    assert status == 403
