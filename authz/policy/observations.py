"""One policy's clauses in, all that they can observe of a query out, as small values that can be compared and compiled.

If two queries agree on every observation of a policy, the policy says the same of both, or fails for both. A
comparison is observed by its outcome where the outcome here is surely Cedar's, so that counts, ages and sets that grow
do not make every query new; everything else is observed by its value. The entities are fixed with the policy set, so
what the hierarchy says is a function of the values too.

Expressions of a kind that is not known here are refused: a new operator of Cedar's might observe something else.
"""

import re
from collections.abc import Iterable, Iterator

from cedarpy import pst

from authz.policy.fields import Fields, Kind, Place

Uid = tuple[str, str]
"""An entity: its type and its id."""
Observation = tuple[object, ...]
"""A word for what is looked at, then the places and the literals that it concerns."""

_ORDER = {"less": "greater", "less_eq": "greater_eq", "greater": "less", "greater_eq": "less_eq"}
"""The comparisons, each with the one that says the same with its sides exchanged."""
_OF_SETS = frozenset({"contains_all", "contains_any"})
_UNARY = frozenset(
    {"not", "neg", "is_empty", "datetime", "decimal", "duration", "ip", "is_ipv4", "is_ipv6", "is_loopback"}
    | {"is_multicast", "to_date", "to_time", "to_milliseconds", "to_seconds", "to_minutes", "to_hours", "to_days"}
)
_BINARY = frozenset(
    {"eq", "not_eq", "less", "less_eq", "greater", "greater_eq", "and", "or", "add", "sub", "mul", "in", "contains"}
    | {"contains_all", "contains_any", "is_in_range", "offset", "duration_since", "decimal_less_than"}
    | {"decimal_less_eq", "decimal_greater", "decimal_greater_eq"}
)
_ENTITIES = frozenset({Kind.AGENT, Kind.ACTION, Kind.TOOL})


class NotObservable(ValueError):
    """The policy holds an expression that is not understood here; the message says which."""


def observations(policy: pst.Template, fields: Fields) -> frozenset[Observation]:
    """All that the policy's clauses can observe; its scope is another's matter. Raises NotObservable."""
    look = _Look(fields)
    for clause in policy.clauses:
        look.value(clause.expr)
    return frozenset(look.seen)


