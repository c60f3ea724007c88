"""What the tests of the demo share."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from authz.demo import tools
from authz.demo.tools import Tool
from tests.support.envoy import SERVICE_ID, Place, Yard, yard

__all__ = ["yard"]


@pytest.fixture(scope="module")
def shared(yard: Yard) -> Iterator[Place]:
    """One place for the whole module."""
    with Tool("hr", tools.hr) as service:
        yield Place(yard, service)


@pytest.fixture
def place(shared: Place) -> Place:
    """The place as if it were new."""
    shared.begin()
    return shared


@pytest.fixture
def folder_with_svid(yard: Yard, tmp_path: Path) -> Path:
    """A folder as envoy.yaml expects it: the sidecar's SVID and bundle under tls/."""
    (tmp_path / "tls").mkdir()
    yard.ca.mint(SERVICE_ID).write(tmp_path / "tls", "svid")
    shutil.copy(yard.bundle_file, tmp_path / "tls" / "bundle.pem")
    return tmp_path
