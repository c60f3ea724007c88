"""What Envoy does when authz does not answer as it should: no hop gets through, unless an operator said so."""

import time
from collections.abc import Iterator
from dataclasses import replace

import grpc
import pytest
from grpc_health.v1 import health_pb2

from authz.demo import tools
from authz.demo.agents import Answered, NoAnswer, Outcome, TlsFailure
from authz.demo.envoys import LOOPBACK, Address, Envoy
from authz.demo.tools import Tool
from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse, DeniedHttpResponse
from tests.support.envoy import AUTHORIZATION, Yard, allow, deny, hardened, settled

MODES = pytest.mark.parametrize("failure_mode_allow", [False, True], ids=["fail closed", "fail open"])
HEALTH_INTERVAL_SECONDS = 1


@pytest.fixture(scope="module")
def service() -> Iterator[Tool]:
    """A service."""
    with Tool("hr", tools.hr) as tool:
        yield tool


def hang(_check: CheckRequest, context: grpc.ServicerContext) -> CheckResponse:
    """Answer nothing until Envoy gives up."""
    while context.is_active():
        time.sleep(0.01)
    return CheckResponse()


def abort(_check: CheckRequest, context: grpc.ServicerContext) -> CheckResponse:
    """Fail the call, as a denial by gRPC status would."""
    context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")
    raise AssertionError("abort returns")


def call(yard: Yard, envoy: Envoy) -> Outcome:
    """What the agent is answered, a moment later."""
    time.sleep(0.05)
    return yard.agent.call(hardened(envoy), "GET", "/people/3")


def status(outcome: Outcome) -> int:
    """The HTTP status of an answer."""
    assert isinstance(outcome, Answered), outcome
    return outcome.status


def counter(envoy: Envoy, name: str) -> int:
    """One of Envoy's counters."""
    lines = [line.partition(": ") for line in envoy.admin(f"/stats?filter=^{name}$").splitlines()]
    return sum(int(value) for _, _, value in lines)


@MODES
@pytest.mark.parametrize("script", [hang, abort], ids=["hangs", "aborts"])
def test_no_proper_answer_is_a_no(yard: Yard, service: Tool, script: object, *, failure_mode_allow: bool) -> None:
    """An authz that hangs or fails the call denies the hop with 503; fail open lets all through."""
    authorizer = yard.authorizer(script)  # type: ignore[arg-type]
    envoy = yard.envoy(
        service.address, authorizer.address, failure_mode_allow=failure_mode_allow, check_timeout_seconds=None
    )
    before, calls = len(service.received), 0
    while not authorizer.checks and calls < 20:  # a busy machine may give up before authz is asked
        assert status(call(yard, envoy)) == (200 if failure_mode_allow else 503)
        calls += 1
    assert authorizer.checks
    assert len(service.received) - before == (calls if failure_mode_allow else 0)


@MODES
def test_no_authz_is_a_no(yard: Yard, service: Tool, *, failure_mode_allow: bool) -> None:
    """With nothing at authz's address every hop is denied with 503; fail open lets all through."""
    authorizer = yard.authorizer()
    authorizer.stop()
    envoy = yard.envoy(service.address, authorizer.address, failure_mode_allow=failure_mode_allow)
    assert (200 if failure_mode_allow else 503) == status(call(yard, envoy))


@MODES
def test_a_denial_is_a_denial_in_both_modes(yard: Yard, service: Tool, *, failure_mode_allow: bool) -> None:
    """An answer that denies stands even where an operator fails open; only a check that got no answer passes."""
    envoy = yard.envoy(service.address, yard.authorizer(deny).address, failure_mode_allow=failure_mode_allow)
    before = len(service.received)
    statuses: list[int] = []
    while 403 not in statuses and len(statuses) < 100:  # on a machine that stalls, authz may not be healthy at once
        statuses.append(status(call(yard, envoy)))
    assert statuses[-1] == 403
    assert set(statuses[:-1]) <= {200 if failure_mode_allow else 503}
    unanswered = counter(envoy, "http.mtls.ext_authz.failure_mode_allowed")
    assert unanswered == len(service.received) - before == statuses.count(200)


def test_only_authz_may_decide(yard: Yard, service: Tool) -> None:
    """Another workload of the trust domain that listens at authz's address is not asked, and nothing gets through."""
    pretender = yard.authorizer(allow, spiffe_id="spiffe://example.org/agent/research")
    envoy = yard.envoy(service.address, pretender.address)
    assert status(call(yard, envoy)) == 503
    assert pretender.checks == []


def test_an_authz_that_drains_is_left(yard: Yard, service: Tool) -> None:
    """An authz that says NOT_SERVING is asked nothing more after three health checks, even if it is the only one."""
    authorizer = yard.authorizer()
    envoy = yard.envoy(service.address, authorizer.address)
    assert status(settled(yard.agent, hardened(envoy), "GET", "/people/3")) == 200
    authorizer.healthy.set(AUTHORIZATION, health_pb2.HealthCheckResponse.NOT_SERVING)
    time.sleep(5 * HEALTH_INTERVAL_SECONDS)
    asked = len(authorizer.checks)
    assert status(call(yard, envoy)) == 503
    assert asked == len(authorizer.checks)


def test_a_patient_caller_asks_again(yard: Yard, service: Tool) -> None:
    """A caller that asks again after a 503 gets its answer once authz is back, and the service gets one request."""
    authorizer = yard.authorizer()

    def recover(check: CheckRequest, context: grpc.ServicerContext) -> CheckResponse:
        return (allow if len(authorizer.checks) > 3 else hang)(check, context)

    authorizer.script = recover
    envoy = yard.envoy(service.address, authorizer.address, check_timeout_seconds=None)
    before = len(service.received)
    outcome, tries = yard.agent.call_patiently(hardened(envoy), "GET", "/people/3")
    assert status(outcome) == 200
    assert tries > 1
    assert len(service.received) - before == 1


def test_a_denial_by_503_that_is_awaited_is_an_answer(yard: Yard, service: Tool) -> None:
    """A caller that waits for one of authz's own 503 reasons takes it at once, and does not take it for an outage."""

    def unlisted(_check: CheckRequest, _context: grpc.ServicerContext) -> CheckResponse:
        body = '{"error": "denied", "reason": "asker_not_allowed", "decision_id": "d-1"}'
        return CheckResponse(status={"code": 14}, denied_response=DeniedHttpResponse(status={"code": 503}, body=body))

    authorizer = yard.authorizer(unlisted)
    remote = hardened(yard.envoy(service.address, authorizer.address))
    outcome, _ = yard.agent.call_patiently(remote, "GET", "/people/3", awaited_reason="asker_not_allowed")
    assert isinstance(outcome, Answered)
    assert (outcome.status, outcome.reason) == (503, "asker_not_allowed")
    assert len(authorizer.checks) == 1


def test_a_caller_is_told_apart_from_silence(yard: Yard, service: Tool) -> None:
    """An agent reports a closed port and a server that is not the one it meant as values, not as exceptions."""
    envoy = yard.envoy(service.address, yard.authorizer().address)
    meant = hardened(envoy)
    closed = Address(LOOPBACK, 1)
    assert isinstance(yard.agent.call(replace(meant, door=closed), "GET", "/"), NoAnswer)
    other = yard.agent.call(replace(meant, spiffe_id="spiffe://example.org/tool/other"), "GET", "/people/3")
    assert isinstance(other, TlsFailure)
    assert "not spiffe://example.org/tool/other" in other.why
