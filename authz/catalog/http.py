"""HTTP requests in, hops out: strict readings of method, host and path, and a walk down the tree of a service's routes.

Where several routes match, the most specific is meant: wherever it differs from another, it has the literal segment.
Routes of which neither is the more specific are not accepted together, so there is never a choice.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Generic, Protocol, TypeVar

from authz.catalog.hosts import read_host
from authz.catalog.paths import Template, read_path, resemblance, text_of
from authz.core.errors import Refused
from authz.core.hop import Hop, Operation
from authz.core.reasons import Reason
from authz.core.request import Request

_MAX_REMEMBERED = 4096
_MAX_REMEMBERED_CHARACTERS = 512
_METHOD = re.compile(r"[A-Z]{1,20}")


def _spellings(header: str) -> Iterator[str]:
    """The header's name and all that a CGI or WSGI upstream takes for it: those upstreams read `_` and `-` alike."""
    return map("".join, product(*(("-", "_") if each == "-" else each for each in header)))


# Headers by which frameworks let a client replace the method or the path that the request line shows.
_OVERRIDES: Mapping[str, Reason] = {
    spelling: reason
    for reason, headers in (
        (Reason.METHOD_AMBIGUOUS, ("x-http-method-override", "x-http-method", "x-method-override")),
        (Reason.PATH_AMBIGUOUS, ("x-original-url", "x-rewrite-url")),
    )
    for header in headers
    for spelling in _spellings(header)
}


class Overlap(Exception):
    """A route may not stand beside another: a path could match both, and neither is the more specific."""

    def __init__(self, resource: str) -> None:
        super().__init__(resource)
        self.resource = resource


class Named(Protocol):
    """What a route leads to."""

    @property
    def resource(self) -> str:
        """Its name for people, unique in the catalog."""
        ...


class Meaning(Named, Protocol):
    """What the requests of one method and shape of path are: one operation, or the messages of a protocol."""

    @property
    def reads_more_than_target(self) -> bool:
        """Whether headers or the body count too; else requests of one method, host and path are one hop."""
        ...

    def read(self, request: Request, parameters: Mapping[str, str]) -> Hop:
        """The hop that the request is, whose path has these parameters; raises Refused."""
        ...


_M = TypeVar("_M", bound=Named)


@dataclass(frozen=True, slots=True)
class Route(Generic[_M]):
    """A template and what its paths mean."""

    template: Template
    meaning: _M


@dataclass(slots=True)
class _Node(Generic[_M]):
    """A place in the tree: what may follow, and the routes that end here, without (False) and with (True) a slash."""

    literals: dict[str, "_Node[_M]"] = field(default_factory=dict)
    resemblances: set[str] = field(default_factory=set)  # those of the literals
    parameter: "_Node[_M] | None" = None
    routes: dict[bool, Route[_M]] = field(default_factory=dict)

    def below(self, literal: str | None) -> "_Node[_M]":
        """The node behind a template's segment, made if need be."""
        if literal is None:
            self.parameter = self.parameter or _Node()
            return self.parameter
        self.resemblances.add(resemblance(literal))
        return self.literals.setdefault(literal, _Node())


@dataclass(frozen=True, slots=True)
class Routes(Generic[_M]):
    """The routes of one service, as a tree of segments for each method."""

    roots: dict[str, _Node[_M]] = field(default_factory=dict)

    def add(self, method: str, route: Route[_M]) -> None:
        """Take in a route; raises Overlap."""
        node = self.roots.setdefault(method, _Node())
        if other := _overlapping(node, route.template):
            raise Overlap(other.meaning.resource)
        for literal in route.template.literals:
            node = node.below(literal)
        node.routes[route.template.ends_with_slash] = route

    def find(self, method: str, segments: list[str]) -> Route[_M] | None:
        """The most specific route for a path from `read_path`.

        Raises Refused where there is one, but a lenient upstream could read the path as another route's.
        """
        ends_with_slash = not segments[-1]
        front = [self.roots[method]] if method in self.roots else []
        alike = False  # a lenient upstream could be on a way that we do not follow
        for segment in segments[:-1] if ends_with_slash else segments:
            following = []
            for node in front:
                if segment in node.literals:
                    following.append(node.literals[segment])
                elif node.resemblances and resemblance(segment) in node.resemblances:
                    alike = True
                if node.parameter is not None:
                    following.append(node.parameter)
            if not following:
                return None
            front = following
        # Ways with literals come first, and of two routes that match, one has literals wherever they differ.
        for node in front:
            if ends_with_slash in node.routes:
                if alike:
                    detail = f"/{'/'.join(segments)[:200]} resembles a path of another route"
                    raise Refused(Reason.PATH_AMBIGUOUS, detail)
                return node.routes[ends_with_slash]
            alike = alike or bool(node.routes)
        return None


