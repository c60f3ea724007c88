"""OPA's own compliance cases, asked of the engine in process: what we let in gives what OPA gives, or an error.

They are not part of this project: `AUTHZ_REGO_CORPUS` names their folder, v1/test/cases/testdata/v1 in OPA's source.
"""

import json
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import regorus
import yaml

from authz.policy.rego_builtins import TESTED
from authz.policy.rego_checks import faults_of_language
from authz.policy.rego_names import Names
from authz.policy.rego_syntax import expressions, modules_of

RESULT_AS_ARGUMENT = re.compile(r"^nothing gives|^[a-z0-9_.]+ takes \d arguments")
LEAST_CASES = 1_170
"""That must be let in and give OPA's result, so that the test cannot pass by refusing all."""
OTHERWISE = frozenset({"refheads/general, set leaf, deep query", "inputvalues/input set"})
"""The query of one goes through a rule head that we refuse; the other's input is a set, and a question is JSON."""


class Yaml12(yaml.SafeLoader):
    """The cases are in YAML 1.2: `on` and `y` are texts, and so are dates."""


Yaml12.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if not tag.endswith(":timestamp") and not (tag.endswith(":bool") and first in "yYnNoO")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass
class Tally:
    """What became of the cases."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    passed_by_built_in: Counter[str] = field(default_factory=Counter)


@pytest.fixture(scope="module")
def tally() -> Tally:
    """All cases, asked."""
    folder = os.environ.get("AUTHZ_REGO_CORPUS")
    if not folder:
        pytest.skip("AUTHZ_REGO_CORPUS names no folder of OPA's compliance cases")
    found = Tally()
    for file in sorted(Path(folder).rglob("*.yaml")):
        document = yaml.load(file.read_text(), Yaml12)  # noqa: S506  a safe loader
        for case in document["cases"]:
            ask(case, found)
    return found


def ask(case: dict[str, Any], tally: Tally) -> None:
    """One case."""
    engine = regorus.Engine()
    engine.set_gather_prints(True)
    modules = [*(case.get("modules") or []), f"package asked_\nasked if {{ {case['query']} }}"]
    try:
        for number, text in enumerate(modules):
            engine.add_policy(f"{number}.rego", text)
        names = Names(modules_of(json.loads(engine.get_ast_as_json())), case.get("data") or {})
    except RuntimeError:
        tally.counts["cannot be parsed"] += 1
        return
    # Many cases take results in a last argument, which we refuse as one too many; here they count.
    faults = [fault for fault in faults_of_language(names) if not RESULT_AS_ARGUMENT.search(fault.what)]
    if faults or case["note"] in OTHERWISE:
        tally.counts["refused by us"] += 1
        return
    judge(case, engine, names, tally)


def judge(case: dict[str, Any], engine: regorus.Engine, names: Names, tally: Tally) -> None:
    """What the engine makes of a case that is let in."""
    wants_error = "want_error" in case or "want_error_code" in case
    try:
        found = answers(engine, case)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        # An error denies, so it may stand for anything; that it stands for a value is told apart.
        tally.counts["as OPA" if wants_error else "an error where OPA has none"] += 1
        return
    wanted = [normal(each, case) for each in case.get("want_result") or []]
    if wants_error or sorted(wanted) != sorted(normal(each, case) for each in found):
        tally.wrong.append(f"{case['note']}: {found!r:.200}")
        return
    tally.counts["as OPA"] += 1
    for rule in names.rules:
        for node in rule.nodes:
            for kind, inner in expressions(node):
                if kind == "Call" and (name := names.built_in(rule, inner)):
                    tally.passed_by_built_in[name] += 1


def answers(engine: regorus.Engine, case: dict[str, Any]) -> list[dict[str, object]]:
    """The bindings of the query."""
    engine.add_data_json(json.dumps(case.get("data") or {}))
    if "input" in case:
        engine.set_input_json(json.dumps(case["input"]))
    elif "input_term" in case:
        term = json.loads(regorus.Engine().eval_query_as_json(case["input_term"]))
        engine.set_input_json(json.dumps(term["result"][0]["expressions"][0]["value"]))
    found = json.loads(engine.eval_query_as_json(case["query"]))
    return [each.get("bindings", {}) for each in found.get("result", [])]


def normal(value: object, case: dict[str, Any]) -> str:
    """A text that is equal for equal values; sets have no order in JSON, and the case says where there are some."""

    def of(value: object) -> object:
        if isinstance(value, dict):
            return {name: of(each) for name, each in value.items()}
        if isinstance(value, list):
            members = [of(each) for each in value]
            return (
                sorted(members, key=lambda each: json.dumps(each, sort_keys=True)) if case["sort_bindings"] else members
            )
        if isinstance(value, float) and value.is_integer():
            return int(value)
        return value

    case = {"sort_bindings": False, **case}
    return json.dumps(of(value), sort_keys=True)


def test_what_is_let_in_gives_what_opa_gives(tally: Tally) -> None:
    """Of the cases that we do not refuse, none has another result than OPA's; some are errors, and those deny."""
    assert tally.wrong == []
    assert tally.counts["as OPA"] >= LEAST_CASES, tally.counts


def test_every_built_in_of_the_table_was_tested(tally: Tally) -> None:
    """Each built-in that policies may call passed at least one case."""
    assert sorted(TESTED.keys() - set(tally.passed_by_built_in)) == []
