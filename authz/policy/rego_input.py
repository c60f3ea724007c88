"""What a question for Rego in process can be: the members that every one has, and how large one may be that is put.

Policies are held against the members, so that a name that no question has is found when they are loaded; and the time
that they take is bounded for the largest question.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from authz.core.hop import ActionClass, Operation, Sensitivity
from authz.core.query import Query
from authz.core.request import Request
from authz.policy.fields import Kind
from authz.policy.plugin_question import PluginQuestion
from authz.policy.question import FactsQuestion, Question
from authz.policy.ranges import some_query
from authz.policy.rego_cost import Shape, anything

MAX_BYTES = 65_536
MAX_MEMBERS = 256
"""Of one list: the datasets that a session has seen, the texts of an argument."""
MAX_CHARACTERS = 2_000
"""Of one text; the catalog lets arguments have as many."""
MAX_CHARACTERS_OF_REQUESTS = 8_192
"""Of one text where policies see requests: a cookie or a token."""
MAX_DEPTH = 32
ANY = "any"
_FEW: Mapping[tuple[str, ...], int] = dict.fromkeys(
    (("operation", "classes"), ("session", "classes")), len(ActionClass)
)
_OPERATION = Operation(
    action="a.b",
    classes=frozenset({ActionClass.READ}),
    resource="GET example.org/a",
    service="a",
    dataset="a",
    sensitivity=Sensitivity.PUBLIC,
)

Members = Mapping[str, Any]
"""The members of a question: of each its members, `[]` for a list, None for what has none, ANY where that is open."""


@dataclass(frozen=True, slots=True)
class RegoInput:
    """The words that policies are written in: how they are asked, and what they can be asked."""

    question: Question
    arguments: Mapping[str, Kind]
    members: Members
    max_characters: int
    trials: tuple[str, ...]
    """Questions to try policies on: a small one, and two as large as can be, of texts that are work for a built-in."""

    @property
    def place_of_facts(self) -> tuple[str, ...]:
        """Where in a question our facts are: it is all of them, or a member beside the request."""
        return ("authz",) if "authz" in self.members else ()

    def fault(self, question: bytes, query: Query) -> str:
        """Why a question is not put; empty where it is."""
        if len(question) > MAX_BYTES:
            return f"the question has more than {MAX_BYTES} bytes"
        if self.max_characters > MAX_CHARACTERS:
            return _fault_of(json.loads(question), self.max_characters)
        texts = [query.purpose, query.owner, *query.parameters.values()]
        lists: list[Collection[str]] = [query.parameters, query.facts.actions, query.facts.datasets]
        for value in query.arguments.values():
            if isinstance(value, frozenset):
                lists.append(value)
                texts += value
            elif isinstance(value, str):
                texts.append(value)
        if max(map(len, lists)) > MAX_MEMBERS:
            return _TOO_MANY
        return _too_long(self.max_characters) if max(map(len, texts)) > self.max_characters else ""


_TOO_MANY = f"a list of the question has more than {MAX_MEMBERS} members"


def _too_long(most: int) -> str:
    return f"a text of the question has more than {most} characters"


def _fault_of(document: object, most: int) -> str:
    waiting: list[tuple[object, int]] = [(document, 1)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            return f"the question is nested more than {MAX_DEPTH} deep"
        if isinstance(value, dict | list):
            if len(value) > MAX_MEMBERS:
                return _TOO_MANY
            inside: Iterable[object] = value if isinstance(value, list) else (*value.keys(), *value.values())
            waiting += ((each, depth + 1) for each in inside)
        elif isinstance(value, str) and len(value) > most:
            return _too_long(most)
    return ""


def facts_input(groups: Mapping[str, tuple[str, ...]], arguments: Mapping[str, Kind]) -> RegoInput:
    """Policies see our facts. `arguments` are those that the catalog has."""
    question = FactsQuestion(groups)
    members = _of_facts(json.loads(FactsQuestion({})(some_query(_OPERATION))), arguments)
    return RegoInput(question, arguments, members, MAX_CHARACTERS, _trials(question, arguments, MAX_CHARACTERS))


def plugin_input(question: PluginQuestion, arguments: Mapping[str, Kind]) -> RegoInput:
    """Policies see the request in the words of opa-envoy-plugin, and our facts beside it."""
    document = json.loads(question(_some_request()))
    members = {name: ANY if isinstance(value, dict) else _members(value) for name, value in document.items()}
    members |= {"parsed_body": ANY, "authz": _of_facts(document["authz"], arguments)}
    most = MAX_CHARACTERS_OF_REQUESTS
    return RegoInput(question, arguments, members, most, _trials(question, arguments, most))


def _some_request() -> Query:
    request = Request("GET", "example.org", "/a", {}, "", "", "")
    return replace(some_query(_OPERATION), request=request)


def _of_facts(document: Members, arguments: Mapping[str, Kind]) -> Members:
    named: dict[str, Any] = {name: [] if kind is Kind.SET else None for name, kind in arguments.items()}
    return {**_members(document), "arguments": named, "parameters": ANY}


def _members(value: object) -> Any:  # noqa: ANN401  as in Members
    if isinstance(value, dict):
        return {name: _members(member) for name, member in value.items()}
    return [] if isinstance(value, list) else None


def fault_of_place(members: Members, names: tuple[str, ...]) -> str:
    """What is wrong with a reference to such a place of the question; empty where something can be there."""
    at: Any = members
    for number, name in enumerate(names):
        here = ".".join(("input", *names[:number]))
        if at == ANY:
            return ""
        if not isinstance(at, dict):
            return f"{here} is a list, and has no {name!r}" if at == [] else f"{here} has no members"
        if name not in at:
            return f"no question has {here}.{name}"
        at = at[name]
    return ""


def shape_of_members(members: Members) -> Shape:
    """The shape of the largest question that is put."""
    return Shape(len(members), dict(_shapes(members, ())), anything(MAX_MEMBERS))


def _shapes(members: Members, above: tuple[str, ...]) -> Iterator[tuple[str, Shape]]:
    for name, member in members.items():
        place = (*above, name)
        if member == ANY:
            yield name, anything(MAX_MEMBERS)
        elif isinstance(member, dict):
            yield name, Shape(len(member), dict(_shapes(member, place)), anything(MAX_MEMBERS))
        else:
            yield name, Shape(0 if member is None else _FEW.get(place[-2:], MAX_MEMBERS), {})


def _trials(question: Question, arguments: Mapping[str, Kind], most: int) -> tuple[str, ...]:
    small = json.loads(question(_some_request()))
    facts = small.get("authz", small)
    facts["arguments"] = {name: _small(kind) for name, kind in arguments.items()}
    found = [small]
    for filling in ("9" * most, ",." * (most // 2)):
        large = _filled(small, filling)
        large.get("authz", large)["parameters"] = {"id": filling}
        found.append(large)
    return tuple(json.dumps(each) for each in found)


def _small(kind: Kind) -> object:
    match kind:
        case Kind.SET:
            return ["a"]
        case Kind.LONG:
            return 1
        case Kind.BOOL:
            return True
        case _:
            return "a"


def _filled(value: Any, filling: str) -> Any:  # noqa: ANN401  JSON
    match value:
        case dict():
            return {name: _filled(member, filling) for name, member in value.items()}
        case list():
            return [*(f"{number}{filling[:40]}" for number in range(MAX_MEMBERS - 1)), filling]
        case bool():
            return value
        case int():
            return 2**63 - 1
        case _:
            return filling
