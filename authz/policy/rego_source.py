"""Rego files in, `RegoPolicy` out, or every problem with its file, line and remedy.

All `*.rego` files make one set, with the document of `data.json`, if there is one, below `data`. A
set that could mean less than its author wrote, or take long, is refused as a whole.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from authz.core.errors import Place, Problem, Unusable, collecting
from authz.policy.files import DATA, PolicyFile, is_cedar
from authz.policy.rego import RegoPolicy, RegoRule
from authz.policy.rego_checks import Fault
from authz.policy.rego_input import RegoInput
from authz.policy.rego_trial import FoundRule, Request, examined
from authz.strict_json import read_json_object

MAX_FILE_BYTES = 65_536
"""A file is parsed in one go, at 8 ms for so many bytes, and checks wait meanwhile."""
MAX_BYTES = 524_288
"""Of all files, and of the data."""


def load_rego(sources: Sequence[PolicyFile], decision: str, input: RegoInput, guarded: frozenset[str]) -> RegoPolicy:
    """The rules in the files, of which the one at `decision` decides; raises Unusable with all problems.

    No policy changes the headers that are `guarded`, in lower case. The version is a digest of the files' names and
    contents, and of the rule's name.
    """
    problems, texts = list[Problem](), list[tuple[str, str]]()
    for file in sources:
        with collecting(problems):
            _must_be_rego(file)
            texts += [] if _is_data(file) else [(str(file.path), file.text)]
    with collecting(problems):
        data = _data(sources)
    rules = [file for file in sources if not _is_data(file)]
    if not rules:
        remedy = "Write rules into files whose names end in .rego; what no rule allows is denied."
        folder = sources[0].path.parent if sources else Path()
        problems.append(Problem(Place(folder), "holds no Rego file", remedy))
    elif sum(len(file.content) for file in rules) > MAX_BYTES:
        what = f"the Rego files have more than {MAX_BYTES} bytes together"
        problems.append(Problem(Place(rules[0].path.parent), what, "Move what is a table into data.json."))
    if problems:
        raise Unusable(*problems)
    request = Request(texts, data, decision, input.members, input.max_characters, list(input.trials))
    found = examined(request)
    if found.problems:
        raise Unusable(*map(_problem, found.problems))
    return RegoPolicy(
        version=_digest(sources, decision),
        files=tuple(request.files),
        data=request.data,
        decision=request.decision,
        rules=tuple(map(_rule, found.rules)),
        reads=tuple(map(tuple, found.reads)),
        input=input,
        warnings=tuple(map(_problem, found.warnings)),
        guarded=guarded,
    )


def _is_data(file: PolicyFile) -> bool:
    return file.path.name == DATA


def _must_be_rego(file: PolicyFile) -> None:
    if is_cedar(file.name):
        remedy = "Keep policies in Cedar in a folder of their own."
        raise Unusable(Problem(Place(file.path), "is in Cedar, and Rego decides here", remedy))
    if _is_data(file) and file.name != DATA:
        remedy = f"Put all data into one {DATA} beside the rules."
        raise Unusable(Problem(Place(file.path), "lies in a folder of the bundle, where data are not read", remedy))
    most = MAX_BYTES if _is_data(file) else MAX_FILE_BYTES
    if len(file.content) > most:
        divided = "Divide it: rules of a package may stand in many."
        remedy = "Leave out what no rule reads." if _is_data(file) else divided
        raise Unusable(Problem(Place(file.path), f"has more than {most} bytes", remedy))


def _data(files: Sequence[PolicyFile]) -> str:
    documents = [file for file in files if _is_data(file)]
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


def _digest(files: Sequence[PolicyFile], decision: str) -> str:
    """A digest of names and contents, each with its length before it, so that no two lists of files are one text."""
    digest = hashlib.sha256()
    for part in (decision.encode(), *(part for file in files for part in (os.fsencode(file.name), file.content))):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
