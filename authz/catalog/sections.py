"""The sections of an operator's `catalog.yaml`, as pydantic models: what each may hold, and in which form."""

import re
from collections.abc import Sized
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from authz.catalog.a2a import METHODS as A2A_METHODS
from authz.catalog.entry import Pointer
from authz.catalog.hosts import read_host
from authz.catalog.kinds import KINDS
from authz.catalog.mcp import ANSWERS, OTHER_METHODS, SESSION_METHODS
from authz.catalog.paths import NotATemplate, Template
from authz.core.errors import Refused
from authz.core.hop import ActionClass
from authz.documents import Document

MAX_NAME_CHARACTERS = 200
UNSET = "unset"
"""What a drafted catalog says for what only an operator knows. Requests of such an entry are denied."""

_WORD = r"[a-z0-9][a-z0-9_-]*"
_S = TypeVar("_S", bound=Sized)


def _form(pattern: str, sentence: str) -> AfterValidator:
    """The validator of texts that match the whole pattern; `sentence` tells an operator what they look like."""
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if len(text) > MAX_NAME_CHARACTERS or not compiled.fullmatch(text):
            raise PydanticCustomError("form", "{sentence}", {"sentence": sentence})
        return text

    return AfterValidator(check)


def _one_of(names: frozenset[str]) -> AfterValidator:
    def check(text: str) -> str:
        if text not in names:
            raise PydanticCustomError("name", "not one of {names}", {"names": ", ".join(sorted(names))})
        return text

    return AfterValidator(check)


def _not_empty(values: _S) -> _S:
    if not values:
        raise PydanticCustomError("empty", "at least one is needed")
    return values


def _classes(value: object) -> object:
    if not isinstance(value, str | list):
        raise PydanticCustomError("classes", "an action class, or a list of them, is needed")
    if value == []:
        raise PydanticCustomError("empty", "at least one is needed")
    if value == UNSET:
        return []
    return [value] if isinstance(value, str) else value


def _texts(value: object) -> object:
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


def _prefix(text: str) -> str:
    return text if text == "" else _path(text).removesuffix("/")


def _pointer(text: str) -> str:
    try:
        return Pointer.parse(text).text
    except ValueError as error:
        raise PydanticCustomError("pointer", "{why}", {"why": str(error)}) from error


