"""What the tests of this room may ask for."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all random policy sets: each overwrites the one before."""
    return tmp_path_factory.mktemp("policies")
