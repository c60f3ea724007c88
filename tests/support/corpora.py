"""Test material that nobody here wrote: found beside the project, or where AUTHZ_CORPORA points."""

import os
from pathlib import Path

import pytest

_PROJECT = Path(__file__).parents[2]


def folder(name: str) -> Path:
    """The corpus folder of that name; skips the test, with the reason, where it is absent."""
    root = Path(os.environ.get("AUTHZ_CORPORA") or _PROJECT.parent / "shared" / "corpora")
    if not (root / name).is_dir():
        pytest.skip(f"the corpus {name!r} is not in {root} (set AUTHZ_CORPORA)")
    return root / name
