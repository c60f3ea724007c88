"""The generated protobuf code is what the vendored protos generate."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
GENERATED = ROOT / "authz" / "wire" / "pb"


def test_the_generated_code_is_fresh(tmp_path: Path) -> None:
    """`make proto` changes nothing: what is committed comes from the protos beside it, unedited."""
    copy = tmp_path / "proto"
    subprocess.run(["cp", "-r", ROOT / "proto", copy], check=True)  # noqa: S607  cp is where it always is
    (tmp_path / "authz" / "wire").mkdir(parents=True)
    subprocess.run([sys.executable, copy / "generate.py"], check=True, capture_output=True)
    fresh = tmp_path / "authz" / "wire" / "pb"
    for suffix in ("*.py", "*.pyi"):
        committed = {path.relative_to(GENERATED): path.read_text() for path in GENERATED.rglob(suffix)}
        made = {path.relative_to(fresh): path.read_text() for path in fresh.rglob(suffix)}
        assert committed == made
        assert committed
