"""The generated protobuf code is what the protos generate."""

import itertools
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("wire", "api")


def test_the_generated_code_is_fresh(tmp_path: Path) -> None:
    """`make proto` changes nothing: what is committed comes from the protos beside it, unedited."""
    copy = tmp_path / "proto"
    subprocess.run(["cp", "-r", ROOT / "proto", copy], check=True)  # noqa: S607  cp is where it always is
    for room in ROOMS:
        (tmp_path / "authz" / room).mkdir(parents=True)
    subprocess.run([sys.executable, copy / "generate.py"], check=True, capture_output=True)
    for room, suffix in itertools.product(ROOMS, ("*.py", "*.pyi")):
        committed, made = (_texts(root / "authz" / room / "pb", suffix) for root in (ROOT, tmp_path))
        assert committed == made
        assert committed


def _texts(folder: Path, suffix: str) -> dict[Path, str]:
    return {path.relative_to(folder): path.read_text() for path in folder.rglob(suffix)}
