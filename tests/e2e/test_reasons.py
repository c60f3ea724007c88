"""Every answer that we can give, as a real Envoy takes it, whether its operator lets errors through or not."""

from collections.abc import Iterator

import grpc
import pytest

from authz.core.decision import Allow, Deny
from authz.core.reasons import Reason
from authz.demo.agents import Answered, Remote
from authz.demo.tools import Reply, Tool
from authz.wire.encode import FALLBACK, Encoder
from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from tests.support.envoy import Yard, hardened, settled, yard
from tests.support.records import record

__all__ = ["yard"]  # the fixture

WISH = "x-wish"
encode = Encoder("x-task-id")


def script(check: CheckRequest, _context: grpc.ServicerContext) -> CheckResponse:
    """Answer with the reason that the request wishes for, in our own encoding."""
    headers = {header.key: header.raw_value.decode() for header in check.attributes.request.http.header_map.headers}
    match headers[WISH]:
        case "allow":
            return CheckResponse.FromString(encode(record(decision=Allow(frozenset({"p"})))))
        case "fallback":
            return CheckResponse.FromString(FALLBACK)
        case id:
            (reason,) = (each for each in Reason if each.id == id)
            return CheckResponse.FromString(encode(record(decision=Deny(reason, "a detail\r\nx-injected: 1"))))


def respond(_received: object) -> Reply:
    """What the service behind Envoy says."""
    return 200, {"reached": True}


@pytest.fixture(scope="module", params=[False, True], ids=["errors-deny", "errors-pass"])
def door(yard: Yard, request: pytest.FixtureRequest) -> Iterator[tuple[Yard, Remote, Tool]]:
    """An Envoy in one failure mode, before a service that counts what reaches it."""
    with Tool("service", respond) as service:
        authorizer = yard.authorizer(script)
        envoy = yard.envoy(service.address, authorizer.address, failure_mode_allow=request.param)
        remote = hardened(envoy)
        settled(yard.agent, remote, "GET", "/contacts/42", [(WISH, "allow")])
        yield yard, remote, service


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_denied_by_envoy(door: tuple[Yard, Remote, Tool], reason: Reason) -> None:
    """In both failure modes the caller gets the reason's status and id, and the service gets nothing."""
    yard, remote, service = door
    before = len(service.received)
    outcome = yard.agent.call(remote, "GET", "/contacts/42", [(WISH, reason.id)])
    assert isinstance(outcome, Answered)
    assert (outcome.status, outcome.reason) == (reason.http_status, reason.id)
    assert outcome.decision_id
    assert "x-injected" not in dict(outcome.headers)
    assert len(service.received) == before


def test_the_denial_of_last_resort_is_denied_by_envoy(door: tuple[Yard, Remote, Tool]) -> None:
    """The fixed answer for our own failure is a 503 in both failure modes."""
    yard, remote, service = door
    before = len(service.received)
    outcome = yard.agent.call(remote, "GET", "/contacts/42", [(WISH, "fallback")])
    assert isinstance(outcome, Answered)
    assert (outcome.status, outcome.reason) == (503, "internal_error")
    assert len(service.received) == before


def test_an_allow_reaches_the_service_with_the_one_task_header(door: tuple[Yard, Remote, Tool]) -> None:
    """On allow the service sees the task header once, with the value that was decided on."""
    yard, remote, service = door
    sent = [(WISH, "allow"), ("x-task-id", "of-the-client"), ("X-Task-Id", "once-more")]
    outcome = yard.agent.call(remote, "GET", "/contacts/42", sent)
    assert isinstance(outcome, Answered)
    assert outcome.status == 200
    told = record().task
    assert told is not None
    assert [value for name, value in service.received[-1].headers if name == "x-task-id"] == [told.id]
