"""What tests of task stores may ask for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tasks.nodes import OpenNode, quick_folder
from tests.tasks.shared_stores import STORES


@pytest.fixture(params=STORES)
def open_node(request: pytest.FixtureRequest) -> Iterator[OpenNode]:
    """Opens nodes on one new store, of each kind in turn."""
    with quick_folder() as folder, STORES[request.param](folder) as opener:
        yield opener


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a SQLite file may be made, on a real disk."""
    return tmp_path / "tasks.db"
