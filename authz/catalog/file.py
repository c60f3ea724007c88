"""An operator's `catalog.yaml` in, `HttpCatalog` out, or every problem with its file, line and remedy.

The file describes services: their hosts, and the routes that say what a method and a path do, and to which data.
"""

import hashlib
import re
from collections.abc import Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from authz.catalog.http import HttpCatalog, Overlap, Route, Routes, read_host
from authz.catalog.paths import NotATemplate, Template
from authz.core.errors import Problem, Refused, Unusable
from authz.core.hop import ActionClass, Operation, Sensitivity
from authz.documents import Document, Places, parse, read_bytes

MAX_NAME_CHARACTERS = 200

_WORD = r"[a-z0-9][a-z0-9_-]*"
_S = TypeVar("_S", bound=Sized)
_Location = tuple[str | int, ...]


def _form(pattern: str, sentence: str) -> AfterValidator:
    """The validator of texts that match the whole pattern; `sentence` tells an operator what they look like."""
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if len(text) > MAX_NAME_CHARACTERS or not compiled.fullmatch(text):
            raise PydanticCustomError("form", "{sentence}", {"sentence": sentence})
        return text

    return AfterValidator(check)


def _not_empty(values: _S) -> _S:
    if not values:
        raise PydanticCustomError("empty", "at least one is needed")
    return values


def _classes(value: object) -> object:
    if not isinstance(value, str | list):
        raise PydanticCustomError("classes", "an action class, or a list of them, is needed")
    return [value] if isinstance(value, str) else value


def _host(text: str) -> str:
    sentence = "a host is one DNS name in lower case, without port and wildcard"
    try:
        host = read_host(text)
    except Refused as error:
        raise PydanticCustomError("host", sentence) from error
    if host != text:
        raise PydanticCustomError("host", sentence)
    return text


def _path(text: str) -> str:
    try:
        return Template.parse(text).text
    except NotATemplate as error:
        raise PydanticCustomError("path", "{why}", {"why": str(error)}) from error


_WORDS = f"lower-case letters, digits, - and _, of at most {MAX_NAME_CHARACTERS} characters"
_Service = Annotated[str, _form(_WORD, f"a service's name is a word of {_WORDS}")]
_Action = Annotated[str, _form(rf"{_WORD}(?:\.{_WORD})+", f"an action's name is two or more dotted words of {_WORDS}")]
_Dataset = Annotated[str, _form(rf"{_WORD}(?:\.{_WORD})*", f"a dataset's name is dotted words of {_WORDS}")]
_Method = Annotated[str, _form(r"[A-Z]{1,20}", "a method is 1 to 20 capital letters")]
_Host = Annotated[str, AfterValidator(_host)]
_Path = Annotated[str, AfterValidator(_path)]


class RouteEntry(Document):
    """What requests of one method and shape of path do."""

    action: _Action
    classes: Annotated[list[ActionClass], BeforeValidator(_classes), AfterValidator(_not_empty), Field(alias="class")]
    method: _Method
    path: _Path
    dataset: _Dataset
    sensitivity: Literal["public", "internal", "confidential", "restricted"]


class ServiceEntry(Document):
    """A service: the hosts that it answers to, and its routes."""

    hosts: Annotated[list[_Host], AfterValidator(_not_empty)]
    routes: Annotated[list[RouteEntry], AfterValidator(_not_empty)]


class CatalogEntry(Document):
    """The whole catalog."""

    services: Annotated[dict[_Service, ServiceEntry], AfterValidator(_not_empty)]


def load_catalog(file: Path) -> HttpCatalog:
    """The catalog in `file`; raises Unusable with all that is wrong with it. Its version is the SHA-256 of the file."""
    content = read_bytes(file)
    assembly = _Assembly()
    for name, service in parse(file, content, CatalogEntry).services.items():
        assembly.add(name, service)
    if assembly.faults:
        places = Places.read(file, content)
        raise Unusable(*(fault.problem(places) for fault in assembly.faults))
    version = hashlib.sha256(content).hexdigest()
    return HttpCatalog(version, tuple(assembly.operations), assembly.routes_by_host)


@dataclass(frozen=True, slots=True)
class _Fault:
    """What is wrong at one location because of what stands at another."""

    location: _Location
    what: str
    other: _Location
    remedy: str

    def problem(self, places: Places) -> Problem:
        """The fault with its places."""
        return Problem(places.of(self.location), f"{self.what} (line {places.of(self.other).line})", self.remedy)


@dataclass(slots=True)
class _Assembly:
    """A catalog in the making, and what contradicts itself in it."""

    operations: list[Operation] = field(default_factory=list)
    routes_by_host: dict[str, Routes] = field(default_factory=dict)
    faults: list[_Fault] = field(default_factory=list)
    _hosts: dict[str, _Location] = field(default_factory=dict)
    _actions: dict[str, tuple[frozenset[ActionClass], _Location]] = field(default_factory=dict)

    def add(self, name: str, service: ServiceEntry) -> None:
        """Take in one service."""
        here = ("services", name)
        routes = Routes()
        for index, host in enumerate(service.hosts):
            location = (*here, "hosts", index)
            first = self._hosts.setdefault(host, location)
            if first != location:
                self._fault(location, f"the host {host} is given twice", first, "Give each host to one service, once.")
            self.routes_by_host[host] = routes
        locations: dict[str, _Location] = {}
        for index, entry in enumerate(service.routes):
            operation = _operation(name, service.hosts[0], entry)
            location = (*here, "routes", index)
            self._must_be_of_the_same_classes(operation, (*location, "class"))
            try:
                routes.add(entry.method, Route(Template.parse(entry.path), operation))
            except Overlap as overlap:
                other = overlap.other.operation.resource
                what = f"a path could match both this template and that of {other}, and neither is the more specific"
                remedy = "Remove one, or make one the more specific wherever they differ."
                self._fault((*location, "path"), what, locations[other], remedy)
            else:
                locations[operation.resource] = (*location, "path")
                self.operations.append(operation)

    def _must_be_of_the_same_classes(self, operation: Operation, location: _Location) -> None:
        classes, first = self._actions.setdefault(operation.action, (operation.classes, location))
        if operation.classes != classes:
            what = f"the action {operation.action} is of other classes than before"
            self._fault(location, what, first, "Name the classes alike, or name another action.")

    def _fault(self, location: _Location, what: str, other: _Location, remedy: str) -> None:
        self.faults.append(_Fault(location, what, other, remedy))


def _operation(service: str, host: str, entry: RouteEntry) -> Operation:
    return Operation(
        action=entry.action,
        classes=frozenset(entry.classes),
        resource=f"{entry.method} {host}{entry.path}",
        service=service,
        dataset=entry.dataset,
        sensitivity=Sensitivity[entry.sensitivity.upper()],
    )
