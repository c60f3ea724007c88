"""What is not let in when rules in Rego are loaded, and where it says so."""

import time
from functools import partial
from pathlib import Path

import pytest

from authz.core.decision import Allow, conclude
from authz.core.errors import Place, Unusable
from authz.policy.files import policy_files
from authz.policy.rego_source import MAX_BYTES, MAX_FILE_BYTES, load_rego
from tests.policy import examples, rego_examples
from tests.policy.test_source import refusals

HEAD = "package authz\n\ndefault decision := false\n\n"


def refused(folder: Path, text: str) -> tuple[int, str]:
    """The line and the cause of the one refusal of this file."""
    [(place, what)] = refusals(lambda: rego_examples.load(folder, text, data=rego_examples.DATA))
    assert place.file == folder / "0.rego"
    assert "backtrace" not in what
    return place.line, what


@pytest.mark.parametrize("name", rego_examples.SETS)
def test_rules_as_people_write_them_are_let_in(tmp_path: Path, name: str) -> None:
    """Sets as operators would write them load, and answer."""
    policy = rego_examples.load(tmp_path, *rego_examples.texts_of(name), data=rego_examples.DATA)
    assert conclude(policy.decide(examples.query())).word


@pytest.mark.parametrize(
    ("body", "line", "cause"),
    [
        ("decision if {", 6, "expecting expression"),
        ("decision { input.task.depth == 0 }", 5, "`if` keyword is required"),
        ("decision if not typo", 5, "nothing gives typo a value"),
        ("decision if {\n    input.task.depth == dept\n}", 6, "nothing gives dept a value"),
        ("decision if not data.authz.denied", 5, "nothing is at data.authz.denied"),
        ("decision if not data.blokced[input.agent.id]", 5, "nothing is at data.blokced"),
        ("decision if input.agent.name", 5, "no question has input.agent.name"),
        ("decision if input.arguments.amuont > 1", 5, "no question has input.arguments.amuont"),
        ("decision if input.session.datasets.crm", 5, "input.session.datasets is a list"),
        ("decision if input.task.owner.name", 5, "input.task.owner has no members"),
        ("decision if not http.send({}).status_code", 5, "http.send is not a function"),
        ("decision if time.now_ns() > 1", 5, "time.now_ns is not a function"),
        ("decision if rand.intn(`a`, 2) == 1", 5, "rand.intn is not a function"),
        ("decision if io.jwt.decode(input.task.owner)", 5, "io.jwt.decode is not a function"),
        ("decision if no.such(1)", 5, "no.such is not a function"),
        ("decision if {\n    false\n    no_such(1)\n}", 7, "no_such is not a function"),
        ("decision if count([1], 2, 3)", 5, "count takes 1 arguments, and not 3"),
        ("decision if units.parse(input.task.owner) > 1", 5, "units.parse is not a function"),
        ("decision if regex.match(input.task.owner, `a`)", 5, "a pattern that does not stand here"),
        ("decision if regex.match(`((a{0,100}){0,100}){0,9}`, `a`)", 5, "repeats more than 100 times"),
        ("decision if glob.match(`{a,}b`, [], input.task.owner)", 5, "alternatives in braces"),
        ("decision if sprintf(`%100000000d`, [1]) != ``", 5, "with a width"),
        ("decision if print(`x`)", 5, "print is not a function"),
        ("decision if other with input as {}\n\nother := true", 5, "`with` puts other values"),
        ("decision if other with http.send as 1\n\nother := true", 5, "`with` puts other values"),
        ("decision if `a`, `a` in {`a`}", 5, "`k, v in xs` differs"),
        ("decision if other\n\nother if another\n\nanother if other", 7, "depends on itself"),
        ("decision if f(1)\n\nf(n) if f(n - 1)", 7, "depends on itself"),
        ("decision if f(1, 2)\n\nf(n) if n > 1", 5, "data.authz.f does not take 2 arguments"),
        ("default decision := true", 3, "has several defaults"),
        ("count(x) := 1", 5, "count is the name of a built-in"),
        ("p[x].q contains y if {\n    some x, y in {`a`: 1}\n}", 5, "goes on behind a variable"),
        (
            "decision if x\n\nx if {\n    some x in input.session.datasets\n    x != ``\n}",
            7,
            "x is a variable here, and a rule",
        ),
    ],
)
def test_a_set_that_could_mean_less_than_it_says_is_refused(tmp_path: Path, body: str, line: int, cause: str) -> None:
    """With the line, what is wrong, and a remedy: wrong names, functions that were not tested, cycles, old syntax."""
    found = [
        (place.line, what)
        for place, what in refusals(lambda: rego_examples.load(tmp_path, HEAD + body + "\n", data=rego_examples.DATA))
    ]
    assert any(cause in what and at == line for at, what in found), found


