"""Compile the protos: Envoy's, vendored, into `authz.wire.pb`, and our own into `authz.api.pb`.

In: the `.proto` files beside this script. Out: both packages, replaced whole. Generated imports are rewritten to the
private packages, so that another package's top-level `envoy` can never be taken for ours.

    make proto
"""

import re
import shutil
import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).parent
PACKAGE = HERE.parent / "authz"
OURS = "authz/"

_IMPORT = re.compile(r"^(from|import) (envoy|xds)\b", re.MULTILINE)


def main() -> int:
    """Compile; the exit status is protoc's."""
    sources = sorted(str(path.relative_to(HERE)) for path in HERE.rglob("*.proto"))
    ours = [source for source in sources if source.startswith(OURS)]
    return _compile([source for source in sources if source not in ours], "wire") or _compile(ours, "api")


def _compile(sources: list[str], room: str) -> int:
    out, private = PACKAGE / room / "pb", f"authz.{room}.pb"
    rpc_status = Path(str(files("google.rpc") / "status.proto")).parents[2]  # googleapis-common-protos
    well_known = files("grpc_tools") / "_proto"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    includes = [f"-I{path}" for path in (HERE, rpc_status, well_known)]
    if status := protoc.main(["protoc", *includes, f"--python_out={out}", f"--pyi_out={out}", *sources]):
        return int(status)
    for path in [*out.rglob("*.py"), *out.rglob("*.pyi")]:
        path.write_text(_IMPORT.sub(rf"\1 {private}.\2", path.read_text()))
    for folder in [out, *(path for path in out.rglob("*") if path.is_dir())]:
        (folder / "__init__.py").write_text("")
    print(f"{len(sources)} protos compiled into {private}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
