"""Operators' files: strict YAML in, a validated pydantic model out, or every problem with its file, line and remedy.

Strict means: unknown and repeated keys are refused, nothing is coerced (`yes` is no string, "5" is no number), and
paths are taken relative to the file that names them.
"""

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, ValidationInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from authz.core.errors import Place, Problem, Unusable

_M = TypeVar("_M", bound=BaseModel)
_Location = Sequence[int | str]


class Document(BaseModel):
    """Base of the models that operators' files are read into: frozen, strict, and without unknown keys."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


def _beside_the_document(path: Path, info: ValidationInfo) -> Path:
    folder: Path = (info.context or {})["folder"]
    return folder / path


def _must_be_file(path: Path) -> Path:
    if not path.is_file():
        raise PydanticCustomError("file_missing", "there is no file {path}", {"path": str(path)})
    return path


def _must_be_folder(path: Path) -> Path:
    if not path.is_dir():
        raise PydanticCustomError("folder_missing", "there is no folder {path}", {"path": str(path)})
    return path


AnyPath = Annotated[Path, AfterValidator(_beside_the_document)]
"""A path, relative to the document; it need not exist."""
ExistingFile = Annotated[Path, AfterValidator(_beside_the_document), AfterValidator(_must_be_file)]
"""The path of a file that exists, relative to the document."""
ExistingFolder = Annotated[Path, AfterValidator(_beside_the_document), AfterValidator(_must_be_folder)]
"""The path of a folder that exists, relative to the document."""

_REMEDIES = {
    "missing": "Add it.",
    "file_missing": "Create the file, or correct the path; it is taken relative to this document.",
    "folder_missing": "Create the folder, or correct the path; it is taken relative to this document.",
    "string_type": "Write a text; put it in quotes if it looks like a number or yes/no.",
    "int_type": "Write a whole number without quotes.",
    "float_type": "Write a number without quotes.",
    "bool_type": "Write true or false without quotes.",
}


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses repeated keys and leaves dates as texts."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  yaml's signature
        seen: set[object] = set()
        for key, _ in node.value:
            name = self.construct_object(key)
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {name!r} is given twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load(file: Path, model: type[_M]) -> _M:
    """The document in `file`; raises Unusable with all that is wrong with it."""
    text = read(file)
    try:
        root = yaml.compose(text, _Loader)
        data = yaml.load(text, _Loader)  # noqa: S506  a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
        raise Unusable(Problem(place, f"not valid YAML: {error.problem}", "Correct the syntax.")) from error
    except yaml.YAMLError as error:
        raise Unusable(Problem(Place(file), f"not valid YAML: {error}", "Correct the syntax.")) from error
    try:
        return model.model_validate_json(json.dumps(data), context={"folder": file.parent})
    except ValidationError as error:
        problems = [_problem(file, root, model, details) for details in error.errors(include_url=False)]
        raise Unusable(*problems) from error


def read(file: Path) -> str:
    """The text of an operator's file; raises Unusable where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise Unusable(Problem(Place(file), "there is no such file", "Create it, or name another.")) from error
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(
            Problem(Place(file), f"cannot be read: {error}", "Correct the file or its permissions.")
        ) from error


def _problem(file: Path, root: yaml.Node | None, model: type[BaseModel], details: ErrorDetails) -> Problem:
    location, kind = details["loc"], details["type"]
    name = ".".join(map(str, location)) or "the document"
    what = f"{name}: {details['msg'][:1].lower()}{details['msg'][1:]}"
    remedy = _REMEDIES.get(kind, "")
    if kind == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        close = difflib.get_close_matches(str(location[-1]), known, n=1)
        what = f"{name}: unknown key"
        remedy = f"Did you mean {close[0]!r}?" if close else f"Known here: {', '.join(known)}."
    return Problem(_place(file, root, location, at_key=kind == "extra_forbidden"), what, remedy)


def _place(file: Path, root: yaml.Node | None, location: _Location, *, at_key: bool) -> Place:
    """Where the location stands, or the nearest thing around it that does."""
    node, key = root, root
    for step in location:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(step)), None)
            if found is None:
                break
            key, node = found
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            key = node = node.value[step]
    chosen = key if at_key else node
    return Place(file, chosen.start_mark.line + 1, chosen.start_mark.column + 1) if chosen else Place(file)


def _known_keys(model: type[BaseModel], location: _Location) -> list[str]:
    """The keys of the model that stands at `location`, as far as the annotations tell."""
    here: Any = model
    for step in location:
        if isinstance(here, type) and issubclass(here, BaseModel) and step in here.model_fields:
            here = here.model_fields[str(step)].annotation
        arguments = [each for each in get_args(here) if isinstance(each, type) and issubclass(each, BaseModel)]
        here = arguments[0] if arguments else here
    return list(here.model_fields) if isinstance(here, type) and issubclass(here, BaseModel) else []
