"""Metrics: a record in, one count and one duration out, by decision and reason; and gauges, read at each export."""

from collections.abc import Callable, Iterable
from functools import cache

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.util.types import AttributeValue

from authz.core.decision import Allow
from authz.core.reasons import Reason
from authz.core.record import Record
from authz.observe.gauges import Gauge

_BOUNDARIES_SECONDS = (*(5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3), *(1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0))
"""From what a cached decision takes to what no Envoy waits for."""


class MetricObserver:
    """Counts checks in `authz.checks`, and measures them in `authz.check.duration`."""

    def __init__(self, meter: Meter) -> None:
        self._checks = meter.create_counter("authz.checks", unit="{check}", description="Checks that were answered.")
        self._duration = meter.create_histogram(
            "authz.check.duration",
            unit="s",
            description="From a check's arrival to its answer.",
            explicit_bucket_boundaries_advisory=_BOUNDARIES_SECONDS,
        )

    def checked(self, record: Record, duration_seconds: float) -> None:
        """Count and measure."""
        decision = record.decision
        reason = None if isinstance(decision, Allow) else decision.reason
        self._checks.add(1, _labels(decision.word, reason))
        self._duration.record(duration_seconds, _labels(decision.word, None))


def show(gauges: Iterable[Gauge], meter: Meter) -> None:
    """Let the meter read them whenever it exports."""
    for gauge in gauges:
        meter.create_observable_gauge(gauge.name, [_callback(gauge)], unit=gauge.unit, description=gauge.description)


def _callback(gauge: Gauge) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _: [Observation(value, attributes) for value, attributes in gauge.read()]


@cache
def _labels(decision: str, reason: Reason | None) -> dict[str, AttributeValue]:
    """Few values, whoever calls: both come from closed sets."""
    labels: dict[str, AttributeValue] = {"authz.decision": decision}
    return labels if reason is None else {**labels, "authz.reason": reason.id}
