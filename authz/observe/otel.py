"""OpenTelemetry, as the standard OTEL_* variables ask for it: an environment in, observers out, or none at all.

Read here: OTEL_SDK_DISABLED, OTEL_TRACES_EXPORTER, OTEL_METRICS_EXPORTER (`otlp`, `console`, `none`; where unset,
`otlp` if an OTLP endpoint is named, else `none`) and OTEL_EXPORTER_OTLP_PROTOCOL with its _TRACES_ and _METRICS_ forms
(`grpc`, where unset, or `http/protobuf`). The SDK reads the others: endpoints, headers, certificates, time limits,
sampler, resource, batching. An empty variable is an unset one.

This module imports nothing of OpenTelemetry: a server that exports nothing does not pay for it.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from authz.core.errors import Place, Problem, Unusable
from authz.observe.gauges import Gauge
from authz.ports import Observer

if TYPE_CHECKING:
    from authz.observe.telemetry import Telemetry

_OTLP: Final = "otlp"
_NONE: Final = "none"
_EXPORTERS = (_OTLP, "console", _NONE)
_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"


class Exporter(Enum):
    """Where one kind of telemetry goes, and in which tongue."""

    OTLP_GRPC = "grpc"
    OTLP_HTTP = "http/protobuf"
    CONSOLE = "console"


@dataclass(frozen=True, slots=True)
class Choice:
    """What is exported, and to where; both empty where telemetry is off."""

    traces: tuple[Exporter, ...]
    metrics: tuple[Exporter, ...]


class NoTelemetry:
    """Telemetry that is off: there is nothing to observe with and nothing to shut down."""

    observers: tuple[Observer, ...] = ()

    def shutdown(self, timeout_seconds: float) -> None:
        """Nothing was begun."""


def make_telemetry(service_name: str, version: str, gauges: Iterable[Gauge] = ()) -> "Telemetry | NoTelemetry":
    """The telemetry that this process's environment asks for; raises Unusable for a value that we do not support.

    OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come before `service_name` and `version`.
    """
    choice = chosen(os.environ)
    if not choice.traces and not choice.metrics:
        return NoTelemetry()
    from authz.observe.telemetry import Telemetry  # noqa: PLC0415  see the module's docstring

    return Telemetry(choice, service_name, version, gauges)


def chosen(environment: Mapping[str, str]) -> Choice:
    """What the variables say; raises Unusable with every one that we cannot follow."""
    variables = {name: value.strip() for name, value in environment.items() if value.strip()}
    if variables.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return Choice((), ())
    problems: list[Problem] = []
    choice = Choice(_of(variables, "TRACES", problems), _of(variables, "METRICS", problems))
    if problems:
        raise Unusable(*dict.fromkeys(problems))  # both signals may have the one from the same variable
    return choice


def _of(variables: Mapping[str, str], signal: str, problems: list[Problem]) -> tuple[Exporter, ...]:
    """The exporters of one signal, in the order in which they are named."""
    variable = f"OTEL_{signal}_EXPORTER"
    has_endpoint = _ENDPOINT in variables or f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT" in variables
    value = variables.get(variable, _OTLP if has_endpoint else _NONE)
    names = list(dict.fromkeys(name.strip() for name in value.split(",")))
    if names == [_NONE]:
        return ()
    if not {_OTLP, "console"}.issuperset(names):
        problems.append(_problem(variable, value, f"Write {' or '.join(_EXPORTERS)}, or {_OTLP} and console."))
        return ()
    return tuple(_otlp(variables, signal, problems) if name == _OTLP else Exporter.CONSOLE for name in names)


def _otlp(variables: Mapping[str, str], signal: str, problems: list[Problem]) -> Exporter:
    own = f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL"
    variable = own if own in variables else _PROTOCOL
    match variables.get(variable, "grpc"):
        case "grpc":
            return Exporter.OTLP_GRPC
        case "http/protobuf":
            return Exporter.OTLP_HTTP
        case other:
            problems.append(_problem(variable, other, "Write grpc or http/protobuf."))
            return Exporter.OTLP_GRPC


def _problem(variable: str, value: str, remedy: str) -> Problem:
    return Problem(Place(Path(f"environment variable {variable}")), f"{value!r} is not supported", remedy)
