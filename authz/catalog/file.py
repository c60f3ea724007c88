"""An operator's `catalog.yaml` in, `HttpCatalog` out, or every problem with its file, line and remedy.

The file describes services: their hosts, what they speak there, and what each kind of attempt does, and to which data.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from authz.catalog.assembly import Assembly
from authz.catalog.http import HttpCatalog
from authz.catalog.sections import CatalogDocument
from authz.core.errors import Place, Unusable
from authz.documents import Places, parse, read_bytes


@dataclass(frozen=True, slots=True)
class Unset:
    """An entry of a draft that is not filled in: where it stands, and what it is of."""

    place: Place
    resource: str


def load_catalog(file: Path) -> HttpCatalog:
    """The catalog in `file`; raises Unusable with all that is wrong with it. Its version is the SHA-256 of the file."""
    return load_with_unset(file)[0]


def load_with_unset(file: Path) -> tuple[HttpCatalog, list[Unset]]:
    """The catalog in `file`, and the entries whose requests it denies until they are filled in; raises Unusable."""
    content = read_bytes(file)
    assembly = Assembly()
    for name, service in parse(file, content, CatalogDocument).services.items():
        assembly.add(name, service)
    places = Places.read(file, content) if assembly.faults or assembly.unset else Places(file, None)
    if assembly.faults:
        raise Unusable(*(fault.problem(places) for fault in assembly.faults))
    catalog = HttpCatalog(
        version=hashlib.sha256(content).hexdigest(),
        operations=tuple(dict.fromkeys(assembly.operations)),
        routes_by_host=assembly.routes_by_host,
        argument_types=assembly.argument_types,
        required_arguments=assembly.required_arguments,
    )
    return catalog, [Unset(places.of(location), resource) for location, resource in assembly.unset]
