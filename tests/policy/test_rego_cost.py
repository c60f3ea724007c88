"""The bound of steps: what is just let in is quick for the largest question, and it is enough for people."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import regorus

from authz.policy.rego_checks import faults
from authz.policy.rego_cost import MAX_STEPS, Costs
from authz.policy.rego_input import MAX_CHARACTERS, shape_of_members
from authz.policy.rego_names import Names
from authz.policy.rego_source import MAX_BYTES
from authz.policy.rego_syntax import modules_of
from tests.policy import rego_examples

MAX_SECONDS = 0.05
DECISION = ("data", "authz", "decision")


def numbers(count: int) -> str:
    """A rule `xs` with so many members, a line each, as the engine wants lines short."""
    return f"xs := {json.dumps(list(range(count)), indent=0)}\n\n"


LOOPS: dict[str, Callable[[int], str]] = {
    "two lists of literals": lambda n: (
        numbers(n) + "decision if {\n    some a in xs\n    some b in xs\n    a > b\n    a < b\n    a == 1\n}"
    ),
    "a list of the question and one of literals": lambda n: (
        f"xs := {json.dumps([f'x{number}' for number in range(n)], indent=0)}\n\n"
        "decision if {\n    some a in input.session.datasets\n    some b in xs\n    a == b\n}"
    ),
    "comprehensions in a loop": lambda n: (
        numbers(n) + "decision if {\n    some a in xs\n    count([b | some b in xs; b != a]) == 0\n}"
    ),
    "a function in a loop": lambda n: (
        numbers(n) + "decision if {\n    some a in xs\n    f(a)\n}\n\n"
        "f(a) if {\n    some b in xs\n    b > a\n    b < a\n}"
    ),
    "patterns in a loop": lambda n: (
        f"xs := {json.dumps([f'x{number}' for number in range(n)], indent=0)}\n\n"
        "decision if {\n    some a in xs\n    regex.match(`^[a-z]+q$`, a)\n}"
    ),
    "the parts of a text": lambda n: (
        "decision if {\n    some a in split(input.task.owner, `,`)\n"
        + "    a != ``\n    a != `.`\n" * (n // 10)
        + "    a == 1\n}"
    ),
    "data": lambda _: (
        "decision if {\n    some name, each in data.table\n    each.a == name\n    some b in each.l\n    b == 2\n}"
    ),
    "unbound indexes": lambda n: numbers(n) + "decision if {\n    xs[i] > xs[j]\n    i > j\n    xs[i] == 1\n}",
}


def data_of(size: int) -> dict[str, Any]:
    """A table that grows."""
    return {"table": {f"n{number}": {"a": "x", "l": [1, 3]} for number in range(size)}}


def names_of(text: str, data: dict[str, Any]) -> Names:
    """What is looked at."""
    engine = regorus.Engine()
    engine.add_policy("0.rego", text)
    return Names(modules_of(json.loads(engine.get_ast_as_json())), data)


def is_let_in(text: str, data: dict[str, Any]) -> bool:
    """Whether nothing is wrong with it."""
    found = faults(names_of(text, data), DECISION, rego_examples.WORDS.members, MAX_CHARACTERS)
    assert all("steps" in fault.what for fault in found), found
    return not found


@pytest.mark.parametrize("name", LOOPS)
def test_what_is_just_let_in_is_quick(name: str) -> None:
    """Of a set that grows, the largest that is let in answers the largest question in 50 ms; a larger is refused."""
    low, high = 1, 1
    while is_let_in(text_of(name, high), data_of(high)):
        low, high = high, high * 2
        assert high < 2**17, "it is never refused"
    while high - low > max(1, low // 20):
        middle = (low + high) // 2
        low, high = (middle, high) if is_let_in(text_of(name, middle), data_of(middle)) else (low, middle)
    engine = regorus.Engine()
    engine.add_policy("0.rego", text_of(name, low))
    engine.add_data_json(json.dumps(data_of(low)))
    for question in rego_examples.WORDS.trials:
        assert min(seconds(engine, question) for _ in range(3)) < MAX_SECONDS


def test_as_many_rules_as_the_files_hold_are_quick() -> None:
    """Files as long as they may be, full of rules about one agent each, are let in and answer in 50 ms."""
    rule = 'deny contains "{0}" if {{ input.agent.id == "{0}"; input.time.utc_hour == 1 }}\n'
    rules = "".join(rule.format(number) for number in range(MAX_BYTES // len(rule)))
    text = f"package authz\n\n{rules}\ndecision if count(deny) == 0\n"
    assert is_let_in(text, {})
    engine = regorus.Engine()
    engine.add_policy("0.rego", text)
    for question in rego_examples.WORDS.trials:
        assert min(seconds(engine, question) for _ in range(3)) < MAX_SECONDS


def text_of(name: str, size: int) -> str:
    """The set of that size."""
    return f"package authz\n\n{LOOPS[name](size)}\n"


def seconds(engine: regorus.Engine, question: str) -> float:
    """Of the processor's time, for the question."""
    engine.set_input_json(question)
    began = time.process_time()
    engine.eval_rule_as_json("data.authz.decision")
    return time.process_time() - began


@pytest.mark.parametrize("name", rego_examples.SETS)
def test_rules_as_people_write_them_are_far_below_the_bound(name: str) -> None:
    """Realistic sets take at most a fifth of the steps that are let in."""
    engine = regorus.Engine()
    for number, text in enumerate(rego_examples.texts_of(name)):
        engine.add_policy(f"{number}.rego", text)
    names = Names(modules_of(json.loads(engine.get_ast_as_json())), rego_examples.DATA)
    costs = Costs(names, shape_of_members(rego_examples.WORDS.members), MAX_CHARACTERS)
    order, _ = names.reached(DECISION)
    assert 0 < sum(costs.of(rule) for rule in order) <= MAX_STEPS // 5
