"""What every test may ask for, and how Hypothesis runs: without time limits, because machines are shared."""

from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# What a test finds out through them is shown as if it were its own.
pytest.register_assert_rewrite("tests.support")

settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Reports go from one process to another as UTF-8, which lone surrogates of hostile texts are not."""
    return _sendable((yield))


def _sendable(part: Any) -> Any:  # noqa: ANN401  any part of a report
    if isinstance(part, str):
        return part.encode("utf-8", "backslashreplace").decode()
    if isinstance(part, dict):
        return {_sendable(key): _sendable(value) for key, value in part.items()}
    return type(part)(map(_sendable, part)) if type(part) in (list, tuple) else part