def _overlapping(root: _Node[_M], template: Template) -> Route[_M] | None:
    """A route already there that the template may not stand beside.

    Upstreams differ in whether a slash at the end means anything: it is not enough to keep two routes apart, unless
    it is their only difference.
    """
    front = [(root, False, False)]  # whether, so far, the template has been the more specific one, and the less
    for literal in template.literals:
        following = []
        for node, more, less in front:
            if literal is None:
                following += [(child, more, True) for child in node.literals.values()]
            elif literal in node.literals:
                following.append((node.literals[literal], more, less))
            if node.parameter is not None:
                following.append((node.parameter, more or literal is not None, less))
        front = following
    for node, more, less in front:
        if more and less and node.routes:
            return next(iter(node.routes.values()))
        if not more and not less and template.ends_with_slash in node.routes:
            return node.routes[template.ends_with_slash]
    return None


@dataclass(frozen=True, slots=True)
class HttpCatalog:
    """What requests mean: a snapshot, replaced as a whole. `version` is the digest of the file it was read from.

    Whatever protocol it is, all travels as HTTP, so the route is looked up first, and then asked what the request is.
    """

    version: str
    operations: tuple[Operation, ...]
    routes_by_host: Mapping[str, Routes[Meaning]]
    argument_types: Mapping[str, type] = field(default_factory=dict)  # of hops' arguments, by name
    required_arguments: Mapping[str, frozenset[str]] = field(default_factory=dict)  # that each hop has, by resource
    _hops: dict[tuple[str, str, str], Hop] = field(default_factory=dict, init=False, repr=False, compare=False)

    def classify(self, request: Request) -> Hop:
        """The one operation that the request is; raises Refused where there is none, or more than one reading."""
        _must_not_override(request)
        return self._hops.get((request.method, request.host, request.path)) or self._read(request)

    def _read(self, request: Request) -> Hop:
        method, host, segments = _read_method(request.method), read_host(request.host), read_path(request.path)
        routes = self.routes_by_host.get(host)
        route = routes.find(method, segments) if routes else None
        if route is None:
            lacking = "no such route" if routes else "no such host"
            raise Refused(Reason.ACTION_UNKNOWN, f"{lacking}: {method} {host} {request.path_without_query[:200]}")
        parameters = {name: text_of(segments[index]) for index, name in route.template.parameters}
        hop = route.meaning.read(request, parameters)
        if not route.meaning.reads_more_than_target and len(request.path) <= _MAX_REMEMBERED_CHARACTERS:
            if len(self._hops) >= _MAX_REMEMBERED:
                self._hops.clear()
            self._hops[request.method, request.host, request.path] = hop
        return hop


def _read_method(method: str) -> str:
    if not _METHOD.fullmatch(method):
        raise Refused(Reason.METHOD_AMBIGUOUS, f"{method[:200]!r} is not of 1 to 20 capital letters")
    return method


def _must_not_override(request: Request) -> None:
    # Present is enough: whether an upstream obeys such a header, and an empty one, is not for us to guess.
    if not _OVERRIDES.keys().isdisjoint(request.headers):
        header = next(each for each in request.headers if each in _OVERRIDES)
        raise Refused(_OVERRIDES[header], f"the header {header} could replace what the request line says")
