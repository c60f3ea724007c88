"""A file of digests in, as `sha256sum` writes it, and what the policy files differ in out.

A file that was cut short can still be valid Cedar, and permit more than it did whole. Where a digest of every file is
known, no such set is ever loaded.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from authz.core.errors import Place, Problem, Unusable
from authz.documents import read

_LINE = re.compile(r"([0-9a-f]{64}) [ *](?:\./)?([^/]+)")
_REMEDY = "Write it anew when the policies are whole: sha256sum *.cedar, or *.rego data.json."


def mismatches(digests_file: Path, found: Mapping[Path, str]) -> Iterator[Problem]:
    """Each way in which the files that were found, with their SHA-256, are not those that are listed."""
    try:
        listed = _listed(digests_file)
    except Unusable as unusable:
        yield from unusable.problems
        return
    for path, digest in found.items():
        if path.name not in listed:
            yield Problem(Place(path), f"is not listed in {digests_file}", _REMEDY)
        elif listed[path.name] != digest:
            yield Problem(Place(path), f"is not the file that {digests_file} lists: its SHA-256 is {digest}", _REMEDY)
    for name in sorted(listed.keys() - {path.name for path in found}):
        yield Problem(Place(digests_file), f"lists {name}, which could not be read or is not there", _REMEDY)


def _listed(file: Path) -> dict[str, str]:
    """Digests by name; raises Unusable."""
    listed: dict[str, str] = {}
    for number, line in enumerate(read(file).splitlines(), start=1):
        matched = _LINE.fullmatch(line)
        if matched is None or matched[2] in listed:
            what = "names a file twice" if matched else "is no line of sha256sum"
            raise Unusable(Problem(Place(file, number, 1), what, _REMEDY))
        listed[matched[2]] = matched[1]
    return listed
