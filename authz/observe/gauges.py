"""Gauges: what can be read of the running parts at any moment, told to a meter that reads it when it exports."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from opentelemetry.metrics import CallbackOptions, Meter, Observation


@dataclass(frozen=True, slots=True)
class Gauge:
    """Something to read, from any thread and at no cost: a value for each set of attributes that there is now."""

    name: str
    unit: str
    description: str
    read: Callable[[], Iterable[tuple[float, Mapping[str, str]]]]


def show(gauges: Iterable[Gauge], meter: Meter) -> None:
    """Let the meter read them."""
    for gauge in gauges:
        meter.create_observable_gauge(gauge.name, [_callback(gauge)], unit=gauge.unit, description=gauge.description)


def _callback(gauge: Gauge) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _: [Observation(value, attributes) for value, attributes in gauge.read()]