class _Look:
    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.seen: set[Observation] = set()

    def value(self, expression: pst.Expr) -> None:  # noqa: C901, PLR0912  one case for each kind of expression
        """The expression's whole value matters."""
        place = self._place(expression)
        if place is not None:
            self.seen.update(("value", each) for each in self.fields.below(place))
            return
        match expression:
            case pst.BoolLit() | pst.LongLit() | pst.StringLit() | pst.EntityLit():
                return
            case pst.GetAttr(base):
                self.value(base)
            case pst.HasAttr(base, attributes):
                self._presence(base, attributes)
            case pst.IfThenElse(condition, one, other):
                self._values(condition, one, other)
            case pst.Record(members):
                self._values(*members.values())  # each is evaluated, read or not, and may fail
            case pst.Set(elements):
                self._values(*elements)
            case pst.Is(base, _, within):
                self._is(base, within)
            case pst.Like(base, pattern):
                self._like(base, pattern)
            case pst.UnaryOp(op, operand) if op in _UNARY:
                self._unary(op, operand)
            case pst.BinaryOp(op, left, right) if op in _BINARY:
                outcome = self._outcome(op, left, right)
                if outcome is None:
                    self._values(left, right)
                else:
                    self.seen.add(outcome)
            case _:
                raise NotObservable(f"{type(expression).__name__} {getattr(expression, 'op', '')}".rstrip())

    def _values(self, *expressions: pst.Expr) -> None:
        for each in expressions:
            self.value(each)

    def _place(self, expression: pst.Expr) -> Place | None:
        """The place that a chain of attributes from a variable is; None for every other expression."""
        steps: list[str] = []
        while isinstance(expression, pst.GetAttr):
            steps.append(expression.attr)
            expression = expression.base
        if not isinstance(expression, pst.Var):
            return None
        place = (expression.name, *reversed(steps))
        if place not in self.fields.by_place and not self.fields.is_record(place):
            raise NotObservable(f"there is no {'.'.join(place)}")
        return place

    def _field(self, expression: pst.Expr, *kinds: Kind) -> Place | None:
        """The place, where it is a field of one of these kinds."""
        place = self._place(expression)
        field = None if place is None else self.fields.by_place.get(place)
        return place if field is not None and field.kind in kinds else None

    def _presence(self, base: pst.Expr, attributes: tuple[str, ...]) -> None:
        place = self._place(base)
        if place is None:
            self.value(base)
            return
        for attribute in attributes:
            place = (*place, attribute)
            field = self.fields.by_place.get(place)
            if field is None and not self.fields.is_record(place):
                raise NotObservable(f"there is no {'.'.join(place)}")
            # What is always there tells nothing; but Cedar must be given it to say so.
            self.seen.add(("has" if field is not None and field.is_optional else "present", place))

    def _is(self, base: pst.Expr, within: pst.Expr | None) -> None:
        if self._field(base, *_ENTITIES) is None:
            self.value(base)  # else its type is known: an agent, an action, a tool
        if within is not None:
            outcome = self._within(base, within)
            if outcome is None:
                self._values(base, within)
            else:
                self.seen.add(outcome)

    def _like(self, base: pst.Expr, pattern: Iterable[pst.PatternElem]) -> None:
        place = self._field(base, Kind.STRING)
        if place is None:
            self.value(base)
        else:
            parts = (".*" if isinstance(each, pst.Wildcard) else re.escape(each.value) for each in pattern)
            self.seen.add(("like", place, "".join(parts)))

    def _unary(self, op: str, operand: pst.Expr) -> None:
        place = self._field(operand, Kind.SET) if op == "is_empty" else None
        if place is None:
            self.value(operand)
        else:
            self.seen.add(("empty", place))

    def _outcome(self, op: str, left: pst.Expr, right: pst.Expr) -> Observation | None:
        """The one bit that the comparison is, where both sides are of the types that it is for."""
        if op == "in":
            return self._within(left, right)
        if op in _ORDER:
            return self._order(op, left, right)
        if op in ("eq", "not_eq"):
            return self._equal(left, right)
        if op == "contains":
            return self._contains(left, right)
        if op in _OF_SETS:
            place, members = self._field(left, Kind.SET), _strings(right)
            return None if place is None or members is None else (op, place, members)
        return None

    def _within(self, left: pst.Expr, right: pst.Expr) -> Observation | None:
        place = self._field(left, *_ENTITIES)
        groups = right.elements if isinstance(right, pst.Set) else (right,)
        uids = [uid_of(each.value) for each in groups if isinstance(each, pst.EntityLit)]
        return None if place is None or len(uids) < len(groups) else ("in", place, frozenset(uids))

    def _order(self, op: str, left: pst.Expr, right: pst.Expr) -> Observation | None:
        here, there = self._field(left, Kind.LONG), self._field(right, Kind.LONG)
        if here and there:
            return (op, here, there)
        if here and isinstance(right, pst.LongLit):
            return (op, here, right.value)
        if there and isinstance(left, pst.LongLit):
            return (_ORDER[op], there, left.value)
        return None

    def _equal(self, left: pst.Expr, right: pst.Expr) -> Observation | None:
        for one, other in ((left, right), (right, left)):
            match other:
                case pst.LongLit(value) if place := self._field(one, Kind.LONG):
                    return ("equals", place, value)
                case pst.StringLit(value) if place := self._field(one, Kind.STRING):
                    return ("equals", place, value)
                case pst.BoolLit(value) if place := self._field(one, Kind.BOOL):
                    return ("equals", place, value)
                case pst.EntityLit(uid) if place := self._field(one, *_ENTITIES):
                    return ("entity", place, uid_of(uid))
        for kind in (Kind.LONG, Kind.STRING, Kind.BOOL, Kind.SET):
            here, there = self._field(left, kind), self._field(right, kind)
            if here and there:
                return ("same", here, there)
        return None

    def _contains(self, left: pst.Expr, right: pst.Expr) -> Observation | None:
        place, member = self._field(left, Kind.SET), self._field(right, Kind.STRING)
        if place and isinstance(right, pst.StringLit):
            return ("holds", place, right.value)
        if place and member:
            return ("holds at", place, member)
        among = _strings(left)
        return ("among", member, among) if member and among is not None else None


def uid_of(uid: pst.EntityUid) -> Uid:
    """The entity that a syntax tree names."""
    return str(uid.type), uid.id


def _strings(expression: pst.Expr) -> frozenset[str] | None:
    """The members of a set of string literals."""
    if not isinstance(expression, pst.Set):
        return None
    texts = [each.value for each in expression.elements if isinstance(each, pst.StringLit)]
    return frozenset(texts) if len(texts) == len(expression.elements) else None


def places(observed: Iterable[Observation]) -> Iterator[Place]:
    """The places in the context that these observations read: what Cedar must be given to answer."""
    for observation in observed:
        for part in observation[1:]:
            if isinstance(part, tuple) and part[0] == "context":
                yield part
