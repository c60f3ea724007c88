"""Spans: a record in, one server span of the check, child of the span in which Envoy asked for it.

Attribute names under `rpc.` are those of the OpenTelemetry semantic conventions 1.44. For decisions of this kind there
are none yet, so ours begin with `authz.`. What a client wrote, and no one has proven, becomes no attribute.
"""

import traceback

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from authz.core.decision import Allow, Decision, Deny, StepUp
from authz.core.hop import Operation
from authz.core.record import Arrival, Record
from authz.observe.trace import NO_SPAN, parse_traceparent

_NAME = "authz.check"
_RPC = {
    "rpc.system.name": "grpc",
    "rpc.method": "envoy.service.auth.v3.Authorization/Check",
    "rpc.response.status_code": "OK",  # every check is answered, a denial too
}
_SERVER_FAULT = 500
_NS = 1_000_000_000
_W3C = TraceContextTextMapPropagator()


class SpanObserver:
    """Makes a span of each check. Whether it is kept is the sampler's business, by default the parent's."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def checked(self, record: Record, duration_seconds: float) -> None:
        """Make the span, as long as the check was."""
        started_ns = int(record.arrival.unix_seconds * _NS)
        ended_ns = started_ns + round(duration_seconds * _NS)
        parent = parent_of(record.arrival)
        span = self._tracer.start_span(_NAME, parent, SpanKind.SERVER, _attributes(record), start_time=started_ns)
        if span.is_recording():
            _tell_trouble(span, record.decision, record.fault, ended_ns)
        span.end(ended_ns)


def parent_of(arrival: Arrival) -> Context:
    """The context with Envoy's span and its trace state; the empty one where `traceparent` names no span."""
    if parse_traceparent(arrival.traceparent) is NO_SPAN:
        return Context()
    return _W3C.extract({"traceparent": arrival.traceparent, "tracestate": arrival.tracestate}, Context())


def outcome(decision: Decision) -> dict[str, AttributeValue]:
    """The decision, the reason of a denial, and the approvals that would lift it."""
    match decision:
        case Allow():
            return {"authz.decision": decision.word}
        case Deny(reason):
            return {"authz.decision": decision.word, "authz.reason": reason.id}
        case StepUp(kinds):
            asked = sorted(map(_carried, kinds))
            return {"authz.decision": decision.word, "authz.reason": decision.reason.id, "authz.step_up": asked}


def _attributes(record: Record) -> dict[str, AttributeValue]:
    """All that was found out; what was not reached has no attribute."""
    found = {**_RPC, "authz.decision_id": record.arrival.decision_id, **outcome(record.decision)}
    if record.asker is not None and record.asker.spiffe_id is not None:
        found["authz.asker"] = record.asker.spiffe_id.uri
    if record.identity is not None:
        found["authz.agent"] = record.identity.spiffe_id.uri
        found["authz.proof"] = record.identity.proof.value
    if record.task is not None:
        found["authz.task_id"] = record.task.id
    if record.hop is not None:
        found |= _attempt(record.hop.operation)
    if record.verdict is not None:
        found["authz.policy.version"] = _carried(record.verdict.version)
        found["authz.policy.cache_hit"] = record.verdict.from_cache
    return found


def _attempt(operation: Operation) -> dict[str, AttributeValue]:
    return {
        "authz.action": _carried(operation.action),
        "authz.action_classes": sorted(each.value for each in operation.classes),
        "authz.dataset": _carried(operation.dataset),
        "authz.sensitivity": str(operation.sensitivity),
    }


def _tell_trouble(span: Span, decision: Decision, fault: BaseException | None, ended_ns: int) -> None:
    """An error is our own trouble. A denial is none: it is what the server is for."""
    if isinstance(decision, Deny) and decision.reason.http_status >= _SERVER_FAULT:
        span.set_attribute("error.type", decision.reason.id)
        span.set_status(StatusCode.ERROR, decision.reason.meaning)
    if fault is not None:
        span.add_event("exception", _exception(fault), ended_ns)


def _exception(fault: BaseException) -> dict[str, AttributeValue]:
    """The fault, by the conventions for exceptions. `Span.record_exception` would not mend its text."""
    kind = type(fault)
    return {
        "exception.type": kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}",
        "exception.message": _carried(str(fault)),
        "exception.stacktrace": _carried("".join(traceback.format_exception(fault))),
    }


def _carried(text: str) -> str:
    """The text as UTF-8 can carry it: an attribute with a lone surrogate would be left out."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
