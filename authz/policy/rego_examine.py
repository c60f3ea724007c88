"""Rego files in, what is wrong with them and what they read out: in a process of its own, which may come to harm.

The engine's parser takes exponential time for some texts, a rule that never ends overflows its stack, and nothing can
interrupt it. So every set is parsed, checked and tried here first, within limits that the system holds. What this
process does not survive is not loaded: see `rego_trial`, which runs it.
"""

import json
import re
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import NoReturn

import regorus

from authz.policy.rego_checks import Fault, faults
from authz.policy.rego_engines import ASKING, asking
from authz.policy.rego_names import Names
from authz.policy.rego_syntax import Path, Rule, Spot, Tree, modules_of
from authz.policy.rego_trial import Examined, FoundRule, Request

MAX_CPU_SECONDS = 10
MAX_MEMORY_BYTES = 2**31
MAX_TRIAL_SECONDS = 0.05
"""For one question, of the processor's time: the quickest of a few tries."""
_TRIES = 3
_PLACE = re.compile(r"--> (.*):(\d+):(\d+)$", re.MULTILINE)
_ERROR = re.compile(r"^error: (.*)", re.MULTILINE | re.DOTALL)
_REMEDIES = (
    ("keyword is required", "Write Rego v1, with `if` before a body and `contains` for a set: opa fmt --rego-v1."),
    ("is unsafe", "Correct the name, or bind it with `some`, `:=` or a rule."),
    ("used before definition", "Give the variable a name that no rule has."),
    ("could not find function", "Correct the name, or write the function."),
)


def plain(error: BaseException) -> Fault:
    """What the engine says of a file, without the stack that it adds."""
    text = str(error).partition("Stack backtrace:")[0].strip()
    at, said = _PLACE.search(text), _ERROR.search(text)
    what = " ".join((said[1] if said else text).split())[:300]
    spot = Spot(at[1], int(at[2]), int(at[3])) if at else Spot("", 0, 0)
    remedy = next((remedy for part, remedy in _REMEDIES if part in what), "Correct the rule.")
    return Fault(spot, what, remedy)


def examine(request: Request) -> Examined:
    """All that can be said of the files without asking them about a hop."""
    engine, found = regorus.Engine(), Examined()
    engine.set_gather_prints(True)
    for name, text in request.files:
        sys.stderr.write(f"at {name}\n")
        sys.stderr.flush()
        _try(found, partial(engine.add_policy, name, text))
    if found.problems:
        return found
    names = Names(modules_of(json.loads(engine.get_ast_as_json())), json.loads(request.data))
    decision = tuple(request.decision.split("."))
    found.problems += _of_decision(names, decision, request)
    found.problems += faults(names, decision, request.members, request.max_characters)
    if not found.problems:
        _try(found, lambda: engine.add_data_json(request.data))
        _compile(engine, request.decision, found)
    for question in request.questions if not found.problems else ():
        seconds = min(_seconds(engine, question) for _ in range(_TRIES))
        if seconds > MAX_TRIAL_SECONDS:
            what = f"a large question takes {seconds * 1000:.0f} ms, of at most {MAX_TRIAL_SECONDS * 1000:.0f}"
            found.problems.append(Fault(_spot_of(names, decision), what, "Say it in fewer steps."))
    _tell(found, names, decision)
    return found


def _try(found: Examined, act: Callable[[], object]) -> None:
    try:
        act()
    except BaseException as error:  # noqa: BLE001  a panic in the engine is no Exception
        found.problems.append(plain(error))


def _compile(engine: regorus.Engine, decision: str, found: Examined) -> None:
    """Make the engine look through all rules, which it does before it evaluates any."""
    engine.add_policy("", asking(decision))
    _try(found, partial(engine.eval_query, "1"))


def _seconds(engine: regorus.Engine, question: str) -> float:
    began = time.process_time()
    try:
        engine.set_input_json(question)
        engine.eval_rule_as_json(ASKING)
    except BaseException:  # noqa: BLE001, S110  such a text may be no number to a rule; that it errs soon is enough
        pass
    return time.process_time() - began


def _of_decision(names: Names, decision: Path, request: Request) -> list[Fault]:
    is_function = any(rule.is_function for rule in names.at(decision))
    if is_function or not names.rules_of(decision):
        remedy = "Write it, or name another in policy.rego.rule."
        what = "is a function" if is_function else "is not there"
        return [Fault(Spot(request.files[0][0], 0, 0), f"the rule {request.decision} {what}", remedy)]
    return []


def _spot_of(names: Names, path: Path) -> Spot:
    return names.rules_of(path)[0].spot


def _tell(found: Examined, names: Names, decision: Path) -> None:
    reached, _ = names.reached(decision)
    reads = {path[1:] for rule in reached for _, path in names.references(rule) if path[0] == "input"}
    found.reads = [list(path) for path in sorted(reads)]
    found.rules = [FoundRule(".".join(rule.path), rule.spot, rule.last_line, rule.is_function) for rule in names.rules]
    ids = {id(rule) for rule in reached}
    found.warnings += (
        Fault(rule.spot, f"nothing that decides depends on {'.'.join(rule.path)}", "Remove it, or use it.")
        for rule in names.rules
        if id(rule) not in ids
    )
    rules = names.at(decision)
    if rules and not any(rule.kind == "default" for rule in rules):
        what = f"{'.'.join(decision)} has no default: where no rule holds, it has no value, and the hop is denied"
        found.warnings.append(Fault(rules[0].spot, what, "Write a default that denies."))
    found.warnings += (
        Fault(rule.spot, "it allows whatever is asked", "Add a condition.") for rule in rules if _allows_all(rule)
    )


def _allows_all(rule: Rule) -> bool:
    return not any(body.statements for body in rule.bodies) and any(_is_allow(each) for each in rule.head)


def _is_allow(node: Tree) -> bool:
    match node:
        case {"Bool": {"value": value}}:
            return bool(value)
        case {"Object": {"fields": fields}}:
            return any(name.get("String", {}).get("value") == "allow" and _is_allow(value) for _, name, value in fields)
        case _:
            return False


def main() -> NoReturn:
    """Examine what standard input holds, within limits."""
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_SECONDS, MAX_CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    examined = examine(Request(**json.load(sys.stdin)))
    json.dump(asdict(examined), sys.stdout)
    sys.exit(0)


if __name__ == "__main__":
    main()
