"""The OpenTelemetry SDK, set up and shut down: a choice of exporters in, observers out.

Export happens in threads of the SDK, from bounded queues. A collector that does not answer costs what it would have
kept, and some lines in the log; no check waits for it.
"""

import logging
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter,
    MetricExporter,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

from authz.core.errors import Place, Problem, Unusable
from authz.observe.gauges import Gauge
from authz.observe.log import PacedHandler
from authz.observe.metrics import MetricObserver, show
from authz.observe.otel import Choice, Exporter
from authz.observe.spans import SpanObserver
from authz.ports import Observer

_SCOPE = "authz"
_LOG_LINES_PER_MINUTE = 6
_SHARE_FOR_INTERRUPTING = 0.2
_MS = 1000.0

_log = logging.getLogger("authz.observe")


class Telemetry:
    """Telemetry that is on. It has its own providers: nothing global of OpenTelemetry is touched but its logger."""

    def __init__(self, choice: Choice, service_name: str, version: str, gauges: Iterable[Gauge] = ()) -> None:
        """Start exporting; raises Unusable where the SDK refuses a variable."""
        self._quiet = _QuietLogger()
        self._exporters: list[SpanExporter | MetricExporter] = []
        self._closers: list[Callable[[float], None]] = []
        observers: list[Observer] = []
        try:
            resource = _resource(service_name, version)
            if choice.traces:
                observers.append(SpanObserver(self._trace(choice.traces, resource).get_tracer(_SCOPE, version)))
            if choice.metrics:
                meter = self._measure(choice.metrics, resource).get_meter(_SCOPE, version)
                observers.append(MetricObserver(meter))
                show(gauges, meter)
        except Exception as error:
            self.shutdown(0)
            what = f"OpenTelemetry cannot use them: {type(error).__name__}: {error}"
            raise Unusable(Problem(Place(Path("environment variables OTEL_*")), what, "Correct the value.")) from error
        self.observers: tuple[Observer, ...] = tuple(observers)

    def shutdown(self, timeout_seconds: float) -> None:
        """Send what is queued, for at most so long; what was not sent by then is dropped."""
        deadline = time.monotonic() + timeout_seconds
        threads = [threading.Thread(target=close, args=(timeout_seconds,), daemon=True) for close in self._closers]
        for thread in threads:
            thread.start()
        if not _joined(threads, deadline - timeout_seconds * _SHARE_FOR_INTERRUPTING):
            _log.warning("not all telemetry could be sent within %g s; the rest is dropped", timeout_seconds)
            self._quiet.mute()
            for exporter in self._exporters:
                exporter.shutdown()
            if not _joined(threads, deadline):
                return  # still mute: what goes on in the SDK's threads ends with the process
        self._quiet.restore()

    def _trace(self, exporters: tuple[Exporter, ...], resource: Resource) -> TracerProvider:
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        # It takes no time limit, and may wait for half a minute.
        self._closers.append(lambda _: provider.shutdown())
        for each in exporters:
            exporter = _span_exporter(each)
            self._exporters.append(exporter)
            provider.add_span_processor(BatchSpanProcessor(exporter))
        return provider

    def _measure(self, exporters: tuple[Exporter, ...], resource: Resource) -> MeterProvider:
        readers = []
        for each in exporters:
            exporter = _metric_exporter(each)
            self._exporters.append(exporter)
            readers.append(PeriodicExportingMetricReader(exporter))
        provider = MeterProvider(readers, resource, shutdown_on_exit=False)
        self._closers.append(lambda timeout_seconds: _shut_down(provider, timeout_seconds))
        return provider


class _QuietLogger:
    """Paces what the SDK logs: it may write a line for every span that it drops, and for every odd trace state."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("opentelemetry")
        self._handler = PacedHandler(_log, _LOG_LINES_PER_MINUTE)
        self._logger.addHandler(self._handler)
        self._logger.propagate = False

    def mute(self) -> None:
        """Log nothing more: the SDK complains of exporters that are shut down while they are in use."""
        self._handler.setLevel(logging.CRITICAL + 1)

    def restore(self) -> None:
        """Let the SDK log as it likes."""
        self._logger.removeHandler(self._handler)
        self._logger.propagate = True


def _joined(threads: list[threading.Thread], deadline: float) -> bool:
    """Whether all have ended by then."""
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


def _shut_down(provider: MeterProvider, timeout_seconds: float) -> None:
    try:
        provider.shutdown(timeout_seconds * _MS)
    except Exception as error:  # noqa: BLE001  it raises bare Exception where the time was too short
        _log.warning("the last metrics were not sent: %s", " ".join(str(error).splitlines()))


def _resource(service_name: str, version: str) -> Resource:
    """Who sends this. The instance keeps replicas apart; what the environment says comes first."""
    ours = {"service.name": service_name, "service.version": version, "service.instance.id": str(uuid.uuid4())}
    return Resource.create(ours).merge(OTELResourceDetector().detect())


def _span_exporter(exporter: Exporter) -> SpanExporter:
    match exporter:
        case Exporter.OTLP_GRPC:
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  slow

            return OTLPSpanExporter()
        case Exporter.OTLP_HTTP:
            from opentelemetry.exporter.otlp.proto.http import trace_exporter  # noqa: PLC0415  slow

            return trace_exporter.OTLPSpanExporter()
        case Exporter.CONSOLE:
            return ConsoleSpanExporter(out=sys.stderr, formatter=_one_line)


def _metric_exporter(exporter: Exporter) -> MetricExporter:
    match exporter:
        case Exporter.OTLP_GRPC:
            from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter  # noqa: PLC0415  slow

            return OTLPMetricExporter()
        case Exporter.OTLP_HTTP:
            from opentelemetry.exporter.otlp.proto.http import metric_exporter  # noqa: PLC0415  slow

            return metric_exporter.OTLPMetricExporter()
        case Exporter.CONSOLE:
            return ConsoleMetricExporter(out=sys.stderr, formatter=_one_line)


def _one_line(told: ReadableSpan | MetricsData) -> str:
    """For the console, which is standard error: standard output may be the audit log."""
    return told.to_json(indent=None) + "\n"
