"""Which telemetry an environment asks for: the standard variables, and what is said where one cannot be followed."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.core.errors import Problem, Unusable
from authz.observe.otel import Choice, Exporter, NoTelemetry, chosen, make_telemetry
from tests.support.records import patient

ROOT = Path(__file__).parents[2]
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"}
OFF = Choice((), ())
GRPC, HTTP, CONSOLE = (Exporter.OTLP_GRPC,), (Exporter.OTLP_HTTP,), (Exporter.CONSOLE,)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, OFF),
        (ENDPOINT, Choice(GRPC, GRPC)),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4317"}, Choice(GRPC, ())),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4317"}, Choice((), GRPC)),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, Choice(GRPC, ())),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, Choice((), GRPC)),
        ({"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "console"}, Choice(CONSOLE, CONSOLE)),
        ({"OTEL_TRACES_EXPORTER": "otlp, console"}, Choice((*GRPC, *CONSOLE), ())),
        ({"OTEL_TRACES_EXPORTER": "console,console"}, Choice(CONSOLE, ())),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, Choice((), GRPC)),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}, OFF),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"}, OFF),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "false"}, Choice(GRPC, GRPC)),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "zipkin"}, OFF),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, Choice(HTTP, HTTP)),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, Choice(HTTP, GRPC)),
        (
            {
                **ENDPOINT,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "grpc",
            },
            Choice(HTTP, GRPC),
        ),
        (
            dict.fromkeys(("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL"), ""),
            OFF,
        ),
    ],
)
def test_the_standard_variables_are_followed(environment: dict[str, str], expected: Choice) -> None:
    """Exporters and protocols are those of the OpenTelemetry specification; an empty variable is an unset one."""
    assert expected == chosen(environment)


@pytest.mark.parametrize(
    ("variable", "value", "remedy"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin", "Write otlp or console or none, or otlp and console."),
        ("OTEL_METRICS_EXPORTER", "prometheus", "Write otlp or console or none, or otlp and console."),
        ("OTEL_TRACES_EXPORTER", "otlp,none", "Write otlp or console or none, or otlp and console."),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "Write grpc or http/protobuf."),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "GRPC", "Write grpc or http/protobuf."),
    ],
)
def test_what_we_cannot_follow_stops_the_start(variable: str, value: str, remedy: str) -> None:
    """A value that we do not support is named with its variable and a remedy; no telemetry is silently missing."""
    with pytest.raises(Unusable) as caught:
        chosen({**ENDPOINT, variable: value})
    expected = f"environment variable {variable}: {value!r} is not supported\n    {remedy}"
    assert [expected] == [str(problem) for problem in caught.value.problems]


def test_all_that_we_cannot_follow_is_named_at_once() -> None:
    """Both signals' problems are told together."""
    with pytest.raises(Unusable) as caught:
        chosen({"OTEL_TRACES_EXPORTER": "jaeger", "OTEL_METRICS_EXPORTER": "prometheus"})
    assert ["TRACES" in str(caught.value), "METRICS" in str(caught.value)] == [True, True]


_VALUES = st.sampled_from(["", "otlp", "console", "none", "grpc", "http/protobuf", "true", "http://c:1"]) | st.text()
_VARIABLES = st.sampled_from(
    [
        "OTEL_SDK_DISABLED",
        "OTEL_TRACES_EXPORTER",
        "OTEL_METRICS_EXPORTER",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    ]
)


@patient
@given(st.dictionaries(_VARIABLES, _VALUES))
def test_any_environment_is_followed_or_refused(environment: dict[str, str]) -> None:
    """There is no third way, such as a traceback."""
    choice: Choice = OFF
    problems: tuple[Problem, ...] = ()
    try:
        choice = chosen(environment)
    except Unusable as error:
        problems = error.problems
    assert set(choice.traces) | set(choice.metrics) <= set(Exporter)
    assert all(problem.remedy for problem in problems)


def test_without_telemetry_nothing_of_it_is_loaded() -> None:
    """A server that exports nothing has no observer for it, and imports no OpenTelemetry."""
    code = """
import sys
from authz.observe.audit import JsonLinesAudit
from authz.observe.fanout import Fanout
from authz.observe.log import LogObserver
from authz.observe.otel import make_telemetry
telemetry = make_telemetry("authz", "1")
telemetry.shutdown(0)
print(telemetry.observers, [name for name in sys.modules if name.startswith("opentelemetry")])
"""
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=ROOT, env={"PATH": "/usr/bin"}, check=True, capture_output=True, text=True)
    assert ran.stdout == "() []\n"


def test_the_servers_wiring_loads_nothing_of_it_either() -> None:
    """All that `authz serve` imports at its start leaves OpenTelemetry alone."""
    code = "import sys, authz.wiring.server; print([name for name in sys.modules if name.startswith('opentelemetry')])"
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=ROOT, env={"PATH": "/usr/bin"}, check=True, capture_output=True, text=True)
    assert ran.stdout == "[]\n"


def test_a_disabled_sdk_is_no_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SDK_DISABLED wins over every other variable."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    assert isinstance(make_telemetry("authz", "1"), NoTelemetry)


def test_what_the_sdk_refuses_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that only the SDK looks at is refused with its own words, not with a traceback later."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")
    with pytest.raises(Unusable, match="could not convert string to float: 'soon'"):
        make_telemetry("authz", "1")
