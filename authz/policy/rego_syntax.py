"""The engine's syntax tree of Rego files in; rules, and what they refer to, out. Nothing is judged here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Node = Mapping[str, Any]
"""An expression as regorus writes it: its kind, and what belongs to it."""
Tree = Any
"""A part of the engine's tree: expressions, lists of them, and what stands between."""
Path = tuple[str, ...]
"""A place below `data` or `input`, that word first."""

REFERENCES = frozenset({"Var", "RefDot", "RefBrack"})
_EXPRESSIONS = REFERENCES | {
    *("String", "RawString", "Number", "Bool", "Null", "Array", "Set", "Object", "ArrayCompr", "SetCompr"),
    *("ObjectCompr", "Call", "UnaryExpr", "BinExpr", "BoolExpr", "ArithExpr", "AssignExpr", "Membership"),
}
_LANGUAGE = frozenset({"rego", "future"})


@dataclass(frozen=True, slots=True)
class Spot:
    """Where something stands; lines and columns count from 1."""

    file: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Reference:
    """A variable, or a value, and the steps from it: a name, or the expression that says which."""

    root: str  # the variable; empty for another value
    steps: tuple[str | Node, ...]
    value: Node | None  # where it is no variable

    @property
    def names(self) -> Path:
        """The steps that are names, up to the first that is not."""
        found: list[str] = []
        for step in self.steps:
            if not isinstance(step, str):
                break
            found.append(step)
        return tuple(found)


@dataclass(frozen=True, eq=False)
class Module:
    """A file: its package, its imports by the names that they have in it, and its rules."""

    package: Path
    imports: Mapping[str, Path]
    import_spots: tuple[tuple[Spot, Path], ...]
    rules: tuple["Rule", ...]


@dataclass(frozen=True, eq=False)
class Body:
    """One body of a rule: what it must be so that the rule has the value."""

    value: Node | None
    statements: tuple[Node, ...]
    span: Node


@dataclass(frozen=True, eq=False)
class Rule:
    """One rule as it is written; several may make up one value."""

    module_package: Path
    source: bytes  # of its file, in UTF-8
    spot: Spot
    last_line: int
    path: Path  # `data`, the package, and the names of its head
    kind: str  # default, complete, partial or function
    arguments: tuple[Node, ...]
    head: tuple[Node, ...]  # the expressions of its head
    bodies: tuple[Body, ...]
    goes_on_behind_variable: bool  # such as p[x].q

    @cached_property
    def argument_names(self) -> frozenset[str]:
        """The variables of its arguments."""
        return frozenset(variables(self.arguments))

    @cached_property
    def declared(self) -> frozenset[str]:
        """These, and what `some`, `every` and `:=` declare anywhere in it."""
        return self.argument_names | frozenset(name for node in self.nodes for name in self._declared(node))

    def _declared(self, node: Tree) -> Iterator[str]:
        if isinstance(node, list | tuple):
            for each in node:
                yield from self._declared(each)
        elif isinstance(node, dict):
            for word, inner in node.items():
                match word:
                    case "SomeIn":
                        yield from variables([inner["key"], inner["value"]])
                    case "SomeVars":
                        yield from self.words(inner["vars"])
                    case "Every":
                        yield from self.words([inner["key"], inner["value"]])
                    case "AssignExpr" if inner["op"] == "ColEq":
                        yield from variables(inner["lhs"])
                yield from self._declared(inner)

    @property
    def is_function(self) -> bool:
        """Whether it must be called to have a value."""
        return bool(self.arguments)

    def words(self, spans: list[Any]) -> Iterator[str]:
        """The names that stand there, as the tree tells of variables after `some` and `every` their place alone."""
        for each in spans:
            if each:
                yield self.source[each["start"] : each["end"]].decode()

    @property
    def nodes(self) -> Iterator[Any]:
        """All of it that is evaluated."""
        yield from self.head
        for body in self.bodies:
            yield body.value
            yield body.statements


def modules_of(tree: list[Node]) -> tuple[Module, ...]:
    """The files of a tree that the engine gave."""
    return tuple(_module(each) for each in tree)


def _module(node: Node) -> Module:
    ast, file = node["ast"], node["source"]["file"]
    text = node["source"]["contents"].encode()
    root = reference_of(ast["package"]["refr"])
    package = ("data", *((root.root, *root.names) if root else ()))
    imports, spots = dict[str, Path](), list[tuple[Spot, Path]]()
    for each in ast["imports"]:
        found = reference_of(each["refr"])
        if found is None or found.root in _LANGUAGE:
            continue
        path = (found.root, *found.names)
        named = each.get("as")
        alias = text[named["start"] : named["end"]].decode() if named else path[-1]
        imports[alias] = path
        spots.append((Spot(file, each["span"]["line"], each["span"]["col"]), path))
    rules = tuple(_rule(each, file, text, package) for each in ast["rules"])
    return Module(package, imports, tuple(spots), rules)


