"""Traces and metrics, as a real OTLP receiver gets them; and that no check suffers where there is none."""

import json
import logging
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import pytest
from hypothesis import given
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from authz.core.decision import Allow, Deny, StepUp
from authz.core.reasons import Reason
from authz.core.record import Record
from authz.observe.fanout import Fanout
from authz.observe.gauges import Gauge
from authz.observe.metrics import MetricObserver
from authz.observe.otel import make_telemetry
from authz.observe.spans import SpanObserver
from tests.support.otlp import Receiver, eventually, grpc_receiver, http_receiver, plain
from tests.support.records import (
    QUERY_SECRET,
    SPAN_ID,
    TRACE_ID,
    TRACEPARENT,
    arrival,
    denied,
    patient,
    record,
    records,
)

START_NS = 1_800_000_000_123_456_000
ENOUGH_SECONDS = 10.0
DECISIONS = {Allow: "allow", Deny: "deny", StepUp: "step_up"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No proxy stands between us and a receiver on this machine."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return monkeypatch


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """A telemetry that could not send all before its time was up stays mute; the next test hears again."""
    yield
    logger = logging.getLogger("opentelemetry")
    logger.handlers.clear()
    logger.propagate = True


@contextmanager
def telemetry() -> Iterator[Fanout]:
    """What the server observes with, until it stops; a failing observer fails the test."""
    telemetry = make_telemetry("authz", "1.2.3")
    fanout = Fanout(telemetry.observers)
    try:
        yield fanout
    finally:
        telemetry.shutdown(ENOUGH_SECONDS)
    assert fanout.failures == {}


def exported(environment: pytest.MonkeyPatch, *told: Record) -> Receiver:
    """What a gRPC receiver has once these records were observed and the server has stopped."""
    with grpc_receiver() as receiver:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
        with telemetry() as fanout:
            for each in told:
                fanout.checked(each, 0.002)
        return receiver


def only_span(receiver: Receiver) -> Span:
    """The one span that came in."""
    (span,) = receiver.spans()
    return span


@pytest.mark.parametrize(("protocol", "peer"), [("grpc", grpc_receiver), ("http/protobuf", http_receiver)])
def test_a_check_is_a_span_below_envoys(
    environment: pytest.MonkeyPatch, protocol: str, peer: Callable[[], AbstractContextManager[Receiver]]
) -> None:
    """Over either protocol: a server span of Envoy's trace, as long as the check, with all that was found out."""
    with peer() as receiver:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
        environment.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        with telemetry() as fanout:
            fanout.checked(record(), 0.002)
    span = only_span(receiver)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE_ID, SPAN_ID)
    assert span.span_id.hex() != SPAN_ID
    assert (span.name, span.kind) == ("authz.check", Span.SPAN_KIND_SERVER)
    assert span.end_time_unix_nano - span.start_time_unix_nano == 2_000_000
    assert abs(span.start_time_unix_nano - START_NS) < 1000
    assert span.status.code == Status.STATUS_CODE_UNSET
    expected = {
        "rpc.system.name": "grpc",
        "rpc.method": "envoy.service.auth.v3.Authorization/Check",
        "rpc.response.status_code": "OK",
        "authz.decision": "allow",
        "authz.decision_id": arrival().decision_id,
        "authz.asker": "spiffe://example.org/envoy",
        "authz.agent": "spiffe://example.org/agent/support",
        "authz.proof": "certificate",
        "authz.task_id": "01990000-0000-7000-8000-00000000002a",
        "authz.action": "crm.contact.read",
        "authz.action_classes": ["read"],
        "authz.dataset": "crm.contacts",
        "authz.sensitivity": "internal",
        "authz.policy.version": "2f6a8c",
        "authz.policy.cache_hit": True,
    }
    assert expected == plain(span.attributes)
    assert receiver.latest("authz.checks").sum.data_points[0].as_int == 1


