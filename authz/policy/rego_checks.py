"""Rules in, what must not be evaluated in process out, each with its place and what to write instead."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from authz.policy.rego_builtins import TESTED, WRITTEN_OUT, remedy_for
from authz.policy.rego_cost import MAX_STEPS, Costs
from authz.policy.rego_input import Members, fault_of_place, shape_of_members
from authz.policy.rego_names import Names
from authz.policy.rego_syntax import (
    REFERENCES,
    Node,
    Path,
    Rule,
    Spot,
    Tree,
    begins,
    expressions,
    kind_of,
    reference_of,
    variables,
)

MAX_DEPTH = 50
"""Rules that depend on each other in a row: the engine keeps each on its stack."""
_DATA_REMEDY = "Correct the name, or put the document into data.json; an empty one if there is nothing yet."


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a set is refused."""

    spot: Spot
    what: str
    remedy: str


def faults(names: Names, decision: Path, members: Members, max_characters: int) -> list[Fault]:
    """All that is wrong with these rules, of which the one at `decision` decides; no text is longer than that."""
    found = [*faults_of_language(names), *_of_imports(names)]
    for rule in names.rules:
        found += _of_places(names, rule, members)
    if not found:
        found += _of_depth(names)
    if not found:
        found += _of_cost(names, decision, members, max_characters)
    return found


def faults_of_language(names: Names) -> list[Fault]:
    """What is wrong with them whatever the question and the data are like."""
    found = list(_of_heads(names))
    for rule in names.rules:
        found += _of_rule(names, rule)
        found += _of_variables(names, rule)
    _, circular = names.reached(("data",))
    found += (
        Fault(rule.spot, f"{_shown(rule.path)} depends on itself", "Rego has no recursion: divide the rule.")
        for rule in dict.fromkeys(circular)
    )
    return found


def _shown(path: Path) -> str:
    return ".".join(path)


def _of_imports(names: Names) -> Iterator[Fault]:
    for module in names.modules:
        for spot, path in module.import_spots:
            if path[0] == "data" and not _is_there(names, path):
                yield Fault(spot, f"nothing is at {_shown(path)}", _DATA_REMEDY)


def _of_heads(names: Names) -> Iterator[Fault]:
    defaults = Counter(rule.path for rule in names.rules if rule.kind == "default")
    for rule in names.rules:
        if rule.kind == "default" and defaults[rule.path] > 1:
            yield Fault(rule.spot, f"{_shown(rule.path)} has several defaults", "Leave one.")
        name = ".".join(rule.path[len(rule.module_package) :])
        if rule.kind == "function" and (name in TESTED or name.partition(".")[0] in ("input", "data")):
            yield Fault(rule.spot, f"{name} is the name of a built-in", "Give the function another name.")
        if rule.goes_on_behind_variable:
            what = "a rule's head goes on behind a variable, and what it makes cannot be told from outside"
            yield Fault(rule.spot, what, "Write the variable last: p.q[x], not p[x].q.")


def _of_rule(names: Names, rule: Rule) -> Iterator[Fault]:
    file = rule.spot.file
    for node in rule.nodes:
        for inner in _replacements(node):
            spot = begins(file, inner)
            remedy = "Give a function what differs as an argument; keep tests of `opa test` in another folder."
            yield Fault(spot, "`with` puts other values in the place of the question's", remedy)
        for kind, inner in expressions(node):
            spot = begins(file, inner)
            if kind == "Membership" and inner["key"] is not None:
                remedy = "Write `some k, v in xs` with what k and v are, or ask for the value alone."
                yield Fault(spot, "`k, v in xs` differs from OPA's where xs is a set", remedy)
            if kind == "Call":
                yield from _of_call(names, rule, inner, spot)


def _replacements(node: Tree) -> Iterator[Node]:
    if isinstance(node, list | tuple):
        for each in node:
            yield from _replacements(each)
    elif isinstance(node, dict):
        if node.get("with_mods"):
            yield node
        for each in node.values():
            yield from _replacements(each)


