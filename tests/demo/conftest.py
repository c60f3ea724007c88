"""What the tests of the demo share."""

import shutil
from pathlib import Path

import pytest

from tests.support.envoy import SERVICE_ID, Yard, yard

__all__ = ["yard"]


@pytest.fixture
def folder_with_svid(yard: Yard, tmp_path: Path) -> Path:
    """A folder as envoy.yaml expects it: the sidecar's SVID and bundle under tls/."""
    (tmp_path / "tls").mkdir()
    yard.ca.mint(SERVICE_ID).write(tmp_path / "tls", "svid")
    shutil.copy(yard.bundle_file, tmp_path / "tls" / "bundle.pem")
    return tmp_path
