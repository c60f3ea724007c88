"""Compile the vendored protos into the private package `authz.wire.pb`.

In: the `.proto` files beside this script. Out: `authz/wire/pb`, replaced whole. Generated imports are rewritten
to the private package, so that another package's top-level `envoy` can never be taken for ours.

    make proto
"""

import re
import shutil
import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).parent
OUT = HERE.parent / "authz" / "wire" / "pb"
PRIVATE = "authz.wire.pb"

_IMPORT = re.compile(r"^(from|import) (envoy|xds)\b", re.MULTILINE)


def main() -> int:
    """Compile; the exit status is protoc's."""
    sources = sorted(str(path.relative_to(HERE)) for path in HERE.rglob("*.proto"))
    rpc_status = Path(str(files("google.rpc") / "status.proto")).parents[2]  # googleapis-common-protos
    well_known = files("grpc_tools") / "_proto"
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    includes = [f"-I{path}" for path in (HERE, rpc_status, well_known)]
    if status := protoc.main(["protoc", *includes, f"--python_out={OUT}", f"--pyi_out={OUT}", *sources]):
        return int(status)
    for path in [*OUT.rglob("*.py"), *OUT.rglob("*.pyi")]:
        path.write_text(_IMPORT.sub(rf"\1 {PRIVATE}.\2", path.read_text()))
    for folder in [OUT, *(path for path in OUT.rglob("*") if path.is_dir())]:
        (folder / "__init__.py").write_text("")
    print(f"{len(sources)} protos compiled into {PRIVATE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