def test_gauges_are_read_when_metrics_are_sent(environment: pytest.MonkeyPatch) -> None:
    """What a gauge says at that moment is reported, under its name, with its attributes."""
    gauge = Gauge("authz.trust.source.up", "1", "Whether it is up.", lambda: [(1.0, {"authz.trust.source": "files"})])
    with grpc_receiver() as receiver:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
        make_telemetry("authz", "1.2.3", [gauge]).shutdown(ENOUGH_SECONDS)
    (point,) = receiver.latest("authz.trust.source.up").gauge.data_points
    assert (point.as_double, plain(point.attributes)) == (1.0, {"authz.trust.source": "files"})


def test_a_denial_is_no_error(environment: pytest.MonkeyPatch) -> None:
    """A denied hop's span has its reason, and no error status: the server did its work."""
    span = only_span(exported(environment, denied(Reason.TASK_EXPIRED, f"?{QUERY_SECRET}")))
    assert span.status.code == Status.STATUS_CODE_UNSET
    attributes = plain(span.attributes)
    assert (attributes["authz.decision"], attributes["authz.reason"]) == ("deny", "task_expired")
    assert QUERY_SECRET not in str(span)


def test_our_own_trouble_is_an_error(environment: pytest.MonkeyPatch) -> None:
    """A check that failed through us has an error status and type, and the fault as its exception."""
    fault = ZeroDivisionError("division by zero")
    span = only_span(exported(environment, denied(Reason.INTERNAL_ERROR, fault=fault)))
    assert (span.status.code, span.status.message) == (Status.STATUS_CODE_ERROR, Reason.INTERNAL_ERROR.meaning)
    assert plain(span.attributes)["error.type"] == "internal_error"
    (event,) = span.events
    assert (event.name, event.time_unix_nano) == ("exception", span.end_time_unix_nano)
    expected = {
        "exception.type": "ZeroDivisionError",
        "exception.message": "division by zero",
        "exception.stacktrace": "ZeroDivisionError: division by zero\n",
    }
    assert expected == plain(event.attributes)


def test_what_was_not_reached_has_no_attribute(environment: pytest.MonkeyPatch) -> None:
    """A check that ended at its first step has a span of the decision alone."""
    nothing = dict.fromkeys(("asker", "request", "identity", "ticket", "errand", "hop", "verdict"))
    span = only_span(exported(environment, denied(Reason.REQUEST_MALFORMED, "", **nothing)))
    assert {key for key in plain(span.attributes) if key.startswith("authz.")} == {
        "authz.decision",
        "authz.decision_id",
        "authz.reason",
    }


def test_a_trace_that_envoy_did_not_sample_is_not_kept(environment: pytest.MonkeyPatch) -> None:
    """With the flag 00 no span is exported, and with 01 one is; checks are counted either way."""
    unsampled = record(arrival=arrival(traceparent=TRACEPARENT[:-1] + "0"))
    receiver = exported(environment, unsampled, record())
    assert [span.trace_id.hex() for span in receiver.spans()] == [TRACE_ID]
    assert receiver.latest("authz.checks").sum.data_points[0].as_int == 2


def test_the_sampler_can_be_chosen(environment: pytest.MonkeyPatch) -> None:
    """OTEL_TRACES_SAMPLER decides, as the SDK reads it."""
    environment.setenv("OTEL_TRACES_SAMPLER", "always_on")
    unsampled = record(arrival=arrival(traceparent=TRACEPARENT[:-1] + "0"))
    assert only_span(exported(environment, unsampled)).parent_span_id.hex() == SPAN_ID


def test_without_a_readable_parent_the_span_begins_a_trace(environment: pytest.MonkeyPatch) -> None:
    """Where Envoy does not trace, or its text is not understood, the check is the root of a trace of its own."""
    receiver = exported(environment, *(record(arrival=arrival(traceparent=text)) for text in ("", "00-made-up-01")))
    first, second = receiver.spans()
    assert (first.parent_span_id, second.parent_span_id) == (b"", b"")
    assert first.trace_id != second.trace_id


def test_envoys_trace_state_is_kept(environment: pytest.MonkeyPatch) -> None:
    """The vendor's part of the context comes through to the backend."""
    traced = record(arrival=arrival(tracestate="vendor=opaque"))
    assert only_span(exported(environment, traced)).trace_state == "vendor=opaque"


