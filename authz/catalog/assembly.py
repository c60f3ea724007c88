"""The sections of a catalog in, its routes and operations out, and what contradicts itself in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from authz.catalog.a2a import REST, A2aEndpoint, A2aRestRoute
from authz.catalog.entry import ArgumentOf, Choice, Entry, Pointer
from authz.catalog.http import Meaning, Overlap, Route, Routes
from authz.catalog.kinds import KINDS, TYPES
from authz.catalog.mcp import SESSION_METHODS, McpEndpoint, McpTool
from authz.catalog.paths import NotATemplate, Template
from authz.catalog.plain import PlainRoute
from authz.catalog.sections import (
    A2aSection,
    AttemptEntry,
    GraphqlSection,
    McpSection,
    RouteEntry,
    ServiceSection,
)
from authz.catalog.uris import ResourceUris
from authz.core.demand import ARGUMENTS as RESERVED
from authz.core.errors import Problem
from authz.core.hop import ActionClass, Operation, Sensitivity
from authz.documents import Places

Location = tuple[str | int, ...]

AGENT_CARDS = ("/.well-known/agent-card.json", "/.well-known/agent.json")  # A2A 1.0 and 0.3; 0.2


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong at one location, perhaps because of what stands at another."""

    location: Location
    what: str
    remedy: str
    other: Location | None = None

    def problem(self, places: Places) -> Problem:
        """The fault with its places."""
        beside = f" (line {places.of(self.other).line})" if self.other is not None else ""
        return Problem(places.of(self.location), self.what + beside, self.remedy)


