"""Case files: hops with the decision that is expected of each, for `authz policy test`. One strict YAML file in."""

import datetime as dt
import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from authz.core.errors import Place
from authz.core.reasons import Reason
from authz.core.spiffe import NotASpiffeId, SpiffeId
from authz.core.task import Grant, NotAGrant
from authz.documents import Document, ExistingFile, ExistingPath, Places, parse, read_bytes

SUFFIX = ".test.yaml"
NOON = "2026-11-25T12:00:00Z"
"""When a hop arrives that names no time: a Wednesday."""
EVERYTHING = "read,write,delete,execute,egress,financial,admin,delegate:*"
"""What a task grants that names no grants."""
_REASONS = frozenset(reason.id for reason in Reason)

ClassName = Literal["read", "write", "delete", "execute", "egress", "financial", "admin", "delegate"]
SensitivityName = Literal["public", "internal", "confidential", "restricted"]


def _spiffe_id(text: str) -> str:
    try:
        return SpiffeId.parse(text).uri
    except NotASpiffeId as error:
        raise PydanticCustomError("spiffe_id", "{why}", {"why": str(error)}) from error


def _grant(text: str) -> str:
    try:
        return str(Grant.parse(text))
    except NotAGrant as error:
        raise PydanticCustomError("grant", "{why}", {"why": str(error)}) from error


def _reason(text: str) -> str:
    if text not in _REASONS:
        close = difflib.get_close_matches(text, sorted(_REASONS), n=1)
        hint = f"did you mean {close[0]}?" if close else "docs/reasons.md lists them"
        raise PydanticCustomError("reason", "there is no such reason; {hint}", {"hint": hint})
    return text


def _moment(text: str) -> str:
    try:
        if dt.datetime.fromisoformat(text).tzinfo is not None:
            return text
    except ValueError:
        pass
    raise PydanticCustomError("moment", "a time with its zone, such as 2026-11-25T12:00:00Z")


SpiffeUri = Annotated[str, AfterValidator(_spiffe_id)]
GrantText = Annotated[str, AfterValidator(_grant)]
ReasonId = Annotated[str, AfterValidator(_reason)]
Moment = Annotated[str, AfterValidator(_moment)]


class SessionOfCase(Document):
    """What the task's session did before the hop."""

    actions: tuple[str, ...] = ()
    classes: tuple[ClassName, ...] = ()
    datasets: tuple[str, ...] = ()
    high_water: SensitivityName = "public"
    untrusted_input: bool = False


class TaskOfCase(Document):
    """A task. What is left out is as wide as can be, so that a case shows what the policies say."""

    owner: str = "owner@example.org"
    purpose: str = "a test"
    agents: tuple[SpiffeUri, ...] | None = None  # None: the agent of the case
    grants: tuple[GrantText, ...] = (EVERYTHING,)
    ceiling: SensitivityName = "restricted"
    age_seconds: Annotated[int, Field(ge=0)] = 60
    remaining_seconds: int = 3600
    state: Literal["active", "suspended", "ended"] = "active"
    delegated_by: str | None = None  # the name of the task above it
    session: SessionOfCase | None = None


class RequestOfCase(Document):
    """An HTTP request, which the catalog is to understand."""

    method: str
    url: str  # HOST/PATH, with or without a scheme
    headers: dict[str, str] = Field(default_factory=dict)
    body: Any = None  # sent as JSON; a text is sent as it is


class Case(Document):
    """One hop and what is expected of it. It is told as a request, or as an action of the catalog."""

    name: str
    agent: SpiffeUri
    task: str | None = None  # the name of a task of the file; None: a task that grants everything
    request: str | RequestOfCase | None = None  # such as `GET crm.example.org/contacts/42`
    action: str | None = None
    resource: str | None = None  # where the action stands for several entries of the catalog
    arguments: dict[str, str | int | bool | tuple[str, ...]] = Field(default_factory=dict)
    parameters: dict[str, str] = Field(default_factory=dict)
    at: Moment = NOON
    approved: tuple[str, ...] = ()  # kinds of approval that were given for this very hop
    expect: Literal["allow", "deny", "step_up"]
    reason: ReasonId | None = None
    policies: tuple[str, ...] | None = None  # that determine the decision; None: any
    step_up: tuple[str, ...] | None = None  # the kinds of approval that are asked for; None: any

    @model_validator(mode="after")
    def _one_hop(self) -> Self:
        if (self.request is None) == (self.action is None):
            raise PydanticCustomError("hop", "give either a request, or an action of the catalog")
        if self.request is not None and (self.arguments or self.parameters or self.resource):
            message = "a request says its own arguments, parameters and resource"
            raise PydanticCustomError("hop", message)
        if self.expect == "allow" and self.reason is not None:
            raise PydanticCustomError("hop", "what is allowed has no reason")
        return self


class CaseFile(Document):
    """A policy set, a catalog, and cases. Paths are relative to the file."""

    config: ExistingFile | None = None  # its catalog, policies and groups, where this file names no others
    catalog: ExistingFile | None = None
    policies: Annotated[tuple[ExistingPath, ...], Field(min_length=1)] | None = None  # folders and files
    rule: Annotated[str, Field(pattern=r"^data(\.[A-Za-z_][A-Za-z0-9_]*)+$")] | None = (
        None  # of policies in Rego, the one that decides
    )
    groups: dict[str, tuple[SpiffeUri, ...]] | None = None
    tasks: dict[str, TaskOfCase] = Field(default_factory=dict)
    cases: Annotated[tuple[Case, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.config is None and (self.catalog is None or self.policies is None):
            raise PydanticCustomError("incomplete", "name a catalog and policies, or a config that does")
        for name, task in self.tasks.items():
            if task.delegated_by is not None and task.delegated_by not in self.tasks:
                raise PydanticCustomError("task", "the task {name} is delegated by an unknown one", {"name": name})
            if task.delegated_by is not None and task.session is not None:
                message = "the session is that of the task which was started, so {name} has none of its own"
                raise PydanticCustomError("task", message, {"name": name})
            self.chain(name)
        for case in self.cases:
            if case.task is not None and case.task not in self.tasks:
                raise PydanticCustomError("task", "the case {name!r} names an unknown task", {"name": case.name})
        return self

    def chain(self, name: str) -> list[TaskOfCase]:
        """The task and those above it; the last was started."""
        chain, seen, here = list[TaskOfCase](), set[str](), name
        while True:
            if here in seen:
                raise PydanticCustomError("task", "the task {name} is delegated by itself", {"name": name})
            seen.add(here)
            chain.append(self.tasks[here])
            above = chain[-1].delegated_by
            if above is None:
                return chain
            here = above


def load_cases(file: Path) -> tuple[CaseFile, list[Place]]:
    """The cases in `file`, and where each stands; raises Unusable with all that is wrong."""
    content = read_bytes(file)
    document, places = parse(file, content, CaseFile), Places.read(file, content)
    return document, [places.of(("cases", number)) for number in range(len(document.cases))]


def find_case_files(paths: tuple[Path, ...]) -> list[Path]:
    """The files themselves, and all `*.test.yaml` below the folders, by name."""
    found: list[Path] = []
    for path in paths:
        found += sorted(path.rglob(f"*{SUFFIX}")) if path.is_dir() else [path]
    return list(dict.fromkeys(found))
