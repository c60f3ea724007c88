"""Copy Envoy's external authorization protos from local checkouts, without their annotations.

In: a checkout of envoyproxy/data-plane-api and one of cncf/xds. Out: the files below this folder.
The annotations (validate, udpa, xds) do not change what is on the wire; leaving them out spares the seven
files that define them, and their Python packages. Names, numbers and comments stay as they are.

    python proto/vendor.py PATH/TO/data-plane-api PATH/TO/xds
"""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
ENVOY = (
    "envoy/config/core/v3/address.proto",
    "envoy/config/core/v3/backoff.proto",
    "envoy/config/core/v3/base.proto",
    "envoy/config/core/v3/extension.proto",
    "envoy/config/core/v3/http_uri.proto",
    "envoy/config/core/v3/socket_option.proto",
    "envoy/service/auth/v3/attribute_context.proto",
    "envoy/service/auth/v3/external_auth.proto",
    "envoy/type/v3/http_status.proto",
    "envoy/type/v3/percent.proto",
    "envoy/type/v3/semantic_version.proto",
)
XDS = ("xds/core/v3/context_params.proto",)

_IMPORT = re.compile(r'^import "(?:validate|udpa|envoy/annotations|xds/annotations)/[^"]*";\n', re.MULTILINE)
_OPTION = re.compile(r"^ *option \((?:udpa|validate|xds|envoy)\.[^;]*;\n", re.MULTILINE)
_REQUIRED_ONEOF = re.compile(r"^ *option \(validate\.required\) = true;\n", re.MULTILINE)
_FIELD_OPTIONS = re.compile(r"\s*\[((?:[^\[\]\"]|\"(?:[^\"\\]|\\.)*\")*)\];", re.DOTALL)


def without_annotations(text: str) -> str:
    """The proto text with annotation imports, options and field options removed; `deprecated` is kept."""

    def kept(options: re.Match[str]) -> str:
        if "(" not in options[1]:
            return options[0]
        return " [deprecated = true];" if re.search(r"\bdeprecated = true", options[1]) else ";"

    for pattern in (_IMPORT, _REQUIRED_ONEOF, _OPTION):
        text = pattern.sub("", text)
    return re.sub(r"\n{3,}", "\n\n", _FIELD_OPTIONS.sub(kept, text))


def main(envoy_checkout: Path, xds_checkout: Path) -> None:
    """Copy every file of the closure."""
    for checkout, names in ((envoy_checkout, ENVOY), (xds_checkout, XDS)):
        for name in names:
            target = HERE / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(without_annotations((checkout / name).read_text()))
            print(target.relative_to(HERE))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