@dataclass(slots=True)
class Assembly:
    """A catalog in the making."""

    operations: list[Operation] = field(default_factory=list)
    routes_by_host: dict[str, Routes[Meaning]] = field(default_factory=dict)
    argument_types: dict[str, type] = field(default_factory=dict)
    required_arguments: dict[str, frozenset[str]] = field(default_factory=dict)
    unset: list[tuple[Location, str]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    _hosts: dict[str, Location] = field(default_factory=dict)
    _actions: dict[str, tuple[frozenset[ActionClass], Location]] = field(default_factory=dict)
    _kinds: dict[str, Location] = field(default_factory=dict)

    def add(self, name: str, service: ServiceSection) -> None:
        """Take in one service."""
        here: Location = ("services", name)
        routes: Routes[Meaning] = Routes()
        for index, host in enumerate(service.hosts):
            location = (*here, "hosts", index)
            first = self._hosts.setdefault(host, location)
            if first != location:
                self.fault(location, f"the host {host} is given twice", "Give each host to one service, once.", first)
            self.routes_by_host[host] = routes
        _ServiceAssembly(self, name, service.hosts[0], routes).add(here, service)

    def entry(self, service: str, resource: str, attempt: AttemptEntry, location: Location) -> Entry:
        """The entry that the section describes; what is wrong with it is kept."""
        classes = frozenset(attempt.classes)
        arguments = tuple(
            ArgumentOf(name, tuple(map(Pointer.parse, each.at)), each.kind, KINDS[each.kind], each.optional)
            for name, each in attempt.arguments.items()
        )
        self._must_agree_on_arguments(attempt, location)
        if attempt.is_unset:
            self.unset.append((location, resource))
            return Entry(resource, None, arguments)
        first_classes, first = self._actions.setdefault(attempt.action, (classes, (*location, "class")))
        if first_classes != classes:
            what = f"the action {attempt.action} is of other classes than before"
            self.fault((*location, "class"), what, "Name the classes alike, or name another action.", first)

        def operation(dataset: str, sensitivity: Sensitivity, resource: str, *, privileged: bool) -> Operation:
            return Operation(
                attempt.action, classes, resource, service, dataset, sensitivity, privileged, attempt.untrusted_input
            )

        base = operation(attempt.dataset, Sensitivity.of(attempt.sensitivity), resource, privileged=attempt.privileged)
        if attempt.classify is None:
            found = Entry(resource, base, arguments)
        else:
            # No resource has the entry's own name, so that a policy cannot name it and miss some of its datasets.
            choice = Choice(
                attempt.classify.by,
                {
                    value: operation(
                        each.dataset,
                        Sensitivity.of(each.sensitivity),
                        f"{resource} on {each.dataset}",
                        privileged=each.privileged,
                    )
                    for value, each in attempt.classify.values.items()
                },
                operation(attempt.dataset, max(Sensitivity), f"{resource} on {attempt.dataset}", privileged=True),
            )
            found = Entry(resource, choice.otherwise, arguments, choice)
            if attempt.classify.by not in attempt.arguments:
                what = f"there is no argument {attempt.classify.by} to classify by"
                self.fault((*location, "classify", "by"), what, "Name one of the entry's arguments.")
        self.operations += found.operations
        required = frozenset(name for name, each in attempt.arguments.items() if not each.optional)
        self.required_arguments.update((each.resource, required) for each in found.operations)
        return found

    def _must_agree_on_arguments(self, attempt: AttemptEntry, location: Location) -> None:
        for name, argument in attempt.arguments.items():
            here = (*location, "arguments", name)
            kind = TYPES[argument.kind]
            if name in RESERVED:
                self.fault(here, f"the argument {name} is one of the task service's", "Name it otherwise.")
            first = self._kinds.setdefault(name, here)
            if self.argument_types.setdefault(name, kind) is not kind:
                what = f"the argument {name} is of another type than before"
                self.fault((*here, "kind"), what, "Give arguments of one name one type, or name another.", first)

    def fault(self, location: Location, what: str, remedy: str, other: Location | None = None) -> None:
        """Keep what is wrong."""
        self.faults.append(Fault(location, what, remedy, other))


@dataclass(slots=True)
class _ServiceAssembly:
    """The routes of one service in the making."""

    whole: Assembly
    name: str
    host: str
    routes: Routes[Meaning]
    _locations: dict[str, Location] = field(default_factory=dict)

    def add(self, here: Location, service: ServiceSection) -> None:
        for index, route in enumerate(service.routes):
            self._add_route(route, (*here, "routes", index))
        for grpc_service, methods in service.grpc.items():
            for method, call in methods.items():
                location = (*here, "grpc", grpc_service, method)
                path = f"/{grpc_service}/{method}"
                entry = self._entry(f"gRPC {self.host}{path}", call, location)
                self._lead("POST", path, PlainRoute(entry, body=call.body), location)
        if service.mcp:
            self._add_mcp(service.mcp, (*here, "mcp"))
        if service.a2a:
            self._add_a2a(service.a2a, (*here, "a2a"))
        if service.graphql:
            self._add_graphql(service.graphql, (*here, "graphql"))

    def _entry(self, resource: str, attempt: AttemptEntry, location: Location) -> Entry:
        return self.whole.entry(self.name, resource, attempt, location)

    def _entries(self, prefix: str, attempts: Mapping[str, Any], location: Location) -> dict[str, Entry]:
        return {name: self._entry(f"{prefix} {name}", each, (*location, name)) for name, each in attempts.items()}

    def _lead(self, method: str, path: str, meaning: Meaning, location: Location) -> None:
        """Let requests of this method and shape of path be this."""
        key = f"{method} {path}"
        try:
            self.routes.add(method, Route(Template.parse(path), meaning))
        except Overlap as overlap:
            clash = overlap.resource
            what = f"a path could match both this template and that of {clash}, and neither is the more specific"
            remedy = "Remove one, or make one the more specific wherever they differ."
            self.whole.fault(location, what, remedy, self._locations[overlap.resource])
        except NotATemplate as error:
            self.whole.fault(location, f"{path}: {error}", "Correct the path.")
        self._locations.setdefault(meaning.resource, location)
        self._locations.setdefault(key, location)

    def _add_route(self, route: RouteEntry, location: Location) -> None:
        entry = self._entry(f"{route.method} {self.host}{route.path}", route, location)
        self._lead(route.method, route.path, PlainRoute(entry, route.query, route.body), (*location, "path"))
        named = {name for _, name in Template.parse(route.path).parameters}
        for name in sorted(named.intersection(route.query)):
            self.whole.fault((*location, "query"), f"{name} is a parameter of the path too", "Name one otherwise.")
        if route.body != "json":
            for name, argument in route.arguments.items():
                if any(pointer.startswith("/body") for pointer in argument.at):
                    what = f"the argument {name} stands in the body, which the route does not read"
                    self.whole.fault((*location, "arguments", name), what, "Add `body: json` to the route.")

    def _add_mcp(self, mcp: McpSection, location: Location) -> None:
        prefix = f"MCP {self.host}{mcp.path}"
        session = self._entry(f"{prefix} session", mcp.session, (*location, "session"))
        tools = {
            name: McpTool(
                self._entry(f"{prefix} tools/call {name}", tool, (*location, "tools", name)),
                {header.lower(): Pointer.parse(pointer) for header, pointer in tool.headers.items()},
            )
            for name, tool in mcp.tools.items()
        }
        resources = ResourceUris()
        for uri, attempt in mcp.resources.items():
            at = (*location, "resources", uri)
            try:
                resources.add(uri, self._entry(f"{prefix} resources/read {uri}", attempt, at))
            except NotATemplate as error:
                self.whole.fault(at, f"{uri}: {error}", "Correct the URI.")
            except Overlap as overlap:
                what = f"a URI could match both this one and {overlap.resource}, and neither is the more specific"
                self.whole.fault(at, what, "Remove one, or make one the more specific wherever they differ.")
        methods = dict.fromkeys(SESSION_METHODS, session)
        methods |= self._entries(prefix, mcp.methods, (*location, "methods"))
        prompts = self._entries(f"{prefix} prompts/get", mcp.prompts, (*location, "prompts"))
        self._lead("POST", mcp.path, McpEndpoint(prefix, tools, resources, prompts, methods), (*location, "path"))
        for method in ("GET", "DELETE"):  # the stream of the server's messages, and the session's end
            self._lead(method, mcp.path, PlainRoute(session), (*location, "path"))

    def _add_a2a(self, a2a: A2aSection, location: Location) -> None:
        prefix = f"A2A {self.host}"
        methods = self._entries(prefix, a2a.methods, (*location, "methods"))
        if "SendMessage" in methods:
            methods.setdefault("SendStreamingMessage", methods["SendMessage"])
        if a2a.path is None and a2a.rest is None:
            self.whole.fault(
                location, "neither path nor rest is given", "Give the JSON-RPC path, the REST prefix, or both."
            )
        if a2a.path is not None:
            self._lead("POST", a2a.path, A2aEndpoint(f"{prefix}{a2a.path}", methods), (*location, "path"))
        if a2a.rest is not None:
            for (method, end), name in REST.items():
                path = a2a.rest + end
                meaning = A2aRestRoute(f"{method} {self.host}{path}", methods, name)
                self._lead(method, path, meaning, (*location, "rest"))
        if a2a.card:
            card = PlainRoute(self._entry(f"{prefix} agent card", a2a.card, (*location, "card")))
            for path in AGENT_CARDS:
                self._lead("GET", path, card, (*location, "card"))

    def _add_graphql(self, graphql: GraphqlSection, location: Location) -> None:
        from authz.catalog.graphql import GraphqlEndpoint  # noqa: PLC0415  its parser is slow to import, and rarely needed

        prefix = f"GraphQL {self.host}{graphql.path}"
        fields = {
            (kind, name): self._entry(f"{prefix} {kind} {name}", attempt, (*location, kind, name))
            for kind in ("query", "mutation", "subscription")
            for name, attempt in getattr(graphql, kind).items()
        }
        self._lead("POST", graphql.path, GraphqlEndpoint(prefix, fields), (*location, "path"))
