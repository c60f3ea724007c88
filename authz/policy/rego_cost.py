"""Rules in, an upper bound of the steps that a question can take out: statements, times the members they are tried on.

The engine holds the interpreter while it evaluates and cannot be stopped, so what could take long is not let in. Lists
of the question have at most as many members as `rego_input` lets through, data has the members it has, and a list that
a built-in makes has at most as many as a text has characters.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from authz.policy.rego_builtins import NEVER_GROW, STEPS
from authz.policy.rego_names import Names
from authz.policy.rego_syntax import (
    REFERENCES,
    Body,
    Node,
    Path,
    Rule,
    Tree,
    expressions,
    kind_of,
    parts_of,
    reference_of,
    sole_kind,
)

MAX_STEPS = 50_000
"""A step takes between a quarter of a microsecond and one."""
_MEMBERS_A_STEP = 20
MAX_GROWN_MEMBERS = 65_536
"""As many as a question has bytes: the parts of all its texts, joined."""
_COMPREHENSIONS = ("ArrayCompr", "SetCompr", "ObjectCompr")


@dataclass(frozen=True, slots=True)
class Shape:
    """How many members a value has at most, and how many each of them."""

    members: int
    named: Mapping[str, "Shape"]
    each: "Shape | None" = None  # of a member that has no name here; none where there are none
    has_grown: bool = False  # a built-in made it, and its texts may be longer than those of a question

    def at(self, step: str | None) -> "Shape":
        """The member of that name, or any."""
        found = self.named.get(step) if step is not None else None
        return found or self.each or NOTHING


NOTHING = Shape(0, {})


def anything(members: int, *, has_grown: bool = False) -> Shape:
    """A value of which is known only that no list in it has more members."""
    inside = Shape(members, {}, Shape(members, {}, None, has_grown), has_grown)
    return Shape(members, {}, inside, has_grown)


def shape_of(value: object) -> Shape:
    """The shape of a document."""
    if isinstance(value, dict):
        named = {name: shape_of(member) for name, member in value.items()}
        return Shape(len(value), named, _widest(named.values()))
    if isinstance(value, list):
        return Shape(len(value), {}, _widest(map(shape_of, value)))
    return NOTHING


def _widest(shapes: Iterable[Shape]) -> Shape:
    """A shape that each of these fits into."""
    members, named, each, has_grown = 0, dict[str, Shape](), list[Shape](), False
    for shape in shapes:
        members, has_grown = max(members, shape.members), has_grown or shape.has_grown
        each += [shape.each] if shape.each else []
        for name, member in shape.named.items():
            named[name] = _widest((named[name], member)) if name in named else member
    return Shape(members, named, _widest(each) if each else None, has_grown)


class Costs:
    """Bounds for the rules of one set, which must not go in circles."""

    def __init__(self, names: Names, question: Shape, text_members: int) -> None:
        """`text_members` is how many characters a text has, and so how many parts."""
        self.names, self.anything = names, anything(text_members)
        self._question = question
        self._data = shape_of(names.data)
        self._costs: dict[int, int] = {}
        self._shapes: dict[Path, Shape] = {}

    def of(self, rule: Rule) -> int:
        """The most steps that the rule takes, once. Functions that it calls are counted wherever they are called."""
        if id(rule) not in self._costs:
            bodies = [self._body(rule, body) for body in rule.bodies]
            self._costs[id(rule)] = 1 + sum(cost for cost, _ in bodies)
        return self._costs[id(rule)]

    def at(self, path: Path) -> Shape:
        """The shape of what is there, below `data` or `input`."""
        if path[0] == "input":
            shape = self._question
        else:
            rules = self.names.rules_of(path)
            if rules:
                return self._made_by(path, rules)
            shape = self._data
        for name in path[1:]:
            shape = shape.at(name)
        return shape

    def _made_by(self, path: Path, rules: list[Rule]) -> Shape:
        if path not in self._shapes:
            self._shapes[path] = self.anything  # while it is found out
            partial = [rule for rule in rules if rule.kind == "partial" and rule.path == path]
            if len(partial) == len(rules):
                members = sum(max(1, self._body(rule, body)[1]) for rule in rules for body in rule.bodies)
                self._shapes[path] = Shape(members, {}, self.anything)
            elif all(rule.path == path and rule.kind in ("complete", "default") for rule in rules):
                self._shapes[path] = _widest(self._values(rules))
        return self._shapes[path]

    def _values(self, rules: list[Rule]) -> Iterator[Shape]:
        for rule in rules:
            walk = _Walk(self, rule)
            for body in rule.bodies:
                walk.statements(body.statements)
            for node in [*rule.head, *(body.value for body in rule.bodies if body.value is not None)]:
                yield walk.shape(node)

    def _body(self, rule: Rule, body: Body) -> tuple[int, int]:
        """The steps of a body, and in how many ways it can hold."""
        walk = _Walk(self, rule)
        walk.statements(body.statements)
        walk.expression([*rule.head, body.value])
        return walk.cost, walk.ways


class _Walk:
    """One query: what is tried on how many members."""

    def __init__(self, costs: Costs, rule: Rule, bound: Mapping[str, Shape] | None = None) -> None:
        self._costs, self._rule, self._own = costs, rule, 1
        arguments = dict.fromkeys(rule.argument_names, costs.anything)
        self._bound: dict[str, Shape] = {**arguments, **(bound or {})}
        self._tried: dict[str, int] = {}  # variables that stand for each member in turn
        self._unnamed = 1

    @property
    def ways(self) -> int:
        ways = self._unnamed
        for members in self._tried.values():
            ways *= max(1, members)
        return ways

    @property
    def cost(self) -> int:
        return self.ways * self._own

    def statements(self, statements: Tree) -> None:
        for statement in statements:
            self._own += 1
            ((word, inner),) = statement["literal"].items()
            if word == "SomeIn":
                self._some(inner)
            elif word == "Every":
                self._every(inner)
            else:
                self.expression(inner)

    def _some(self, inner: Node) -> None:
        self.expression(inner["collection"])
        shape = self.shape(inner["collection"])
        self._unnamed *= max(1, shape.members)
        for kind, variable in expressions([inner["key"], inner["value"]]):
            if kind == "Var":
                self._bound[variable["value"]] = shape.at(None)

    def _every(self, inner: Node) -> None:
        self.expression(inner["domain"])
        shape = self.shape(inner["domain"])
        names = self._rule.words([inner["key"], inner["value"]])
        query = self._inside({name: shape.at(None) for name in names})
        query.statements(inner["query"]["stmts"])
        self._own += max(1, shape.members) * query.cost

    def _inside(self, more: Mapping[str, Shape]) -> "_Walk":
        tried = dict.fromkeys(self._tried, NOTHING)
        return _Walk(self._costs, self._rule, {**tried, **self._bound, **more})

    def expression(self, node: Tree) -> None:
        """Count what stands here."""
        if isinstance(node, list | tuple):
            for each in node:
                self.expression(each)
            return
        if not isinstance(node, dict):
            return
        kind = sole_kind(node)
        inner = node[kind] if kind else node
        if kind in _COMPREHENSIONS:
            self._own += self.comprehension(inner).cost
        elif kind == "Call":
            self._call(inner)
        elif kind in REFERENCES:
            self.reference(node)
            self.expression(parts_of(kind, inner))
        else:
            self.expression([part for name, part in inner.items() if name != "span"])
            if kind == "AssignExpr" and inner["op"] == "ColEq":
                self._assign(inner)

    def comprehension(self, inner: Node) -> "_Walk":
        """Its query, walked through."""
        query = self._inside({})
        query.statements(inner["query"]["stmts"])
        query.expression([inner.get("term"), inner.get("key"), inner.get("value")])
        return query

    def _call(self, inner: Node) -> None:
        self.expression(inner["params"])
        names = self._costs.names
        function = names.function_of(self._rule, inner)
        if function is not None:
            self._own += sum(self._costs.of(rule) for rule in names.at(function))
            return
        members = max((self.shape(each).members for each in inner["params"]), default=0)
        self._own += STEPS.get(names.built_in(self._rule, inner) or "", 1) + members // _MEMBERS_A_STEP

    def _assign(self, inner: Node) -> None:
        kind, left = kind_of(inner["lhs"])
        if kind == "Var":
            self._bound[left["value"]] = self.shape(inner["rhs"])
            return
        for kind, variable in expressions(inner["lhs"]):
            if kind == "Var":
                self._bound[variable["value"]] = self._costs.anything

    def reference(self, node: Node) -> Shape:
        """The shape of what is referred to; a variable that is not bound tries every member."""
        reference = reference_of(node)
        if reference is None:
            return self._costs.anything
        absolute = self._costs.names.absolute(self._rule, reference)
        if absolute is not None:
            shape, steps = self._costs.at(absolute), reference.steps[len(reference.names) :]
        elif reference.value is not None:
            shape, steps = self.shape(reference.value), reference.steps
        else:
            shape, steps = self._bound.get(reference.root, self._costs.anything), reference.steps
        for step in steps:
            if not isinstance(step, str):
                self._try_each(step, shape)
            shape = shape.at(step if isinstance(step, str) else None)
        return shape

    def _try_each(self, step: Node, shape: Shape) -> None:
        for kind, inner in expressions(step):
            if kind != "Var":
                continue
            name = inner["value"]
            if name == "_":
                self._unnamed *= max(1, shape.members)
            elif name not in self._bound:
                self._tried[name] = max(self._tried.get(name, 1), shape.members)

    def shape(self, node: Node) -> Shape:
        """How many members the value of the expression has at most."""
        kind, inner = kind_of(node)
        if kind in REFERENCES:
            return self._copy().reference(node)
        if kind in ("Array", "Set"):
            return Shape(len(inner["items"]), {}, _widest(self.shape(each) for each in inner["items"]))
        if kind == "Object":
            return Shape(len(inner["fields"]), {}, _widest(self.shape(each[2]) for each in inner["fields"]))
        if kind in _COMPREHENSIONS:
            return Shape(self._copy().comprehension(inner).ways, {}, self._costs.anything)
        if kind == "BinExpr":
            left, right = self.shape(inner["lhs"]), self.shape(inner["rhs"])
            return Shape(left.members + right.members, {}, self._costs.anything)
        return self._result(inner) if kind == "Call" else NOTHING

    def _result(self, inner: Node) -> Shape:
        """Of a call. A text that has grown may be divided into more parts than a text of a question has."""
        given = [self.shape(each) for each in inner["params"]]
        members = max(self._costs.anything.members, sum(shape.members for shape in given))
        name = self._costs.names.built_in(self._rule, inner)
        if any(shape.has_grown for shape in given):
            return anything(max(members, MAX_GROWN_MEMBERS), has_grown=True)
        return anything(members, has_grown=name not in NEVER_GROW)

    def _copy(self) -> "_Walk":
        """For a look that must not be counted twice."""
        copy = _Walk(self._costs, self._rule, self._bound)
        copy._tried = dict(self._tried)
        return copy
