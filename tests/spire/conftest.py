"""Tests with real SPIRE run where they are asked for (`make test-spire`): they take minutes, and a build of SPIRE."""

from collections.abc import Iterator

import pytest

from authz.demo.spire_mesh import SpireMesh
from tests.support.spire import need_spire, spire_agent
from tests.support.workload_api import Agent


@pytest.fixture(scope="module")
def mesh() -> Iterator[SpireMesh]:
    """A running mesh over SPIRE."""
    need_spire()
    with SpireMesh() as running:
        yield running


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    """A SPIRE agent, as the contract of Workload APIs sees it."""
    need_spire()
    with spire_agent() as served:
        yield served
