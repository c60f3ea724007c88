"""A catalog on its own, for the command line: read, tried with a request, drafted."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from authz.catalog.drafts import draft_from_mcp, draft_from_openapi
from authz.catalog.file import Unset, load_with_unset
from authz.core.errors import Refused
from authz.core.hop import Hop, Operation
from authz.core.request import NO_BODY, Body, Request

__all__ = ["Attempt", "Unset", "classify", "draft_from_mcp", "draft_from_openapi", "look_at", "request_of", "shown"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request as a person describes it: headers are `name: value`."""

    method: str
    host: str
    path: str
    headers: tuple[str, ...] = ()
    body: bytes | None = None

    @classmethod
    def at(cls, method: str, url: str, headers: tuple[str, ...] = (), body: bytes | None = None) -> Self:
        """The attempt at a URL, with or without its scheme, such as `crm.example.org/contacts/42`."""
        host, slash, rest = url.removeprefix("https://").removeprefix("http://").partition("/")
        return cls(method, host, slash + rest, headers, body)


def look_at(file: Path) -> tuple[tuple[Operation, ...], list[Unset], str]:
    """The operations of the catalog, its entries that are not filled in, and its version; raises Unusable."""
    catalog, unset = load_with_unset(file)
    return catalog.operations, unset, catalog.version


def request_of(attempt: Attempt) -> Request:
    """The attempt as Envoy would describe it. With a body it is JSON unless a header says otherwise."""
    headers: dict[str, tuple[str, ...]] = {}
    for line in attempt.headers:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = (*headers.get(name.strip().lower(), ()), value.strip())
    body = NO_BODY
    if attempt.body is not None:
        body = Body(attempt.body, len(attempt.body) or None, is_declared_whole=True)
        headers.setdefault("content-type", ("application/json",))
    return Request(attempt.method, attempt.host, attempt.path, headers, "", "", "", body)


def classify(file: Path, attempt: Attempt) -> Hop | Refused:
    """What the catalog takes the request for, or why for nothing; raises Unusable."""
    try:
        return load_with_unset(file)[0].classify(request_of(attempt))
    except Refused as refused:
        return refused


def shown(hop: Hop) -> dict[str, object]:
    """The hop as names and values that JSON can hold."""
    operation = hop.operation
    arguments = {
        name: sorted(value) if isinstance(value, frozenset) else value for name, value in hop.arguments.items()
    }
    found: dict[str, object] = {
        "action": operation.action,
        "classes": sorted(map(str, operation.classes)),
        "resource": operation.resource,
        "service": operation.service,
        "dataset": operation.dataset,
        "sensitivity": str(operation.sensitivity),
        "privileged": operation.is_privileged,
        "untrusted_input": operation.brings_untrusted_input,
        "parameters": dict(hop.parameters),
        "arguments": arguments,
        "arguments_digest": hop.arguments_digest,
    }
    return found