def test_a_rule_that_is_not_there_or_is_a_function_cannot_decide(tmp_path: Path) -> None:
    """The rule that the configuration names must be one that has a value."""
    for text in ("package authz\n\nallow := true\n", "package authz\n\ndecision(x) := x\n"):
        [(_, what)] = refusals(partial(rego_examples.load, tmp_path, text))
        assert "the rule data.authz.decision" in what


NEST = 400
HOSTILE = {
    "brackets": "decision := " + "[" * NEST + "1" + "]" * NEST,
    "parentheses": "decision if " + "(" * 50_00 + "1" + ")" * 50_00,
    "negations": "decision if " + "not " * 5_000 + "true",
    "a chain of rules": "\n".join(f"r{number} := r{number - 1}" for number in range(1, 6_00)) + "\nr0 := 1",
    "references": "decision if input" + ".a" * 20_000,
    "functions of functions": "decision if f(1)\n\nf(x) := g(x)\n\ng(x) := f(x)",
    "two lists of the question": (
        "decision if {\n    some a in input.session.datasets\n    some b in input.session.actions\n    a == b\n}"
    ),
    "three literals": (
        f"xs := {list(range(100))}\n\n"
        "decision if {\n    some a in xs\n    some b in xs\n    some c in xs\n    a + b == c\n}"
    ),
    "unbound indexes": "decision if input.session.datasets[i] == input.session.actions[j]",
    "a comprehension in a loop": (
        "decision if {\n    some a in input.arguments.tags\n"
        "    count([b | some b in input.session.datasets; b != a]) > 1\n}"
    ),
    "every in every": (
        "decision if {\n    every a in input.session.datasets {\n"
        "        every b in input.session.actions {\n            a != b\n        }\n    }\n}"
    ),
    "a function in a loop": (
        "decision if {\n    some a in input.session.datasets\n    f(a)\n}\n\n"
        "f(a) if {\n    some b in input.session.actions\n    b == a\n}"
    ),
    "the parts of a text, twice": (
        "decision if {\n    some a in split(input.task.owner, `,`)\n"
        "    some b in split(input.task.purpose, `,`)\n    a == b\n}"
    ),
    "the parts of a text that was joined": (
        "decision if {\n    all := concat(`,`, input.session.datasets)\n    some a in split(all, `,`)\n    a == ``\n}"
    ),
    "the parts of a text that a rule joins": (
        "joined := concat(`,`, input.session.datasets)\n\n"
        "decision if {\n    some a in split(lower(joined), `,`)\n    a == ``\n}"
    ),
    "what two rules make": (
        "pairs contains [a, b] if {\n    some a in input.session.datasets\n    some b in input.operation.classes\n}\n\n"
        "decision if {\n    some p in pairs\n    some a in input.session.actions\n    a == p[0]\n}"
    ),
    "numbers that grow": "n0 := input.task.age_seconds\n\n"
    + "\n\n".join(f"n{number} := n{number - 1} * n{number - 1}" for number in range(1, 30))
    + "\n\ndecision if n29 > 0",
    "texts that grow": "t0 := input.task.owner\n\n"
    + "\n\n".join(f"t{number} := concat(``, [t{number - 1}, t{number - 1}])" for number in range(1, 30))
    + "\n\ndecision if t29 != ``",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_could_take_long_is_not_let_in_and_harms_nothing(tmp_path: Path, name: str) -> None:
    """Deep nesting, recursion, loops in loops and values that grow: a problem with its file, and this process lives."""
    began = time.monotonic()
    [(place, _), *_] = refusals(lambda: rego_examples.load(tmp_path, HEAD + HOSTILE[name] + "\n"))
    assert place.file == tmp_path / "0.rego"
    assert time.monotonic() - began < 35


def test_rules_that_nobody_asks_about_are_a_warning(tmp_path: Path) -> None:
    """Rules that nothing depends on, a decision without a default and one that allows all are told, and load."""
    text = "package authz\n\ndecision := true\n\nunused if input.task.depth > 1\n"
    warnings = rego_examples.load(tmp_path, text).warnings
    told = {(warning.place.line, warning.what.partition(":")[0]) for warning in warnings}
    assert told == {
        (3, "data.authz.decision has no default"),
        (3, "it allows whatever is asked"),
        (5, "nothing that decides depends on data.authz.unused"),
    }


def test_a_folder_must_hold_rego(tmp_path: Path) -> None:
    """An empty folder, one with data alone, one that is not there and one with Cedar beside are refused."""
    assert "holds no policy file" in refusals(lambda: rego_examples.load(tmp_path / "empty"))[0][1]
    assert "holds no Rego file" in refusals(lambda: rego_examples.load(tmp_path / "data", data={"a": 1}))[0][1]
    none = tmp_path / "none"
    words = rego_examples.WORDS
    (place, what) = refusals(lambda: load_rego(policy_files(none), rego_examples.DECISION, words, frozenset()))[0]
    assert (place, what.partition(":")[0]) == (Place(none), "cannot be read")
    mixed = rego_examples.write(tmp_path / "mixed", HEAD)
    (mixed / "a.cedar").write_text("permit (principal, action, resource);")
    assert "is in Cedar" in refusals(lambda: rego_examples.load(mixed))[0][1]


def test_files_have_a_bound(tmp_path: Path) -> None:
    """A file that would be parsed for too long, and files that are too long together, are refused."""
    long = HEAD + "# a comment\n" * (MAX_FILE_BYTES // 10)
    assert "has more than" in refusals(lambda: rego_examples.load(tmp_path / "one", long))[0][1]
    many = [HEAD.replace("authz", f"p{number}") + "# note\n" * 9_000 for number in range(MAX_BYTES // 63_000 + 1)]
    assert "together" in refusals(lambda: rego_examples.load(tmp_path / "many", *many))[0][1]


@pytest.mark.parametrize("data", ["[]", "{", '{"a": 1, "a": 2}', '{"a": NaN}', '{"a": 1e999}', "\ufeff{}", "[" * 9_000])
def test_data_must_be_one_object_that_all_readers_read_alike(tmp_path: Path, data: str) -> None:
    """A data.json that is no object, repeats a member or holds what is no number is refused."""
    rego_examples.write(tmp_path, HEAD)
    (tmp_path / "data.json").write_text(data)
    [(place, _)] = refusals(lambda: rego_examples.load(tmp_path, HEAD))
    assert place.file.name == "data.json"


def test_the_version_is_of_names_and_contents(tmp_path: Path) -> None:
    """It changes with a file's name, its contents, the data and the rule that decides, and with nothing else."""
    text = HEAD + "other := true\n"
    versions = [
        rego_examples.load(tmp_path / "a", text).version,
        rego_examples.load(tmp_path / "b", text, data={"a": 1}).version,
        rego_examples.load(tmp_path / "c", text, data={"a": 2}).version,
        rego_examples.load(tmp_path / "d", text + "\n").version,
        load_rego(policy_files(tmp_path / "a"), "data.authz.other", rego_examples.WORDS, frozenset()).version,
    ]
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "other.rego").write_text(text)
    versions.append(rego_examples.load(tmp_path / "e").version)
    assert len(set(versions)) == len(versions)
    assert rego_examples.load(tmp_path / "f", text).version == versions[0]


def test_hidden_files_and_digests_are_as_for_cedar(tmp_path: Path) -> None:
    """Names that begin with a dot are skipped; a file of digests lists every file, data.json among them."""
    folder = rego_examples.write(tmp_path / "rules", HEAD + "decision if input.task.depth == 0\n", data={"a": 1})
    (folder / ".hidden.rego").write_text("no rego at all")
    digests = tmp_path / "SHA256SUMS"
    digests.write_text("")
    with pytest.raises(Unusable, match=r"is not listed in .*SHA256SUMS"):
        load_rego(policy_files(folder, digests), rego_examples.DECISION, rego_examples.WORDS, frozenset())
    assert isinstance(conclude(rego_examples.load(folder).decide(examples.query())), Allow)
