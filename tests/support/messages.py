"""Requests with bodies, as Envoy passes them on, and the catalog that gives them a meaning."""

import json
from collections.abc import Mapping
from typing import Any

from authz.catalog.http import HttpCatalog
from authz.core.request import Body, Request
from tests.support.catalogs import HOST, read_catalog

JSON_TYPE = {"content-type": ("application/json",)}
ATTEMPT = {"class": "read", "dataset": "crm", "sensitivity": "internal"}


def attempt(action: str, **changes: object) -> dict[str, object]:
    """An entry that reads internal data of the CRM, or as changed."""
    return {"action": action, **ATTEMPT, **changes}


def service_of(**sections: object) -> HttpCatalog:
    """The catalog of one service with these sections; raises Unusable."""
    return read_catalog(json.dumps({"services": {"crm": {"hosts": [HOST], **sections}}}))


def post(
    path: str,
    body: Any,  # noqa: ANN401  any JSON, or the very bytes
    headers: Mapping[str, tuple[str, ...]] | None = None,
    *,
    method: str = "POST",
) -> Request:
    """A request with that body, whole, of the type of JSON unless the headers say otherwise."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    whole = Body(content, len(content) or None, is_declared_whole=True)
    return Request(method, HOST, path, {**JSON_TYPE, **(headers or {})}, "", "", "127.0.0.1:40000", whole)