def test_checks_are_counted_and_measured(environment: pytest.MonkeyPatch) -> None:
    """By decision and reason, and by decision: no other attribute, so the number of series is bounded."""
    told = [record(), record(), denied(Reason.TASK_EXPIRED), denied(Reason.POLICY_FORBIDS, fault=None)]
    receiver = exported(environment, *told)
    points = receiver.latest("authz.checks").sum.data_points
    counts = {tuple(sorted(plain(point.attributes).items())): point.as_int for point in points}
    assert counts == {
        (("authz.decision", "allow"),): 2,
        (("authz.decision", "deny"), ("authz.reason", "task_expired")): 1,
        (("authz.decision", "deny"), ("authz.reason", "policy_forbids")): 1,
    }
    duration = receiver.latest("authz.check.duration")
    assert duration.unit == "s"
    measured = {str(plain(point.attributes)): point for point in duration.histogram.data_points}
    assert {key: point.count for key, point in measured.items()} == {
        "{'authz.decision': 'allow'}": 2,
        "{'authz.decision': 'deny'}": 2,
    }
    point = measured["{'authz.decision': 'allow'}"]
    assert point.sum == pytest.approx(0.004)
    (bucket,) = [index for index, count in enumerate(point.bucket_counts) if count]
    assert point.explicit_bounds[bucket - 1] < 0.002 <= point.explicit_bounds[bucket]


def test_the_resource_says_who_speaks(environment: pytest.MonkeyPatch) -> None:
    """Name and version are ours, and an instance id keeps replicas apart."""
    resource = exported(environment, record()).resource()
    assert (resource["service.name"], resource["service.version"]) == ("authz", "1.2.3")
    assert resource["service.instance.id"] != exported(environment, record()).resource()["service.instance.id"]


def test_the_environment_names_the_resource(environment: pytest.MonkeyPatch) -> None:
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come first."""
    environment.setenv("OTEL_SERVICE_NAME", "authz-eu")
    environment.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging,service.version=9")
    resource = exported(environment, record()).resource()
    expected = {"service.name": "authz-eu", "service.version": "9", "deployment.environment.name": "staging"}
    assert expected == {key: resource[key] for key in expected}


def test_a_fault_that_utf_8_cannot_carry_is_told(environment: pytest.MonkeyPatch) -> None:
    """A lone surrogate in a fault's text becomes a question mark; neither the text nor another span is lost."""
    receiver = exported(environment, record(), denied(Reason.INTERNAL_ERROR, fault=ValueError("bad \udc80")), record())
    (event,) = [event for span in receiver.spans() for event in span.events]
    assert plain(event.attributes)["exception.message"] == "bad ?"
    assert plain(event.attributes)["exception.stacktrace"] == "ValueError: bad ?\n"
    assert len(receiver.spans()) == 3


