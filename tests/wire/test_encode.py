"""What Envoy is told: an allow for nothing but an Allow, an explicit denial for everything else."""

import json
from dataclasses import replace

import pytest
from hypothesis import given

from authz.core.decision import Allow, Deny, StepUp
from authz.core.reasons import Reason
from authz.core.record import Record
from authz.wire.encode import FALLBACK, Encoder
from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from tests.support.records import record, records

encode = Encoder("x-task-id")


def answered(told: Record) -> CheckResponse:
    """The answer to a record, as Envoy reads it."""
    return CheckResponse.FromString(encode(told))


def headers(response: CheckResponse) -> dict[str, str]:
    """The headers of a denied response."""
    return {option.header.key: option.header.value for option in response.denied_response.headers}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_an_explicit_denial(reason: Reason) -> None:
    """Each reason becomes a non-zero status, its own HTTP status, and a body that names reason and decision."""
    told = record(decision=Deny(reason, "secret detail"))
    response = answered(told)
    assert response.status.code != 0
    assert response.WhichOneof("http_response") == "denied_response"
    assert response.denied_response.status.code == reason.http_status
    assert 400 <= reason.http_status < 600
    assert json.loads(response.denied_response.body) == {
        "error": "denied",
        "reason": reason.id,
        "decision_id": told.arrival.decision_id,
    }
    assert headers(response)["x-authz-reason"] == reason.id
    assert "secret detail" not in str(response)


@pytest.mark.parametrize("reason", [each for each in Reason if each.http_status == 401])
def test_a_401_names_the_credential_that_would_help(reason: Reason) -> None:
    """A response 401 carries WWW-Authenticate (RFC 9110, 15.5.2)."""
    assert headers(answered(record(decision=Deny(reason))))["www-authenticate"] == "X509-SVID"


def test_an_allow_sets_the_one_task_value_that_was_decided_on() -> None:
    """The upstream sees the task header overwritten with its canonical value, never appended to."""
    told = record(decision=Allow(frozenset({"p"})))
    assert told.task is not None
    response = answered(told)
    assert response.status.code == 0
    assert response.WhichOneof("http_response") == "ok_response"
    (option,) = response.ok_response.headers
    assert (option.header.key, option.header.value) == ("x-task-id", told.task.id)
    assert option.HasField("append")
    assert option.append.value is False


def test_the_access_log_learns_the_decision() -> None:
    """Dynamic metadata names decision, reason, decision id, agent, task and action, for denials too."""
    told = record(decision=Deny(Reason.TASK_ENDED))
    assert told.identity is not None
    assert told.task is not None
    assert told.hop is not None
    assert dict(answered(told).dynamic_metadata) == {
        "decision": "deny",
        "decision_id": told.arrival.decision_id,
        "reason": "task_ended",
        "agent": told.identity.spiffe_id.uri,
        "task": told.task.id,
        "action": told.hop.operation.action,
    }


def test_a_step_up_is_a_denial_that_names_the_approvals() -> None:
    """Envoy gets an explicit 403; the body and the access log say which kinds of approval would help."""
    told = record(decision=StepUp(frozenset({"reviewer", "owner"}), frozenset({"stale-needs-review"})))
    response = answered(told)
    assert response.status.code != 0
    assert response.denied_response.status.code == 403
    assert json.loads(response.denied_response.body) == {
        "error": "denied",
        "reason": "step_up_required",
        "decision_id": told.arrival.decision_id,
        "step_up": ["owner", "reviewer"],
    }
    assert headers(response)["x-authz-reason"] == "step_up_required"
    assert dict(response.dynamic_metadata)["decision"] == "step_up"
    assert "stale-needs-review" not in str(response)


def test_an_allow_without_a_task_cannot_be_written() -> None:
    """A record that allows but names no task is answered with a denial."""
    response = answered(record(decision=Allow(frozenset({"p"})), errand=None))
    assert response.denied_response.status.code == 503


def test_the_last_resort_is_a_denial() -> None:
    """The fixed answer for our own failure is an explicit 503."""
    response = CheckResponse.FromString(FALLBACK)
    assert response.status.code != 0
    assert response.denied_response.status.code == 503


@given(records())
def test_only_an_allow_is_an_allow(told: Record) -> None:
    """Over all records: never empty, status 0 for an Allow with a task and for nothing else, denied otherwise."""
    message = encode(told)
    response = CheckResponse.FromString(message)
    allowed = isinstance(told.decision, Allow) and told.task is not None
    assert message
    assert (response.status.code == 0) is allowed
    assert (response.WhichOneof("http_response") == "ok_response") is allowed


@given(records())
def test_alike_hops_get_alike_answers_each_with_its_own_name(told: Record) -> None:
    """What is remembered of an answer is what it would be anew; only the decision's id differs."""
    allowed = replace(told, decision=Allow(frozenset({"p"})), verdict=told.verdict or record().verdict)
    other = replace(allowed, arrival=replace(allowed.arrival, decision_id="0190aaaa-0000-7000-8000-000000000000"))
    anew = Encoder("x-task-id")
    for each in (allowed, other, allowed):
        response = CheckResponse.FromString(encode(each))
        assert response == CheckResponse.FromString(anew(each))
        if response.status.code == 0:
            assert response.dynamic_metadata.fields["decision_id"].string_value == each.arrival.decision_id
            response.dynamic_metadata.fields["decision_id"].string_value = ""
            expected = CheckResponse.FromString(anew(replace(each, arrival=replace(each.arrival, decision_id=""))))
            assert response == expected
