"""What every test may ask for, and how Hypothesis runs: without time limits, because machines are shared."""

import pytest
from hypothesis import HealthCheck, settings

# What a test finds out through them is shown as if it were its own.
pytest.register_assert_rewrite("tests.support")

settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