def test_the_console_is_standard_error(environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The console exporter writes one line of JSON each to standard error; standard output may be the audit log."""
    environment.setenv("OTEL_TRACES_EXPORTER", "console")
    environment.setenv("OTEL_METRICS_EXPORTER", "console")
    with telemetry() as fanout:
        fanout.checked(record(), 0.002)
    said = capsys.readouterr()
    assert said.out == ""
    told = [json.loads(each) for each in said.err.splitlines()]
    assert sorted("span" if "kind" in each else next(iter(each)) for each in told) == ["resource_metrics", "span"]


def closed_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        return port


def median_us(observe: Callable[[], None], count: int) -> float:
    """The median duration of a call: what others on this machine do hardly moves it."""
    durations = []
    for _ in range(count):
        began = time.perf_counter_ns()
        observe()
        durations.append(time.perf_counter_ns() - began)
    return statistics.median(durations) / 1000


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_collector_that_is_down_costs_no_check_anything(
    environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, protocol: str
) -> None:
    """2,500 checks, more than are ever queued: none fails, none waits for it, few lines are logged, and it stops."""
    environment.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    peer = grpc_receiver if protocol == "grpc" else http_receiver
    told = record()
    with peer() as receiver:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
        with telemetry() as fanout:
            up = median_us(lambda: fanout.checked(told, 0.002), 500)
    environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{closed_port()}")
    quiet = make_telemetry("authz", "1")
    fanout = Fanout(quiet.observers)
    down = median_us(lambda: fanout.checked(told, 0.002), 2500)
    began = time.monotonic()
    quiet.shutdown(1)
    assert time.monotonic() - began < 10
    assert fanout.failures == {}
    # Waiting for the collector would cost a hundred times as much; other work on the machine can double it.
    assert down < 5 * up
    # Our own lines: the exporter of the protocol before may still say that it was shut down while it was trying.
    assert len([each for each in caplog.records if each.name == "authz.observe"]) <= 20


def test_a_collector_that_comes_back_is_sent_to_again(environment: pytest.MonkeyPatch) -> None:
    """What was observed while the collector was away is sent once it is there."""
    port = closed_port()
    environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    environment.setenv("OTEL_METRICS_EXPORTER", "none")
    with telemetry() as fanout:
        fanout.checked(record(), 0.002)
        time.sleep(0.3)
        with grpc_receiver(port) as receiver:
            eventually(lambda: bool(receiver.spans()), timeout_seconds=ENOUGH_SECONDS)


def test_a_collector_that_hangs_does_not_hold_up_the_stop(environment: pytest.MonkeyPatch) -> None:
    """A peer that accepts and never answers: the server still stops within the time that it was given."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{listener.getsockname()[1]}")
        telemetry = make_telemetry("authz", "1")
        Fanout(telemetry.observers).checked(record(), 0.002)
        began = time.monotonic()
        telemetry.shutdown(0.5)
        assert time.monotonic() - began < 5  # left to itself, the SDK waits for ten seconds at least


def test_odd_trace_states_do_not_fill_the_log(
    environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The SDK complains of every state that it cannot read, and clients write them; few of its lines are passed on."""
    odd = record(arrival=arrival(tracestate="Not A State"))
    exported(environment, *[odd] * 500)
    # Our own lines: an exporter of an earlier test may still say that it was shut down while it was trying.
    assert 1 <= len([each for each in caplog.records if each.name == "authz.observe"]) <= 6


def test_telemetry_leaves_logging_as_it_was(environment: pytest.MonkeyPatch) -> None:
    """After the stop the SDK's logger is as before the start."""
    logger = logging.getLogger("opentelemetry")
    before = (logger.propagate, list(logger.handlers))
    exported(environment, record())
    assert before == (logger.propagate, list(logger.handlers))


def test_stopping_twice_is_stopping_once(environment: pytest.MonkeyPatch) -> None:
    """A second shutdown does no harm, and leaves no thread behind."""
    with grpc_receiver() as receiver:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
        telemetry = make_telemetry("authz", "1")
        telemetry.shutdown(ENOUGH_SECONDS)
        telemetry.shutdown(ENOUGH_SECONDS)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("Otel")]


@dataclass(frozen=True)
class Kept:
    """Observers whose spans and metrics stay in memory."""

    fanout: Fanout
    spans: InMemorySpanExporter
    metrics: InMemoryMetricReader


@pytest.fixture(scope="module")
def kept() -> Iterator[Kept]:
    """One for all records that are drawn."""
    spans, metrics = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(shutdown_on_exit=False), MeterProvider([metrics], shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    yield Kept(Fanout([SpanObserver(tracers.get_tracer("t")), MetricObserver(meters.get_meter("t"))]), spans, metrics)
    meters.shutdown()


@patient
@given(records())
def test_any_record_can_be_observed(kept: Kept, told: Record) -> None:
    """Whatever was in the check, it becomes a span that OTLP can carry, and a count; no observer fails."""
    kept.spans.clear()
    kept.fanout.checked(told, 0.002)
    assert kept.fanout.failures == {}
    assert kept.metrics.get_metrics_data() is not None
    spans = kept.spans.get_finished_spans()
    encode_spans(spans).SerializeToString()
    for span in spans:
        assert span.attributes is not None
        assert span.attributes["authz.decision"] == DECISIONS[type(told.decision)]