_WORDS = f"lower-case letters, digits, - and _, of at most {MAX_NAME_CHARACTERS} characters"
ServiceName = Annotated[str, _form(_WORD, f"a service's name is a word of {_WORDS}")]
_Action = Annotated[str, _form(rf"{_WORD}(?:\.{_WORD})+", f"an action's name is two or more dotted words of {_WORDS}")]
_Dataset = Annotated[str, _form(rf"{_WORD}(?:\.{_WORD})*", f"a dataset's name is dotted words of {_WORDS}")]
_Method = Annotated[str, _form(r"[A-Z]{1,20}", "a method is 1 to 20 capital letters")]
_Argument = Annotated[str, _form(r"[a-z][a-z0-9_]{0,63}", "an argument's name is lower-case letters, digits and _")]
_Query = Annotated[str, _form(r"[A-Za-z0-9_-]{1,64}", "a query parameter's name is letters, digits, _ and -")]
_Name = Annotated[str, _form(r"[\x21-\x7e]{1,128}", "a name is 1 to 128 ASCII characters without blanks")]
_Field = Annotated[str, _form(r"[A-Za-z_][A-Za-z0-9_]*", "a field's name is letters, digits and _")]
_GrpcService = Annotated[str, _form(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", "a service's name is dotted words")]
_Header = Annotated[str, _form(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", "a header's name has no blanks and no colon")]
_Host = Annotated[str, AfterValidator(_host)]
_Path = Annotated[str, AfterValidator(_path)]
_Prefix = Annotated[str, AfterValidator(_prefix)]
_Pointer = Annotated[str, AfterValidator(_pointer)]
_Sensitivity = Literal["public", "internal", "confidential", "restricted"]


class ArgumentEntry(Document):
    """An argument that policies see: where it stands in what the request is given, and of what kind it is."""

    at: Annotated[list[_Pointer], BeforeValidator(_texts), AfterValidator(_not_empty)]
    kind: Annotated[str, _one_of(frozenset(KINDS))]
    optional: bool = False


class DatasetEntry(Document):
    """The data that are meant where the chosen argument has a certain value."""

    dataset: _Dataset
    sensitivity: _Sensitivity
    privileged: bool = False


class ClassifyEntry(Document):
    """Which data are meant, by the value of an argument. Any other value is of the highest sensitivity."""

    by: _Argument
    values: Annotated[dict[str, DatasetEntry], AfterValidator(_not_empty)]


class AttemptEntry(Document):
    """What attempts of one kind do, and to which data."""

    action: _Action
    classes: Annotated[list[ActionClass], BeforeValidator(_classes), Field(alias="class")]
    dataset: _Dataset
    sensitivity: Literal[_Sensitivity, "unset"]
    privileged: bool = False
    untrusted_input: bool = False
    arguments: dict[_Argument, ArgumentEntry] = Field(default_factory=dict)
    classify: ClassifyEntry | None = None

    @property
    def is_unset(self) -> bool:
        """Whether something is left that only an operator knows."""
        return not self.classes or UNSET in {self.dataset, self.sensitivity}


class RouteEntry(AttemptEntry):
    """What requests of one method and shape of path do."""

    method: _Method
    path: _Path
    query: tuple[_Query, ...] = ()
    body: Literal["none", "json", "bytes"] = "none"


class GrpcMethodEntry(AttemptEntry):
    """What calls of one gRPC method do."""

    body: Literal["none", "bytes"] = "none"


class ToolEntry(AttemptEntry):
    """What calls of one MCP tool do."""

    headers: dict[_Header, _Pointer] = Field(default_factory=dict)


class McpSection(Document):
    """An MCP server."""

    path: _Path
    session: AttemptEntry
    tools: dict[_Name, ToolEntry] = Field(default_factory=dict)
    resources: dict[str, AttemptEntry] = Field(default_factory=dict)
    prompts: dict[_Name, AttemptEntry] = Field(default_factory=dict)
    methods: dict[Annotated[str, _one_of(SESSION_METHODS | OTHER_METHODS | {ANSWERS})], AttemptEntry] = Field(
        default_factory=dict
    )


class A2aSection(Document):
    """An A2A agent."""

    path: _Path | None = None
    rest: _Prefix | None = None
    card: AttemptEntry | None = None
    methods: Annotated[
        dict[Annotated[str, _one_of(A2A_METHODS)], AttemptEntry],
        AfterValidator(_not_empty),
    ]


class GraphqlSection(Document):
    """A GraphQL server; entries by type and root field."""

    path: _Path
    query: dict[_Field, AttemptEntry] = Field(default_factory=dict)
    mutation: dict[_Field, AttemptEntry] = Field(default_factory=dict)
    subscription: dict[_Field, AttemptEntry] = Field(default_factory=dict)


class ServiceSection(Document):
    """A service: the hosts that it answers to, and what it speaks there."""

    hosts: Annotated[list[_Host], AfterValidator(_not_empty)]
    routes: Annotated[list[RouteEntry], AfterValidator(_not_empty)] = Field(default_factory=list)
    grpc: dict[_GrpcService, dict[_Field, GrpcMethodEntry]] = Field(default_factory=dict)
    mcp: McpSection | None = None
    a2a: A2aSection | None = None
    graphql: GraphqlSection | None = None

    @model_validator(mode="after")
    def _must_speak(self) -> Self:
        if not (self.routes or self.grpc or self.mcp or self.a2a or self.graphql):
            raise PydanticCustomError("empty", "a service has routes, grpc, mcp, a2a or graphql")
        return self


class CatalogDocument(Document):
    """The whole catalog."""

    services: Annotated[dict[ServiceName, ServiceSection], AfterValidator(_not_empty)]
