"""Gauges: what can be read of the running parts at any moment. Whoever makes one needs nothing of OpenTelemetry."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gauge:
    """Something to read, from any thread and at no cost: a value for each set of attributes that there is now."""

    name: str
    unit: str
    description: str
    read: Callable[[], Iterable[tuple[float, Mapping[str, str]]]]
