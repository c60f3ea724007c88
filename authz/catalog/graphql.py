"""GraphQL over HTTP: a body in, the one root field that it asks for out.

An operation's name is the client's own word, so entries are by type and root field: `mutation deleteContact`. Fields
below the root are not looked at. A document that asks for several root fields is several attempts, and is refused.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from graphql import GraphQLError, parse
from graphql.language import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

from authz.catalog.bodies import json_body
from authz.catalog.entry import Entry
from authz.catalog.strict_json import Known
from authz.core.errors import Refused
from authz.core.hop import Hop
from authz.core.reasons import Reason
from authz.core.request import Request

MAX_TOKENS = 2000

_BODY = Known("query", "operationName", "variables", "extensions")


@dataclass(frozen=True, slots=True)
class GraphqlEndpoint:
    """A GraphQL server's one path; entries by the operation's type and its root field."""

    resource: str
    fields: Mapping[tuple[str, str], Entry]
    reads_more_than_target: ClassVar[bool] = True

    def read(self, request: Request, parameters: Mapping[str, str]) -> Hop:
        """The hop that the operation is; raises Refused."""
        body = json_body(request)
        if isinstance(body, list):
            raise Refused(Reason.BATCH_REFUSED, f"{len(body)} operations")
        if not isinstance(body, dict) or not isinstance(body.get("query"), str):
            raise Refused(Reason.MESSAGE_MALFORMED, "no GraphQL document; persisted ones cannot be read here")
        _BODY.must_not_be_shadowed(body)
        operation, fragments = _operation(body["query"], body.get("operationName"))
        fields = set(_root_fields(operation.selection_set, fragments, set())) - {"__typename"}
        kind = operation.operation.value
        if len(fields) != 1:
            raise Refused(Reason.MESSAGE_AMBIGUOUS, f"a {kind} of {len(fields)} root fields")
        (field,) = fields
        entry = self.fields.get((kind, field))
        if entry is None:
            raise Refused(Reason.ACTION_UNKNOWN, f"no such entry: GraphQL {kind} {field[:200]}")
        name = operation.name.value if operation.name else ""
        return entry.hop({**parameters, "operation_name": name} if name else parameters, body)


_Fragments = Mapping[str, FragmentDefinitionNode]


def _operation(text: str, name: Any) -> tuple[OperationDefinitionNode, _Fragments]:  # noqa: ANN401  any JSON
    try:
        document: DocumentNode = parse(text, no_location=True, max_tokens=MAX_TOKENS)
    except (GraphQLError, RecursionError) as error:
        raise Refused(Reason.MESSAGE_MALFORMED, "not a GraphQL document") from error
    found = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    fragments = [each for each in document.definitions if isinstance(each, FragmentDefinitionNode)]
    by_name = {each.name.value: each for each in fragments}
    if len(by_name) < len(fragments) or len(found) + len(fragments) < len(document.definitions):
        raise Refused(Reason.MESSAGE_AMBIGUOUS, "a fragment given twice, or a definition of a type")
    if name is not None:
        found = [each for each in found if each.name and each.name.value == name]
    if len(found) != 1:
        raise Refused(Reason.MESSAGE_AMBIGUOUS, f"{len(found)} operations that could be meant")
    return found[0], by_name


def _root_fields(selections: SelectionSetNode, fragments: _Fragments, seen: set[str]) -> Iterator[str]:
    """The fields asked for, through fragments; directives that leave some out are not believed."""
    for selection in selections.selections:
        if isinstance(selection, FieldNode):
            yield selection.name.value
        elif isinstance(selection, InlineFragmentNode):
            yield from _root_fields(selection.selection_set, fragments, seen)
        elif isinstance(selection, FragmentSpreadNode):
            name = selection.name.value
            if name not in fragments:
                raise Refused(Reason.MESSAGE_MALFORMED, "a fragment that is missing")
            if name not in seen:  # one that spreads another twice, and so on, would grow without bound
                seen.add(name)
                yield from _root_fields(fragments[name].selection_set, fragments, seen)
