"""Cedar files in, `CedarPolicy` out, or every problem with its file, line and remedy.

All files make one policy set. A set that could mean less than its author wrote is refused as a whole: a typing error, a
name that nothing in the catalog has, a template that nothing links, a file without a policy.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import cedarpy
from cedarpy import pst

from authz.core.errors import Place, Problem, Unusable, collecting
from authz.core.hop import Operation
from authz.policy.blocks import Written
from authz.policy.cedar import CedarPolicy
from authz.policy.faults import faults
from authz.policy.fields import Fields, Kind
from authz.policy.files import PolicyFile, is_cedar
from authz.policy.observations import NotObservable
from authz.policy.schema import NotAVocabulary, Vocabulary
from authz.policy.statements import Lines, Statement, split

_NO_ARGUMENTS: Mapping[str, Kind] = MappingProxyType({})
_NO_GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType({})
_PORTION = 8
_INCOMPLETE = "unexpected end of input"
_NAMES_WHERE = re.compile(r'^for policy `[^`]*`, | for Action::"(?:\\.|[^"\\])*"')
_NO_ACTION = "unable to find an applicable action"
_NO_ACTION_REMEDY = (
    'A class stands behind `in`, as in `action in Action::"read"`; the principal is an Agent, the resource a Tool.'
)
_TYPE_REMEDY = "Compare with what the schema offers (authz/policy/schema.cedarschema)."


@dataclass(frozen=True, slots=True)
class _File:
    """One policy file, with its places."""

    source: PolicyFile
    text: str
    statements: tuple[Statement, ...]
    lines: Lines

    @classmethod
    def of(cls, source: PolicyFile) -> "_File":
        text = source.text
        return cls(source, text, tuple(split(text)), Lines.of(text))

    @property
    def whole(self) -> Place:
        return Place(self.source.path)

    def place(self, offset: int) -> Place:
        return Place(self.source.path, *self.lines.position(offset))


@dataclass(frozen=True, slots=True)
class _Portion:
    """Some statements of a file that are looked at together: all at once would keep the interpreter too long."""

    file: _File
    first: int
    statements: Sequence[Statement]

    @property
    def text(self) -> str:
        return "\n".join(statement.text for statement in self.statements)

    def statement_of(self, policy_id: str) -> Statement:
        """The statement that Cedar counts as `policy0`, `policy1` and so on."""
        return self.statements[int(policy_id.removeprefix("policy"))]

    def place_of(self, policy_id: str) -> Place:
        """Where it stands."""
        digits = policy_id.removeprefix("policy")
        known = digits.isdecimal() and int(digits) < len(self.statements)
        return self.file.place(self.statements[int(digits)].offset) if known else self.file.whole


@dataclass(frozen=True, slots=True)
class _Policy:
    """A policy and where it stands."""

    place: Place
    written: Written


def load_policies(
    sources: Sequence[PolicyFile],
    operations: Iterable[Operation],
    groups: Mapping[str, tuple[str, ...]] = _NO_GROUPS,
    arguments: Mapping[str, Kind] = _NO_ARGUMENTS,
    *,
    breathe: Callable[[], None] = lambda: None,
) -> CedarPolicy:
    """The policies in the files, for this catalog and these groups of SPIFFE IDs; raises Unusable with all problems.

    `breathe` is called between portions of the work, none of which takes more than a few milliseconds.

    Its version is a digest of the names and contents of the files.
    """
    problems: list[Problem] = []
    files: list[_File] = []
    policies: list[_Policy] = []
    try:
        vocabulary = Vocabulary.of(operations, groups, arguments)
        for source in sources:
            with collecting(problems):
                _must_be_cedar(source)
                files.append(_File.of(source))
                policies += _policies(files[-1], vocabulary, breathe)
        problems += _repeated(policies)
        if problems:
            raise Unusable(*problems)
        return CedarPolicy.of((policy.written for policy in policies), vocabulary, _digest(files))
    except NotAVocabulary as error:
        remedy = "Correct the catalog, or the groups in the configuration."
        what = "policies cannot speak of this catalog: "
        place = Place(sources[0].path.parent if sources else Path())
        raise Unusable(*(Problem(place, what + each, remedy) for each in error.sentences)) from error


def _must_be_cedar(source: PolicyFile) -> None:
    if not is_cedar(source.name):
        remedy = "Keep what is for Rego in a folder of its own, or write policy.engine: rego."
        raise Unusable(Problem(Place(source.path), "is for Rego, and Cedar decides here", remedy))


def _policies(file: _File, vocabulary: Vocabulary, breathe: Callable[[], None]) -> list[_Policy]:
    """The policies of one file; raises Unusable."""
    if not file.statements:
        raise Unusable(Problem(file.whole, "holds no policy", "Write one, or remove the file."))
    found: list[_Policy] = []
    problems: list[Problem] = []
    names, fields = vocabulary.names(), vocabulary.fields()
    for first in range(0, len(file.statements), _PORTION):
        breathe()
        portion = _Portion(file, first, file.statements[first : first + _PORTION])
        with collecting(problems):
            found += _policies_of(portion, vocabulary, names, fields)
    if problems:
        raise Unusable(*problems)
    return found


def _policies_of(
    portion: "_Portion", vocabulary: Vocabulary, names: Mapping[str, frozenset[str]], fields: Fields
) -> Iterator[_Policy]:
    """The policies of these statements; raises Unusable."""
    for statement in portion.statements:
        if excess := statement.excess():
            place = portion.file.place(statement.offset)
            raise Unusable(Problem(place, f"not accepted: {excess}", "Write several policies."))
    try:
        parsed = cedarpy.policies_to_pst(portion.text)
    except ValueError as error:
        raise Unusable(*_syntax_problems(portion, str(error))) from error
    written = {**parsed.static_policies, **parsed.templates}
    if len(written) != len(portion.statements):
        raise Unusable(Problem(portion.file.whole, "cannot be divided into policies", "Correct the syntax."))
    problems = [
        Problem(portion.place_of(id), *each) for id, policy in written.items() for each in faults(policy, names)
    ]
    told = {problem.place for problem in problems}
    problems += (problem for problem in _type_problems(portion, parsed, vocabulary) if problem.place not in told)
    if problems:
        raise Unusable(*sorted(problems, key=lambda problem: (problem.place.line, problem.place.column)))
    for id, policy in written.items():
        place = portion.place_of(id)
        try:
            yield _Policy(place, Written.of(policy, portion.statement_of(id).text, fields))
        except NotObservable as error:
            remedy = "Write it with the operators of Cedar 4.5, over the places of the schema."
            raise Unusable(Problem(place, f"not understood: {error}", remedy)) from error


def _syntax_problems(portion: "_Portion", message: str) -> list[Problem]:
    """One problem for each statement that cannot be parsed on its own, at the token that is in the way."""
    file, problems = portion.file, list[Problem]()
    for statement in portion.statements:
        error = _syntax_error(statement.text)
        if not error:
            continue
        offset = statement.offset
        if error.startswith(("unexpected token", "invalid token")):
            offset = statement.offset_of_failure(lambda text: _syntax_error(text) != _INCOMPLETE)
        remedy = "End the policy with a semicolon." if error == _INCOMPLETE else "Correct the syntax."
        problems.append(Problem(file.place(offset), f"not valid Cedar: {error}", remedy))
    return problems or [Problem(file.whole, f"not valid Cedar: {message}", "Correct the syntax.")]


def _syntax_error(text: str) -> str:
    try:
        cedarpy.policies_to_pst(text)
    except ValueError as error:
        return str(error)
    return ""


def _type_problems(portion: _Portion, parsed: pst.PolicySet, vocabulary: Vocabulary) -> Iterator[Problem]:
    """What Cedar's validator finds, in its strict mode; the same said of several actions is said once."""
    uids = pst.entity_uids(parsed.static_policies) | pst.entity_uids(parsed.templates)
    schema = vocabulary.schema_for(frozenset(uid.id for uid in uids if str(uid.type) == "Action"))
    result = cedarpy.validate_policies(portion.text, schema, release_gil=True)
    found = sorted({(error.policy_id, _NAMES_WHERE.sub("", error.error)) for error in result.errors})
    caused = {policy_id for policy_id, what in found if not what.startswith(_NO_ACTION)}
    for policy_id, what in found:
        if not what.startswith(_NO_ACTION):
            yield Problem(portion.place_of(policy_id), what, _TYPE_REMEDY)
        elif policy_id not in caused:
            yield Problem(portion.place_of(policy_id), what, _NO_ACTION_REMEDY)
    if not found and not result.validation_passed:
        yield Problem(portion.file.whole, "Cedar does not validate it and does not say why", _TYPE_REMEDY)


def _repeated(policies: list[_Policy]) -> Iterator[Problem]:
    first: dict[str, Place] = {}
    for policy in policies:
        id = policy.written.id
        if id in first:
            yield Problem(policy.place, f"the @id {id!r} is taken by the policy at {first[id]}", "Give it another.")
        first.setdefault(id, policy.place)


def _digest(files: list[_File]) -> str:
    """A digest of names and contents, each with its length before it, so that no two lists of files are one text."""
    digest = hashlib.sha256()
    for file in files:
        for part in (os.fsencode(file.source.name), file.text.encode()):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
