"""Operations and groups in; what policies can speak of out, as Cedar's schema and entities.

The fixed part of the schema is `schema.cedarschema`. Agents need no entity: they have no attributes, and only their
groups are above them.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from itertools import accumulate
from types import MappingProxyType
from typing import Self

import cedarpy

from authz.core.hop import ActionClass, Operation
from authz.core.spiffe import NotASpiffeId, SpiffeId
from authz.policy.fields import Fields, Kind

FIXED = resources.files("authz.policy").joinpath("schema.cedarschema").read_text(encoding="utf-8")
"""The part that is the same for every catalog."""
_CLASS_NAMES = frozenset(map(str, ActionClass))

_PARAMETER = re.compile(r"\{(\w+)\}")  # the catalog names an operation by its template
_NO_ARGUMENTS: Mapping[str, Kind] = MappingProxyType({})

_Uid = tuple[str, str]  # entity type, id

_MAX_SCHEMAS = 8
"""Most policies name few actions, and the same ones; to parse a schema takes longer than to validate some policies."""


class NotAVocabulary(ValueError):
    """No schema can speak of these operations and groups; `sentences` says why, one fault each."""

    def __init__(self, *sentences: str) -> None:
        super().__init__("; ".join(sentences))
        self.sentences = sentences


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What policies can speak of. `of` is the way to make one."""

    operations: frozenset[Operation]
    groups: Mapping[str, frozenset[SpiffeId]]
    arguments: Mapping[str, Kind]
    _parents: Mapping[_Uid, frozenset[_Uid]] = field(repr=False)
    _above: dict[_Uid, frozenset[_Uid]] = field(repr=False)
    _schemas: dict[frozenset[str], cedarpy.Schema] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        operations: Iterable[Operation],
        groups: Mapping[str, tuple[str, ...]],
        arguments: Mapping[str, Kind] = _NO_ARGUMENTS,
    ) -> Self:
        """The vocabulary of a catalog, and of `groups` from their name to their SPIFFE IDs; raises NotAVocabulary.

        `arguments` are those that the catalog chose for policies, by their name, with their type.
        """
        ours = frozenset(operations)
        members, faults = _members(groups)
        faults += _contradictions(ours)
        if faults:
            raise NotAVocabulary(*faults)
        parents = _parents(ours, members)
        return cls(ours, members, dict(arguments), parents, {uid: _climb(uid, parents) for uid in parents})

    def fields(self) -> Fields:
        """The places that a policy can name."""
        names = {name for operation in self.operations for name in _PARAMETER.findall(operation.resource)}
        return Fields.of(self.arguments, names)

    def above(self, uid: _Uid) -> frozenset[_Uid]:
        """The entity and all that it is in. One that is not in the vocabulary, as most agents, is in nothing."""
        return self._above.get(uid) or frozenset({uid})

    def names(self) -> dict[str, frozenset[str]]:
        """The ids that exist, by entity type. Agents are not among them: any SPIFFE ID may call."""
        return {
            "Action": frozenset(operation.action for operation in self.operations) | _CLASS_NAMES,
            "AgentGroup": frozenset(self.groups),
            "Dataset": frozenset(name for operation in self.operations for name in _datasets(operation.dataset)),
            "Service": frozenset(operation.service for operation in self.operations),
            "Tool": frozenset(operation.resource for operation in self.operations),
        }

    def entities(self) -> cedarpy.Entities:
        """The catalog's entities, its actions with their classes among them; raises NotAVocabulary.

        They are parsed with the schema because the schema alone holds the action classes: without it,
        `action in Action::"egress"` is false, and the policy that forbids egress forbids nothing.
        """
        document = [
            {"uid": _uid(*child), "attrs": {}, "parents": [_uid(*each) for each in sorted(above)]}
            for child, above in sorted(self._parents.items())
            if child[0] != "Action"
        ]
        schema = _schema({operation.action: operation.classes for operation in self.operations}, self)
        try:
            return cedarpy.Entities.from_json_str(json.dumps(document), schema, release_gil=True)
        except ValueError as error:
            raise NotAVocabulary(f"Cedar does not take its names: {error}") from error

    def schema_for(self, names: frozenset[str]) -> cedarpy.Schema:
        """The schema against which policies that name these actions are validated; raises NotAVocabulary.

        Validation costs policies times actions, so of the actions that no policy names it has one of each set of
        classes: all actions take the same context, and Cedar cannot tell two of one set apart. A class without an
        action gets one made up, so that policies about it load before the first such action is in the catalog.
        """
        named = names.intersection(operation.action for operation in self.operations)
        schema = self._schemas.get(named)
        if schema is None:
            if len(self._schemas) >= _MAX_SCHEMAS:
                self._schemas.clear()
            schema = self._schemas[named] = self._make_schema(named)
        return schema

    def _make_schema(self, names: frozenset[str]) -> cedarpy.Schema:
        actions = {f"an action of class {each}": frozenset({each}) for each in ActionClass}
        present = sorted(self.operations, key=lambda operation: operation.action)
        actions |= {operation.action: operation.classes for operation in present if operation.action in names}
        one_of_each = {operation.classes: operation.action for operation in present}
        actions |= {action: classes for classes, action in one_of_each.items()}
        return _schema(actions, self)

    def schema_text(self) -> str:
        """The whole schema, in Cedar's syntax: for editors, and for other tools of Cedar's."""
        return schema_text({operation.action: operation.classes for operation in self.operations}, self.fields())


