"""The text of one policy in, its conditions out: the parts that must hold, or must not, each asked of Cedar alone.

`when { a && b }` is two conditions, and `unless { a || b }` two that must not hold. What cannot be divided so is one
condition. Their texts are the author's own; Cedar evaluates them, as it evaluates the policy.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cedarpy

from authz.core.query import Query
from authz.policy.blocks import Block, Written, ask
from authz.policy.fields import ABSENT, Fields, Place
from authz.policy.observations import places
from authz.policy.schema import Vocabulary, quoted
from authz.policy.statements import split

_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_AND, _OR = "&&", "||"
_ID: Final = "condition"
_COMPARISONS = frozenset({"equals", "less", "less_eq", "greater", "greater_eq"})


@dataclass(frozen=True, slots=True)
class Condition:
    """A part of a policy. The policy fires where its scope matches and each of its conditions is as it must be."""

    text: str
    must_hold: bool  # False for what stands behind `unless`

    def __str__(self) -> str:
        return self.text if self.must_hold else f"not ({self.text})"


@dataclass(frozen=True, slots=True)
class Found:
    """What Cedar says of a condition for one query: whether it is as it must be; `error` where it cannot be told."""

    condition: Condition
    is_met: bool
    values: tuple[str, ...]  # what it reads of the query, such as `context.sensitivity is 2`
    error: str = ""


def conditions(text: str) -> list[Condition]:
    """The conditions of a policy that Cedar has parsed; none where it only has a scope."""
    found: list[Condition] = []
    for is_when, body in _clauses(_tokens(text)):
        between = _AND if is_when else _OR
        other = _OR if is_when else ""
        found += [Condition(_joined(part), is_when) for part in _parts(body, between, other)]
    return found


class Asker:
    """Asks Cedar about conditions, with the entities and fields of one policy set."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._entities, self._fields = vocabulary.entities(), vocabulary.fields()
        self._blocks: dict[Condition, tuple[Block, cedarpy.PolicySet]] = {}

    def ask(self, condition: Condition, query: Query) -> Found:
        """Whether the condition is as it must be for this query."""
        block, handle = self._block(condition)
        satisfied, errors = ask(block, handle, query, self._entities, self._fields)
        return Found(
            condition,
            is_met=not errors and bool(satisfied) == condition.must_hold,
            values=tuple(_value(place, query, self._fields) for place in self.reads(condition)),
            error="; ".join(errors),
        )

    def reads(self, condition: Condition) -> tuple[Place, ...]:
        """The fields that the condition looks at, of the agent, the action, the resource and the context."""
        written = self._block(condition)[0].policies[0]
        found = {part for observation in written.observed for part in observation[1:] if isinstance(part, tuple)}
        return tuple(sorted(place for place in found if place in self._fields.by_place))

    def is_one_comparison(self, condition: Condition) -> bool:
        """Whether all that it looks at is how one number compares with another that is written out."""
        observed = tuple(self._block(condition)[0].policies[0].observed)
        return len(observed) == 1 and observed[0][0] in _COMPARISONS and isinstance(observed[0][-1], int)

    def _block(self, condition: Condition) -> tuple[Block, cedarpy.PolicySet]:
        known = self._blocks.get(condition)
        if known is None:
            text = f"@id({quoted(_ID)}) forbid (principal, action, resource) when {{ {condition.text} }};"
            (policy,) = cedarpy.policies_to_pst(text).static_policies.values()
            written = Written.of(policy, text, self._fields)
            block = Block((written,), lambda _: None, tuple(sorted(set(places(written.observed)))))
            known = self._blocks[condition] = (block, block.handle())
        return known


def _value(place: Place, query: Query, fields: Fields) -> str:
    value = fields.by_place[place].read(query)
    if value is ABSENT:
        return f"{'.'.join(place)} is absent"
    if isinstance(value, frozenset):
        return f"{'.'.join(place)} is [{', '.join(quoted(each) for each in sorted(value))}]"
    if isinstance(value, bool):
        return f"{'.'.join(place)} is {str(value).lower()}"
    return f"{'.'.join(place)} is {quoted(value) if isinstance(value, str) else int(value)}"


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    start: int
    end: int
    depth: int  # of brackets around it


def _tokens(text: str) -> list[_Token]:
    (statement,) = split(text)
    found, depth = list[_Token](), 0
    for start, end in zip(statement.token_starts, statement.token_ends, strict=True):
        token = text[start:end]
        depth -= token in _CLOSING
        found.append(_Token(token, start, end, depth))
        depth += token in _OPENING
    return found


def _clauses(tokens: list[_Token]) -> Iterator[tuple[bool, list[_Token]]]:
    """Whether it is a `when`, and what stands between its braces, for each clause."""
    outside = [number for number, token in enumerate(tokens) if token.depth == 0]
    for number in outside:
        if tokens[number].text in ("when", "unless") and tokens[number + 1].text == "{":
            end = next(each for each in outside if each > number + 1 and tokens[each].text == "}")
            yield tokens[number].text == "when", tokens[number + 2 : end]


def _parts(body: list[_Token], between: str, other: str) -> Iterator[list[_Token]]:
    """The body divided at `between`, where nothing outside of brackets binds weaker than that."""
    top = [token.text for token in body if token.depth == 1]
    if other in top or "if" in top:
        yield body
        return
    part: list[_Token] = []
    for token in body:
        if token.depth == 1 and token.text == between:
            yield part
            part = []
        else:
            part.append(token)
    yield part


def _joined(part: list[_Token]) -> str:
    """The author's text of these tokens on one line, comments left out."""
    words: list[str] = []
    for before, token in zip([None, *part], part, strict=False):
        words += [" "] if before is not None and token.start > before.end else []
        words.append(token.text)
    return "".join(words)
