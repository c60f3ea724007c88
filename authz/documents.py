"""Operators' files: strict YAML in, a validated pydantic model out, or every problem with its file, line and remedy.

Strict means: unknown and repeated keys are refused, nothing is coerced (`yes` is no string, "5" is no number), and
paths are taken relative to the file that names them.
"""

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, ValidationInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from authz.core.errors import Place, Problem, Unusable

_M = TypeVar("_M", bound=BaseModel)
_Location = Sequence[int | str]
_AT_KEY = "[key]"  # what pydantic appends to the location of a mapping's key


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


def _must_exist(path: Path) -> Path:
    if not path.exists():
        raise PydanticCustomError("path_missing", "there is no {path}", {"path": str(path)})
    return path


def _must_be_folder(path: Path) -> Path:
    if not path.is_dir():
        raise PydanticCustomError("folder_missing", "there is no folder {path}", {"path": str(path)})
    return path


FileToBe = Annotated[Path, AfterValidator(_beside_the_document)]
"""The path of a file that is made where it does not exist, relative to the document."""
ExistingFile = Annotated[Path, AfterValidator(_beside_the_document), AfterValidator(_must_be_file)]
"""The path of a file that exists, relative to the document."""
ExistingFolder = Annotated[Path, AfterValidator(_beside_the_document), AfterValidator(_must_be_folder)]
"""The path of a folder that exists, relative to the document."""
ExistingPath = Annotated[Path, AfterValidator(_beside_the_document), AfterValidator(_must_exist)]
"""The path of a file or a folder that exists, relative to the document."""

_REMEDIES = {
    "missing": "Add it.",
    "path_missing": "Create it, or correct the path; it is taken relative to this document.",
    "file_missing": "Create the file, or correct the path; it is taken relative to this document.",
    "folder_missing": "Create the folder, or correct the path; it is taken relative to this document.",
    "string_type": "Write a text; put it in quotes if it looks like a number or yes/no.",
    "int_type": "Write a whole number without quotes.",
    "float_type": "Write a number without quotes.",
    "bool_type": "Write true or false without quotes.",
}


if TYPE_CHECKING:
    from yaml import SafeLoader as _FastestLoader
else:
    # libyaml reads a catalog of thousands of routes in a fifth of the time; wheels of PyYAML bring it.
    _FastestLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_FastestLoader):
    """A safe loader that refuses repeated keys, and keys that are no texts, and leaves dates as texts."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  yaml's signature
        seen: set[object] = set()
        for key, _ in node.value:
            name = self.construct_object(key)
            if not isinstance(name, str):
                raise yaml.constructor.ConstructorError(None, None, "a key is a text; quote it", key.start_mark)
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {name!r} is given twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True)
class Places:
    """Where the parts of a document stand."""

    file: Path
    root: yaml.Node | None

    @classmethod
    def read(cls, file: Path, content: bytes) -> Self:
        """The places in a document that can be parsed, for problems that show only once it is understood."""
        return cls(file, yaml.compose(_decoded(file, content), _Loader))

    def of(self, location: _Location, *, at_key: bool = False) -> Place:
        """Where the location stands, or the nearest thing around it that does; its key rather than its value, if so."""
        node, key = self.root, self.root
        for step in location:
            if step == _AT_KEY:
                at_key = True
            elif isinstance(node, yaml.MappingNode):
                found = next(((k, v) for k, v in node.value if k.value == str(step)), None)
                if found is None:
                    break
                key, node = found
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                key = node = node.value[step]
        chosen = key if at_key else node
        mark = chosen.start_mark if chosen else None
        return Place(self.file, mark.line + 1, mark.column + 1) if mark else Place(self.file)


def load(file: Path, model: type[_M]) -> _M:
    """The document in `file`; raises Unusable with all that is wrong with it."""
    return parse(file, read_bytes(file), model)


def parse(file: Path, content: bytes, model: type[_M]) -> _M:
    """The document that these bytes of `file` are; raises Unusable with all that is wrong with it."""
    root, text = _as_json(file, _decoded(file, content))
    try:
        return model.model_validate_json(text, context={"folder": file.parent})
    except ValidationError as error:
        places = Places(file, root)
        raise Unusable(*(_problem(places, model, details) for details in error.errors(include_url=False))) from error


def _as_json(file: Path, text: str) -> tuple[yaml.Node | None, str]:
    """The YAML's tree, for places, and what it holds as JSON, for pydantic; raises Unusable."""
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        return root, json.dumps(loader.construct_document(root) if root else None)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
        raise Unusable(Problem(place, f"not valid YAML: {error.problem}", "Correct the syntax.")) from error
    except yaml.YAMLError as error:
        raise Unusable(Problem(Place(file), f"not valid YAML: {error}", "Correct the syntax.")) from error
    except (ValueError, TypeError, RecursionError) as error:  # aliases of themselves, binary values, deep nesting
        problem = Problem(Place(file), f"not plain YAML: {error}", "Write texts, numbers, lists and mappings only.")
        raise Unusable(problem) from error


def read(file: Path) -> str:
    """The text of an operator's file, its lines ended by a newline alone; raises Unusable where it cannot be read."""
    return text_of(file, read_bytes(file))


def text_of(file: Path, content: bytes) -> str:
    """The text that these bytes of `file` are, its lines ended by a newline alone; raises Unusable."""
    return _decoded(file, content).replace("\r\n", "\n").replace("\r", "\n")


def read_bytes(file: Path) -> bytes:
    """The content of an operator's file; raises Unusable where it cannot be read."""
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise Unusable(Problem(Place(file), "there is no such file", "Create it, or name another.")) from error
    except OSError as error:
        raise _unreadable(file, error) from error


def _decoded(file: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> Unusable:
    return Unusable(Problem(Place(file), f"cannot be read: {error}", "Correct the file or its permissions."))


def _problem(places: Places, model: type[BaseModel], details: ErrorDetails) -> Problem:
    location, kind = details["loc"], details["type"]
    name = ".".join(str(step) for step in location if step != _AT_KEY) or "the document"
    what = f"{name}: {details['msg'][:1].lower()}{details['msg'][1:]}"
    remedy = _REMEDIES.get(kind, "")
    if kind == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        close = difflib.get_close_matches(str(location[-1]), known, n=1)
        what = f"{name}: unknown key"
        remedy = f"Did you mean {close[0]!r}?" if close else f"Known here: {', '.join(known)}."
    return Problem(places.of(location, at_key=kind == "extra_forbidden"), what, remedy)


def _known_keys(model: type[BaseModel], location: _Location) -> list[str]:
    """The keys of the model that stands at `location`, as far as the annotations tell."""
    here: Any = model
    for step in location:
        if isinstance(here, type) and issubclass(here, BaseModel) and step in here.model_fields:
            here = _plain(here.model_fields[str(step)].annotation)
        elif get_args(here):
            here = _plain(get_args(here)[-1])  # of a list or a mapping
    if not (isinstance(here, type) and issubclass(here, BaseModel)):
        return []
    return [field.alias or name for name, field in here.model_fields.items()]


def _plain(annotation: Any) -> Any:  # noqa: ANN401  any annotation
    """The annotation without its metadata, and without the None that it may be instead."""
    while get_origin(annotation) in (Annotated, Union, UnionType):
        annotation = get_args(annotation)[0]
    return annotation