def schema_text(actions: Mapping[str, frozenset[ActionClass]], fields: Fields) -> str:
    """The schema with these actions, their classes and these fields, in Cedar's schema syntax."""
    records = [_record_line(name, fields) for name in ("arguments", "parameters")]
    return "\n".join([FIXED, *records, *(_action_line(action, actions[action]) for action in sorted(actions))])


def _record_line(name: str, fields: Fields) -> str:
    members = [
        f"{quoted(place[-1])}?: {fields.by_place[place].kind.value}" for place in fields.below(("context", name))
    ]
    return f"type {name.capitalize()} = {{ {', '.join(members)} }};"


def quoted(text: str) -> str:
    """The text as a string literal of Cedar's."""
    return '"' + "".join(each if each.isprintable() and each not in '"\\' else _escaped(each) for each in text) + '"'


def _parents(
    operations: frozenset[Operation], groups: Mapping[str, frozenset[SpiffeId]]
) -> dict[_Uid, frozenset[_Uid]]:
    """Each entity with those right above it."""
    parents: dict[_Uid, set[_Uid]] = {("Action", name): set() for name in _CLASS_NAMES}
    for operation in operations:
        parents["Action", operation.action] = {("Action", str(each)) for each in operation.classes}
        chain = [("Dataset", name) for name in _datasets(operation.dataset)]
        parents["Tool", operation.resource] = {chain[-1], ("Service", operation.service)}
        parents.setdefault(("Service", operation.service), set())
        for wider, narrower in zip([None, *chain], chain, strict=False):
            parents[narrower] = {wider} if wider else set()
    for group, members in groups.items():
        parents.setdefault(("AgentGroup", group), set())
        for agent in members:
            parents.setdefault(("Agent", agent.uri), set()).add(("AgentGroup", group))
    return {child: frozenset(above) for child, above in parents.items()}


def _climb(uid: _Uid, parents: Mapping[_Uid, frozenset[_Uid]]) -> frozenset[_Uid]:
    """The entity and all above it. Nothing can be above itself: each kind of entity lies above the one before."""
    return frozenset({uid}).union(*(_climb(above, parents) for above in parents[uid]))


def _schema(actions: Mapping[str, frozenset[ActionClass]], vocabulary: Vocabulary) -> cedarpy.Schema:
    try:
        return cedarpy.Schema.from_str(schema_text(actions, vocabulary.fields()), release_gil=True)
    except ValueError as error:
        raise NotAVocabulary(f"Cedar does not take its names: {error}") from error


def _escaped(character: str) -> str:
    return f"\\u{{{ord(character):x}}}"


def _action_line(action: str, classes: frozenset[ActionClass]) -> str:
    above = f" in [{', '.join(sorted(map(str, classes)))}]" if classes else ""
    return f"action {quoted(action)}{above} appliesTo {{ principal: Agent, resource: Tool, context: Hop }};"


def _uid(type: str, id: str) -> dict[str, str]:
    return {"type": type, "id": id}


def _datasets(dataset: str) -> list[str]:
    """The dataset with all that are above it, the widest first: `crm`, `crm.contacts`."""
    return list(accumulate(dataset.split("."), lambda wider, step: f"{wider}.{step}"))


def _members(groups: Mapping[str, tuple[str, ...]]) -> tuple[dict[str, frozenset[SpiffeId]], list[str]]:
    members: dict[str, frozenset[SpiffeId]] = {}
    faults: list[str] = []
    for group, ids in groups.items():
        try:
            members[group] = frozenset(map(SpiffeId.parse, ids))
        except NotASpiffeId as error:
            faults.append(f"the group {group!r} names something else than SPIFFE IDs: {error}")
    return members, faults


def _contradictions(operations: frozenset[Operation]) -> list[str]:
    """Where an action or a resource would get two meanings: joined in one entity, one would lend the other its own."""
    faults: list[str] = []
    classes: dict[str, frozenset[ActionClass]] = {}
    places: dict[str, tuple[str, str]] = {}
    for operation in sorted(operations, key=lambda each: (each.action, each.resource)):
        if operation.action in _CLASS_NAMES:
            faults.append(f"the action {operation.action!r} has the name of an action class")
        if classes.setdefault(operation.action, operation.classes) != operation.classes:
            faults.append(f"the action {operation.action!r} is in one place of other classes than in another")
        place = (operation.service, operation.dataset)
        if places.setdefault(operation.resource, place) != place:
            faults.append(f"the resource {operation.resource!r} lies in two services or datasets")
    return list(dict.fromkeys(faults))
