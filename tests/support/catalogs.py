"""Catalogs as an operator writes them, read through the product, and requests to hold against them."""

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from authz.catalog.file import load_catalog
from authz.catalog.http import HttpCatalog
from authz.core.request import Request

HOST = "crm.example.org"

Entry = dict[str, object]


def entry(path: str, **changes: object) -> Entry:
    """A route of the catalog file: a GET that reads internal contacts, or as changed."""
    plain = {"action": "crm.read", "class": "read", "method": "GET", "dataset": "crm", "sensitivity": "internal"}
    return {**plain, "path": path, **changes}


def catalog_of(*entries: Entry, hosts: Iterable[str] = (HOST,)) -> HttpCatalog:
    """The catalog of one service with these routes; raises Unusable."""
    return read_catalog(json.dumps({"services": {"crm": {"hosts": list(hosts), "routes": entries}}}))


def read_catalog(text: str | bytes) -> HttpCatalog:
    """The catalog in a file with this content; raises Unusable."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "catalog.yaml"
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return load_catalog(file)


def request(
    path: str, *, method: str = "GET", host: str = HOST, headers: Mapping[str, tuple[str, ...]] | None = None
) -> Request:
    """A hop as Envoy describes it; only what a catalog looks at differs."""
    return Request(method, host, path, headers or {}, "", "", "127.0.0.1:40000")