def _rule(node: Node, file: str, text: bytes, package: Path) -> Rule:
    ((word, inner),) = node.items()
    last_line = inner["span"]["line"] + text[inner["span"]["start"] : inner["span"]["end"]].rstrip().count(b"\n")
    spot = Spot(file, inner["span"]["line"], inner["span"]["col"])
    if word == "Default":
        reference = reference_of(inner["refr"])
        names = (reference.root, *reference.names) if reference else ()
        arguments, path = tuple(inner["args"]), (*package, *names)
        head = (inner["value"],)
        return Rule(package, text, spot, last_line, path, "default", arguments, head, (), goes_on_behind_variable=False)
    ((shape, found),) = inner["head"].items()
    reference = reference_of(found["refr"])
    names = (reference.root, *reference.names) if reference else ()
    steps = reference.steps if reference else ()
    varying = [step for step in steps if not isinstance(step, str)]
    expressions_of_head = [*varying, found.get("key"), (found.get("assign") or {}).get("value")]
    kind = "function" if shape == "Func" else "partial" if shape == "Set" or varying else "complete"
    bodies = tuple(
        Body((each["assign"] or {}).get("value"), tuple(each["query"]["stmts"]), each["span"])
        for each in inner["bodies"]
    )
    goes_on = len(names) - 1 < len(steps) - (shape != "Set")
    return Rule(
        package,
        text,
        spot,
        last_line,
        (*package, *names),
        kind,
        tuple(found.get("args", ())),
        tuple(each for each in expressions_of_head if each is not None),
        bodies,
        goes_on_behind_variable=goes_on and bool(varying),
    )


def sole_kind(node: Mapping[str, Any]) -> str:
    """The kind of an expression; empty where this part of the tree is none."""
    kind = next(iter(node)) if len(node) == 1 else ""
    return kind if kind in _EXPRESSIONS else ""


def kind_of(node: Node) -> tuple[str, Node]:
    """The kind of an expression and what belongs to it."""
    ((kind, inner),) = node.items()
    return kind, inner


def reference_of(node: Node) -> Reference | None:
    """The expression as a reference; none where it is another kind."""
    steps: list[str | Node] = []
    kind, inner = kind_of(node)
    if kind not in REFERENCES:
        return None
    while kind != "Var":
        if kind == "RefDot":
            steps.append(inner["field"][1])
        elif kind == "RefBrack":
            index_kind, index = kind_of(inner["index"])
            steps.append(index["value"] if index_kind in ("String", "RawString") else inner["index"])
        else:
            return Reference("", tuple(reversed(steps)), node)
        node = inner["refr"]
        kind, inner = kind_of(node)
    return Reference(inner["value"], tuple(reversed(steps)), None)


def expressions(node: Tree) -> Iterator[tuple[str, Node]]:
    """Every expression of this part, each reference once and whole; then those inside of it."""
    if isinstance(node, list | tuple):
        for each in node:
            yield from expressions(each)
    elif isinstance(node, dict):
        kind = sole_kind(node)
        if not kind:
            for each in node.values():
                yield from expressions(each)
            return
        inner = node[kind]
        yield kind, inner
        yield from expressions(parts_of(kind, inner))


def variables(node: Tree) -> Iterator[str]:
    """The variables that occur in this part."""
    return (inner["value"] for kind, inner in expressions(node) if kind == "Var")


def parts_of(kind: str, inner: Node) -> list[Any]:
    """What an expression is made of; of a reference, the expressions among its steps."""
    if kind == "Call":
        return [inner["params"]]
    if kind not in REFERENCES:
        return [part for name, part in inner.items() if name != "span"]
    reference = reference_of({kind: inner})
    if reference is None:
        return []
    steps = [step for step in reference.steps if not isinstance(step, str)]
    return [*([reference.value] if reference.value else []), *steps]


def begins(file: str, inner: Node) -> Spot:
    """Where an expression begins: to the engine a call is at its bracket, and a reference at its last dot."""
    while "fcn" in inner or "refr" in inner:
        _, inner = kind_of(inner["fcn"] if "fcn" in inner else inner["refr"])
    return Spot(file, inner["span"]["line"], inner["span"]["col"])


def called(inner: Node) -> str:
    """The name of what a call calls, with dots; empty where an expression says which."""
    reference = reference_of(inner["fcn"])
    if reference is None or not reference.root or len(reference.names) != len(reference.steps):
        return ""
    return ".".join((reference.root, *reference.names))
