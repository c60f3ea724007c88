"""Rules in; what each name in them stands for, and which rules depend on which, out."""

from collections.abc import Iterator, Mapping
from typing import Any

from authz.policy.rego_syntax import Module, Node, Path, Reference, Rule, called, expressions, reference_of


class Names:
    """What the names of these modules stand for."""

    def __init__(self, modules: tuple[Module, ...], data: Mapping[str, Any]) -> None:
        """`data` is the document of data.json."""
        self.modules, self.data = modules, data
        self.rules = tuple(rule for module in modules for rule in module.rules)
        self._imports = {id(rule): module.imports for module in modules for rule in module.rules}
        self._own: dict[Path, set[str]] = {}
        self._under: dict[Path, list[Rule]] = {}
        self._at: dict[Path, list[Rule]] = {}
        for rule in self.rules:
            self._own.setdefault(rule.module_package, set()).add(rule.path[len(rule.module_package)])
            self._at.setdefault(rule.path, []).append(rule)
            for length in range(1, len(rule.path) + 1):
                self._under.setdefault(rule.path[:length], []).append(rule)

    def at(self, path: Path) -> list[Rule]:
        """The rules that make up the value there."""
        return self._at.get(path, [])

    def absolute(self, rule: Rule, reference: Reference) -> Path | None:
        """The place below `data` or `input`, as far as it is names; none for a variable or another value."""
        root = reference.root
        if not root or root in rule.argument_names:
            return None
        if root in ("data", "input"):
            return root, *reference.names
        if root in self._own.get(rule.module_package, ()):
            return *rule.module_package, root, *reference.names
        imported = self._imports[id(rule)].get(root)
        return None if imported is None else (*imported, *reference.names)

    def shadowed(self, rule: Rule) -> set[str]:
        """Names that are variables of the rule, and are more than that in its file."""
        own, imported = self._own.get(rule.module_package, set[str]()), self._imports[id(rule)]
        return {name for name in rule.declared - rule.argument_names if name in own or name in imported}

    def rules_of(self, path: Path) -> list[Rule]:
        """The rules whose values are there, below it or above it."""
        if path[0] != "data":
            return []
        above = [rule for length in range(1, len(path)) for rule in self._at.get(path[:length], [])]
        return [*above, *self._under.get(path, [])]

    def function_of(self, rule: Rule, inner: Node) -> Path | None:
        """The place of the function of ours that is called; none for a built-in."""
        reference = reference_of(inner["fcn"])
        path = self.absolute(rule, reference) if reference is not None else None
        return path if path is not None and path in self._at else None

    def built_in(self, rule: Rule, inner: Node) -> str | None:
        """The name of the built-in that is called, empty where it cannot be told; none where the function is ours."""
        return None if self.function_of(rule, inner) is not None else called(inner)

    def references(self, rule: Rule) -> Iterator[tuple[Node, Path]]:
        """What the rule reads below `data` and `input`, functions that it calls among it."""
        for node in rule.nodes:
            for kind, inner in expressions(node):
                if kind == "Call":
                    function = self.function_of(rule, inner)
                    if function is not None:
                        yield inner, function
                    continue
                reference = reference_of({kind: inner})
                path = self.absolute(rule, reference) if reference is not None else None
                if path is not None:
                    yield inner, path

    def reached(self, path: Path) -> tuple[list[Rule], list[Rule]]:
        """The rules that the value there depends on, each behind what it depends on itself; and those in circles."""
        order, circular = list[Rule](), list[Rule]()
        open_, done = set[int](), set[int]()
        stack: list[tuple[Rule, Iterator[Rule]]] = []

        def enter(rule: Rule) -> None:
            open_.add(id(rule))
            stack.append((rule, iter([each for _, path in self.references(rule) for each in self.rules_of(path)])))

        for first in self.rules_of(path):
            if id(first) not in done:
                enter(first)
            while stack:
                rule, rest = stack[-1]
                following = next(rest, None)
                if following is None:
                    stack.pop()
                    open_.discard(id(rule))
                    done.add(id(rule))
                    order.append(rule)
                elif id(following) in open_:
                    circular.append(following)
                elif id(following) not in done:
                    enter(following)
        return order, circular