def _of_call(names: Names, rule: Rule, inner: Node, spot: Spot) -> Iterator[Fault]:
    name, given = names.built_in(rule, inner), len(inner["params"])
    if name is None:
        function = names.function_of(rule, inner) or ()
        wanted = {len(each.arguments) for each in names.at(function)}
        if given not in wanted:
            yield Fault(spot, f"{_shown(function)} does not take {given} arguments", "Give it those that it has.")
        return
    if name in TESTED and given != TESTED[name]:
        yield Fault(spot, f"{name} takes {TESTED[name]} arguments, and not {given}", "Use its result: `x := ...`.")
    elif name not in TESTED:
        yield Fault(spot, f"{name or 'this'} is not a function that is evaluated in process", remedy_for(name))
    elif name in WRITTEN_OUT:
        position, fault_of = WRITTEN_OUT[name]
        kind, text = kind_of(inner["params"][position])
        if kind not in ("String", "RawString"):
            what = f"{name} is given a pattern that does not stand here"
            yield Fault(spot, what, "Write it out as a text: one of another's making can take very long.")
        elif fault := fault_of(text["value"]):
            yield Fault(spot, f"{name} is given {fault}", "Write a simpler one, or several.")


def _of_places(names: Names, rule: Rule, members: Members) -> Iterator[Fault]:
    for inner, path in names.references(rule):
        spot = begins(rule.spot.file, inner)
        if path[0] == "input":
            if fault := fault_of_place(members, path[1:]):
                yield Fault(spot, fault, "Correct the name: docs/rego.md shows the question.")
        elif not _is_there(names, path):
            yield Fault(spot, f"nothing is at {_shown(path)}: no rule, and no document in data.json", _DATA_REMEDY)


def _is_there(names: Names, path: Path) -> bool:
    if names.rules_of(path):
        return True
    at: Any = names.data
    for name in path[1:]:
        if isinstance(at, dict) and name in at:
            at = at[name]
        else:
            return False
    return True


def _of_variables(names: Names, rule: Rule) -> Iterator[Fault]:
    """Variables that nothing in the rule gives a value to: the engine would say so when it gets there."""
    bound, used = set(rule.declared), dict[str, Node]()
    for node in rule.nodes:
        bound |= set(_bound(node))
        for kind, inner in expressions(node):
            reference = reference_of({kind: inner}) if kind in REFERENCES else None
            if reference is not None and reference.root and names.absolute(rule, reference) is None:
                used.setdefault(reference.root, inner)
    for name in sorted(names.shadowed(rule)):
        yield Fault(rule.spot, f"{name} is a variable here, and a rule or an import too", "Give it another name.")
    for name in sorted(used.keys() - bound - {"_", "input", "data"}):
        spot = begins(rule.spot.file, used[name])
        yield Fault(spot, f"nothing gives {name} a value", "Correct the name, or bind it with `some`, `:=` or a rule.")


def _bound(node: Tree) -> Iterator[str]:
    """The variables that this part gives values to without a word that declares them."""
    if isinstance(node, list | tuple):
        for each in node:
            yield from _bound(each)
    elif isinstance(node, dict):
        for word, inner in node.items():
            if word == "AssignExpr":
                yield from variables([inner["lhs"], *([inner["rhs"]] if inner["op"] == "Eq" else [])])
            elif word == "RefBrack":
                yield from variables(inner["index"])
            yield from _bound(inner)


def _of_depth(names: Names) -> Iterator[Fault]:
    depths: dict[int, int] = {}
    for rule in names.reached(("data",))[0]:
        below = [depths[id(each)] for _, path in names.references(rule) for each in names.rules_of(path)]
        depths[id(rule)] = 1 + max(below, default=0)
        if depths[id(rule)] == MAX_DEPTH + 1:
            what = f"more than {MAX_DEPTH} rules depend on each other in a row, of which this is the last"
            yield Fault(rule.spot, what, "Say it in fewer steps.")


def _of_cost(names: Names, decision: Path, members: Members, max_characters: int) -> Iterator[Fault]:
    costs = Costs(names, shape_of_members(members), max_characters)
    order, _ = names.reached(decision)
    steps = {id(rule): costs.of(rule) for rule in order if rule.kind != "function"}
    if sum(steps.values()) > MAX_STEPS:
        worst = max((rule for rule in order if id(rule) in steps), key=lambda rule: steps[id(rule)])
        most, shown = sum(steps.values()), _shown(worst.path)
        what = f"a question could take {most:,} steps, {steps[id(worst)]:,} of them in {shown}"
        remedy = (
            f"At most {MAX_STEPS:,} are let in. Go through one long list in a rule, not through two inside each other; "
            "put what does not depend on the other into a rule of its own."
        )
        yield Fault(worst.spot, what, remedy)
