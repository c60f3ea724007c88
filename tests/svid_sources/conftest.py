"""Workload APIs to hold the contract against. Another implementation is one more parameter of `agent`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from authz.demo.workload_api import DevelopmentWorkloadApi
from tests.support.workload_api import Agent, development_agent


@pytest.fixture
def api(tmp_path: Path) -> Iterator[DevelopmentWorkloadApi]:
    """The development Workload API, with its levers."""
    with development_agent(tmp_path) as (served, _):
        yield served


@pytest.fixture(params=["development"])
def agent(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Agent]:
    """Whoever serves a Workload API, seen from outside."""
    assert request.param == "development"
    with development_agent(tmp_path) as (_, seen):
        yield seen
