"""A folder of Rego files in, `RegoPolicy` out, or every problem with its file, line and remedy.

All `*.rego` files of the folder make one set, with the document of its `data.json`, if there is one, below `data`. A
set that could mean less than its author wrote, or take long, is refused as a whole.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from authz.core.errors import Place, Problem, Unusable, collecting
from authz.documents import read_bytes, text_of
from authz.policy.digests import mismatches
from authz.policy.rego import RegoPolicy, RegoRule
from authz.policy.rego_checks import Fault
from authz.policy.rego_input import RegoInput
from authz.policy.rego_trial import FoundRule, Request, examined
from authz.strict_json import read_json_object

MAX_FILE_BYTES = 65_536
"""A file is parsed in one go, at 8 ms for so many bytes, and checks wait meanwhile."""
MAX_BYTES = 524_288
"""Of all files, and of the data."""
DATA = "data.json"


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    content: bytes

    @property
    def is_data(self) -> bool:
        return self.path.name == DATA


def load_rego(
    folder: Path | tuple[Path, ...],
    decision: str,
    input: RegoInput,
    guarded: frozenset[str],
    digests_file: Path | None = None,
) -> RegoPolicy:
    """The rules of the folder, of which the one at `decision` decides; raises Unusable with all problems.

    No policy changes the headers that are `guarded`, in lower case. Where there is a file of digests, it must list
    exactly these files as they are. The version is a digest of their names and contents, and of the rule's name.
    """
    problems, files = list[Problem](), list[_File]()
    for path in rego_files(folder):
        with collecting(problems):
            files.append(_File(path, read_bytes(path)))
    if digests_file is not None:
        digests = {file.path: hashlib.sha256(file.content).hexdigest() for file in files}
        problems += mismatches(digests_file, digests)
    texts = list[tuple[str, str]]()
    for file in files:
        with collecting(problems):
            _must_be_small(file)
            texts += [] if file.is_data else [(str(file.path), text_of(file.path, file.content))]
    with collecting(problems):
        data = _data(files)
    if sum(len(file.content) for file in files if not file.is_data) > MAX_BYTES:
        what = f"the Rego files have more than {MAX_BYTES} bytes together"
        problems.append(Problem(Place(files[0].path.parent), what, "Move what is a table into data.json."))
    if problems:
        raise Unusable(*problems)
    request = Request(texts, data, decision, input.members, input.max_characters, list(input.trials))
    found = examined(request)
    if found.problems:
        raise Unusable(*map(_problem, found.problems))
    return RegoPolicy(
        version=_digest(files, decision),
        files=tuple(request.files),
        data=request.data,
        decision=request.decision,
        rules=tuple(map(_rule, found.rules)),
        reads=tuple(map(tuple, found.reads)),
        input=input,
        warnings=tuple(map(_problem, found.warnings)),
        guarded=guarded,
    )


def rego_files(place: Path | tuple[Path, ...]) -> list[Path]:
    """The files of a set, by name in each folder; raises Unusable where there is no Rego among them."""
    places = place if isinstance(place, tuple) else (place,)
    paths = list(dict.fromkeys(path for each in places for path in ([each] if each.is_file() else _paths(each))))
    if all(path.name == DATA for path in paths):
        remedy = "Write rules into files whose names end in .rego; what no rule allows is denied."
        raise Unusable(Problem(Place(places[0]), "holds no Rego file", remedy))
    return paths


def _paths(folder: Path) -> list[Path]:
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        if stranger := next((path for path in paths if path.suffix == ".cedar"), None):
            remedy = "Keep policies in Cedar in a folder of their own."
            raise Unusable(Problem(Place(stranger), "is in Cedar, and Rego decides here", remedy))
        return [path for path in paths if path.suffix == ".rego" or path.name == DATA]
    except OSError as error:
        raise Unusable(Problem(Place(folder), f"cannot be read: {error}", "Name a folder of Rego files.")) from error


def _must_be_small(file: _File) -> None:
    most = MAX_BYTES if file.is_data else MAX_FILE_BYTES
    if len(file.content) > most:
        remedy = "Leave out what no rule reads." if file.is_data else "Divide it: rules of a package may stand in many."
        raise Unusable(Problem(Place(file.path), f"has more than {most} bytes", remedy))


def _data(files: list[_File]) -> str:
    documents = [file for file in files if file.is_data]
    if len(documents) > 1:
        what = f"is a second {DATA}, beside {documents[0].path}"
        raise Unusable(Problem(Place(documents[1].path), what, "Put all data into one."))
    if not documents:
        return "{}"
    try:
        return json.dumps(read_json_object(documents[0].content), allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise Unusable(Problem(Place(documents[0].path), f"is {error}", "Write one JSON object.")) from error


def _problem(fault: Fault) -> Problem:
    return Problem(Place(Path(fault.spot.file or DATA), fault.spot.line, fault.spot.column), fault.what, fault.remedy)


def _rule(found: FoundRule) -> RegoRule:
    place = Place(Path(found.spot.file), found.spot.line, found.spot.column)
    return RegoRule(found.path, place, found.last_line, found.is_function)


def _digest(files: list[_File], decision: str) -> str:
    """A digest of names and contents, each with its length before it, so that no two lists of files are one text."""
    digest = hashlib.sha256()
    for part in (decision.encode(), *(part for file in files for part in (os.fsencode(file.path.name), file.content))):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
