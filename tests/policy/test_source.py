"""Policy files: what loads, and what is refused, where, and with which words."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from authz.core.decision import Allow, conclude
from authz.core.errors import Place, Unusable
from authz.core.hop import ActionClass, Operation
from authz.policy.files import policy_files
from authz.policy.source import load_policies
from authz.policy.statements import Lines, split
from tests.policy import examples

PERMIT = '@id("all")\npermit (principal, action, resource);\n'


def refusals(load: Callable[[], object]) -> list[tuple[Place, str]]:
    """Where and why the load is refused; each problem has a remedy."""
    with pytest.raises(Unusable) as refused:
        load()
    problems = refused.value.problems
    assert all(problem.remedy for problem in problems)
    return [(problem.place, problem.what) for problem in problems]


def refusal(folder: Path, text: str) -> tuple[Place, str]:
    """The one refusal of a folder with this one file."""
    [only] = refusals(lambda: examples.load(folder, text))
    return only


def test_a_folder_of_policies_loads(tmp_path: Path) -> None:
    """All files of the folder together are the policy set."""
    policy = examples.load(tmp_path, examples.SUPPORT_RIGHTS, examples.WORKING_HOURS)
    assert isinstance(conclude(policy.decide(examples.query(examples.SET_CONTACT))), Allow)
    at_night = examples.at(examples.query(examples.SET_CONTACT), 2, 3)
    assert frozenset({"writes-in-working-hours"}) == policy.decide(at_night).forbids


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    """No policies are most likely a mistake, so we do not start with them."""
    assert [(Place(tmp_path), "holds no policy file")] == refusals(lambda: examples.load(tmp_path))


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """The folder is named."""
    [(place, what)] = refusals(lambda: load_policies(policy_files(tmp_path / "none"), examples.OPERATIONS))
    assert Place(tmp_path / "none") == place
    assert what.startswith("cannot be read: ")


@pytest.mark.parametrize("text", ["", " \n\n", "// permit (principal, action, resource);\n"])
def test_a_file_without_a_policy_is_refused(tmp_path: Path, text: str) -> None:
    """A file that was cut short would otherwise lose its forbids silently."""
    [only] = refusals(lambda: examples.load(tmp_path, PERMIT, text))
    assert (Place(tmp_path / "1.cedar"), "holds no policy") == only


@pytest.mark.parametrize(
    ("text", "line", "column", "what"),
    [
        (
            PERMIT + '@id("b")\npermit (principal, action, resource)\nwhen { context.utc_hour <> 3 };',
            5,
            26,
            "token `>`",
        ),
        (PERMIT.replace(";", "") + PERMIT, 3, 1, "token `@`"),
        (PERMIT + '@id("b")\nforbid (principal, action, resource)', 3, 1, "unexpected end of input"),
        (PERMIT + ";", 3, 1, "token `;`"),
        (PERMIT + 'forbid (principal, action, resource)\nwhen { context.dataset == "crm };\n', 4, 27, "invalid token"),
        (PERMIT + '@id("b")\n\n forbid (principle, action, resource);', 3, 1, "principle"),
        ('@id("a;b") // ; "\nfrobid (principal, action, resource);', 1, 1, "frobid"),
        ('@id("a")\n@id("b")\n' + "permit (principal, action, resource);", 1, 1, "duplicate annotation: @id"),
        ("\ufeff" + PERMIT, 1, 1, "invalid token"),
    ],
)
def test_a_syntax_error_has_its_place(tmp_path: Path, text: str, line: int, column: int, what: str) -> None:
    """A syntax error is reported at the token in the way, or where its policy begins."""
    place, said = refusal(tmp_path, text)
    assert Place(tmp_path / "0.cedar", line, column) == place
    assert said.startswith("not valid Cedar: ")
    assert what in said


@pytest.mark.parametrize(
    ("policy", "what"),
    [
        (
            '@id("b") forbid (principal, action, resource) when { context.utc_hour > "8" };',
            "unexpected type: expected Long but saw String",
        ),
        (
            '@id("b") forbid (principal, action, resource) when { context.task.color == "red" };',
            "attribute `task.color` in context not found",
        ),
        (
            '@id("b") forbid (principal, action, resource) when { resource.external };',
            "attribute `external` on entity type `Tool` not found",
        ),
        ('@id("b") forbid (principal is User, action, resource);', "unrecognized entity type `User`"),
        (
            '@id("b") forbid (principal is Tool, action, resource);',
            "unable to find an applicable action given the policy scope constraints",
        ),
        (
            '@id("b") forbid (principal, action == Action::"mail.sent", resource);',
            'there is no Action::"mail.sent" in the catalog',
        ),
        (
            '@id("b") forbid (principal, action == Action::"read", resource);',
            "unable to find an applicable action given the policy scope constraints",
        ),
        (
            '@id("b") forbid (principal, action, resource) when { action == Action::"egress" };',
            'nothing is equal to Action::"egress", it only holds others',
        ),
        (
            '@id("b") forbid (principal, action, resource) unless { [Dataset::"crm"].contains(resource) };',
            'nothing is equal to Dataset::"crm", it only holds others',
        ),
        (
            '@id("b") forbid (principal, action, resource in Dataset::"payrol");',
            'there is no Dataset::"payrol" in the catalog',
        ),
        (
            '@id("b") forbid (principal, action, resource) when { resource in Service::"erp" };',
            'there is no Service::"erp" in the catalog',
        ),
        (
            '@id("b") forbid (principal, action, resource == Tool::"GET /");',
            'there is no Tool::"GET /" in the catalog',
        ),
        (
            '@id("b") forbid (principal in AgentGroup::"back-office", action, resource);',
            'there is no AgentGroup::"back-office" in the configuration',
        ),
        (
            '@id("b") forbid (principal == Agent::"support", action, resource);',
            "Agent::\"support\" is no agent: a SPIFFE ID begins with 'spiffe://'",
        ),
        (
            '@id("b") forbid (principal == ?principal, action, resource);',
            "a template: nothing links it, so it would neither permit nor forbid",
        ),
        ("forbid (principal, action, resource);", "the policy has no @id"),
        ('@id("")forbid (principal, action, resource);', "the policy has no @id"),
        ('@id(" ")forbid (principal, action, resource);', "the @id ' ' is not a name"),
        ('@id("a\\nb")forbid (principal, action, resource);', "the @id 'a\\nb' is not a name"),
        ('@id("all")forbid (principal, action, resource);', "the @id 'all' is taken by the policy at {file}:1:1"),
    ],
)
def test_a_policy_that_could_mean_less_than_written_is_refused(tmp_path: Path, policy: str, what: str) -> None:
    """Types, names and ids are checked at load, and the policy's line is told."""
    file = tmp_path / "0.cedar"
    place, said = refusal(tmp_path, f"{PERMIT}\n// a comment; with a semicolon\n{policy}")
    assert (Place(file, 5, 1), what.replace("{file}", str(file))) == (place, said)


def test_a_policy_about_a_class_without_an_action_loads(tmp_path: Path) -> None:
    """A guard may be written before the catalog has the first action of its class."""
    guard = '@id("no-money") forbid (principal, action in Action::"financial", resource);'
    assert isinstance(conclude(examples.load(tmp_path, PERMIT, guard).decide(examples.query())), Allow)


def test_a_class_is_a_group_of_its_actions_in_conditions_too(tmp_path: Path) -> None:
    """`action in Action::"egress"` holds for every action of the class, wherever it is written."""
    guard = '@id("in") forbid (principal, action, resource) when { action in [Action::"egress", Action::"admin"] };'
    policy = examples.load(tmp_path, PERMIT, guard)
    forbidden = {each.action for each in examples.OPERATIONS if policy.decide(examples.query(each)).forbids}
    assert {"mail.send", "mail.export"} == forbidden


def test_a_slip_is_answered_with_the_likely_name(tmp_path: Path) -> None:
    """An unknown name comes with the known one that it resembles."""
    with pytest.raises(Unusable) as refused:
        examples.load(tmp_path, '@id("b") forbid (principal, action, resource in Dataset::"payrol");')
    assert [problem.remedy for problem in refused.value.problems] == ["Did you mean 'payroll'?"]


def test_an_id_is_unique_over_all_files(tmp_path: Path) -> None:
    """Two policies of one name cannot be told apart in a decision."""
    [(place, what)] = refusals(lambda: examples.load(tmp_path, PERMIT, "\n" + PERMIT))
    assert Place(tmp_path / "1.cedar", 2, 1) == place
    assert f"the @id 'all' is taken by the policy at {tmp_path / '0.cedar'}:1:1" == what


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """The file is named, and what is wrong with its bytes."""
    (tmp_path / "0.cedar").write_bytes(PERMIT.encode() + b"// caf\xe9\n")
    [(place, what)] = refusals(lambda: load_policies(policy_files(tmp_path), examples.OPERATIONS))
    assert Place(tmp_path / "0.cedar") == place
    assert "utf-8" in what


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("gone"), lambda path: path.mkdir()])
def test_what_has_a_policy_files_name_must_be_readable(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """A broken link or a folder named like a policy file is refused, never passed over."""
    make(tmp_path / "9.cedar")
    [(place, _)] = refusals(lambda: examples.load(tmp_path, PERMIT))
    assert Place(tmp_path / "9.cedar") == place


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """One reading names the faults of every file, in order."""
    texts = ("permit (principal, action);", PERMIT, "\npermit (principal, action, resource);", "forbid")
    found = refusals(lambda: examples.load(tmp_path, *texts))
    assert [(place.file.name, place.line) for place, _ in found] == [("0.cedar", 1), ("2.cedar", 2), ("3.cedar", 1)]


def test_two_broken_policies_of_one_file_are_both_told(tmp_path: Path) -> None:
    """Each statement is looked at on its own."""
    text = f"permit (principal);\n{PERMIT}forbid (action);\n"
    found = refusals(lambda: examples.load(tmp_path, text))
    assert [place.line for place, _ in found] == [1, 4]


@pytest.mark.parametrize(
    "condition",
    [
        "(" * 200 + "true" + ")" * 200,
        "(" * 3000 + "true" + ")" * 3000,
        "context" + ".task" * 3000 + " == 1",
        "1" + " + 1" * 20_000 + " == 1",
        " && ".join(["[1, 2].contains(1)"] * 5000),
        " && ".join(["true"] * 400),
    ],
)
def test_a_policy_too_deep_for_cedars_parser_is_refused(tmp_path: Path, condition: str) -> None:
    """Its parser recurses, and would end the process; the policy is refused with its place instead."""
    place, _ = refusal(tmp_path, f'{PERMIT}@id("deep") forbid (principal, action, resource) when {{ {condition} }};')
    assert Place(tmp_path / "0.cedar", 3, 1) == place


def test_a_long_list_of_literals_is_not_too_deep(tmp_path: Path) -> None:
    """Lists of texts may be as long as operators need."""
    listed = ", ".join(f'"purpose {number}"' for number in range(5000))
    text = f'@id("listed") permit (principal, action, resource) when {{ [{listed}].contains(context.task.purpose) }};'
    policy = examples.load(tmp_path, text)
    assert not policy.decide(examples.query()).permits
    assert policy.decide(replace(examples.query(), purpose="purpose 4999")).permits


def mount(folder: Path, generation: str, text: str) -> None:
    """Lay the folder out as the kubelet mounts a ConfigMap, and swap the data in."""
    data = folder / f"..{generation}"
    data.mkdir(parents=True)
    (data / "main.cedar").write_text(text)
    (folder / "..new").symlink_to(data.name)
    (folder / "..new").rename(folder / "..data")
    if not (folder / "main.cedar").is_symlink():
        (folder / "main.cedar").symlink_to("..data/main.cedar")


def test_a_mounted_config_map_loads_and_changes(tmp_path: Path) -> None:
    """The links of a mounted ConfigMap are followed, its hidden folders are not read beside them."""
    mount(tmp_path, "2026_01", PERMIT)
    first = load_policies(policy_files(tmp_path), examples.OPERATIONS)
    mount(tmp_path, "2026_02", examples.WITHIN_CEILING)
    second = load_policies(policy_files(tmp_path), examples.OPERATIONS)
    assert (
        bool(first.decide(examples.query()).permits),
        bool(second.decide(examples.query()).permits),
    ) == (True, False)
    assert first.version != second.version


def test_hidden_and_other_files_are_no_policies(tmp_path: Path) -> None:
    """Editors' leftovers and notes beside the policies change nothing, not even the version."""
    version = examples.load(tmp_path, PERMIT).version
    for name in (".1.cedar", ".cedar", "1.cedar~", "1.cedar.swp", "notes.md"):
        (tmp_path / name).write_text("no policy")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "1.cedar").write_text("no policy")
    assert version == load_policies(policy_files(tmp_path), examples.OPERATIONS, examples.GROUPS).version


def test_the_version_names_names_and_contents(tmp_path: Path) -> None:
    """Equal files have one version wherever they lie; another name, order or byte has another."""
    forbid = '@id("no") forbid (principal, action, resource);'
    sets = [
        (PERMIT, forbid),
        (forbid, PERMIT),
        (PERMIT + forbid,),
        (PERMIT, forbid + " "),
        (PERMIT + "//", "\n" + forbid),
        (PERMIT + "//1.cedar\n" + forbid,),
    ]
    versions = [examples.load(tmp_path / f"a{number}", *texts).version for number, texts in enumerate(sets)]
    again = [examples.load(tmp_path / f"b{number}", *texts).version for number, texts in enumerate(sets)]
    assert versions == again
    assert len(sets) == len(set(versions))
    assert (
        versions[0]
        == load_policies(policy_files(tmp_path / "a0"), examples.OPERATIONS).decide(examples.query()).version
    )


@pytest.mark.parametrize(
    ("operations", "groups", "what"),
    [
        (
            (examples.GET_CONTACT, replace(examples.GET_CONTACT, classes=frozenset({ActionClass.EGRESS}))),
            {},
            "the action 'crm.contact.get' is in one place of other classes than in another",
        ),
        (
            (examples.GET_CONTACT, replace(examples.SET_CONTACT, resource=examples.GET_CONTACT.resource, dataset="hr")),
            {},
            f"the resource {examples.GET_CONTACT.resource!r} lies in two services or datasets",
        ),
        (
            (replace(examples.GET_CONTACT, action="egress"),),
            {},
            "the action 'egress' has the name of an action class",
        ),
        (
            examples.OPERATIONS,
            {"staff": ("spiffe://example.org/a", "Spiffe://example.org/b")},
            "the group 'staff' names something else than SPIFFE IDs: a SPIFFE ID begins with 'spiffe://'",
        ),
    ],
)
def test_a_catalog_with_two_meanings_is_refused(
    tmp_path: Path, operations: tuple[Operation, ...], groups: dict[str, tuple[str, ...]], what: str
) -> None:
    """Were they joined, a permit for the one meaning would permit the other."""
    (tmp_path / "0.cedar").write_text(PERMIT)
    expected = [(Place(tmp_path), f"policies cannot speak of this catalog: {what}")]
    assert expected == refusals(lambda: load_policies(policy_files(tmp_path), operations, groups))


@pytest.mark.parametrize(
    "broken",
    [
        replace(examples.GET_CONTACT, action="\ud800"),
        replace(examples.GET_CONTACT, resource="\ud800"),
        replace(examples.GET_CONTACT, dataset="a.\ud800"),
    ],
)
def test_a_name_that_is_no_unicode_is_refused(tmp_path: Path, broken: Operation) -> None:
    """Half a character in the catalog is refused at load; it could be in no request."""
    (tmp_path / "0.cedar").write_text(PERMIT)
    [(place, what)] = refusals(lambda: load_policies(policy_files(tmp_path), [broken]))
    assert Place(tmp_path) == place
    assert "Cedar does not take its names" in what


SNIPPETS = st.sampled_from(
    [
        PERMIT,
        "permit",
        "forbid (principal, action, resource)",
        "@id",
        '("a")',
        "when { ",
        " }",
        ";",
        "context.task.owner",
        "==",
        '"',
        "\\",
        "//",
        "\n",
        'Action::"read"',
        "?principal",
        "(",
        "\x00",
        "🧹",
        "\u2028",
        "'",
        "99999999999999999999",
    ]
)


@example(['"\\\n', ";", PERMIT])
@given(st.lists(SNIPPETS | st.text(st.characters(codec="utf-8"), max_size=5), max_size=12))
@settings(max_examples=150, deadline=None)
def test_any_text_loads_or_is_refused_with_its_file(pieces: list[str]) -> None:
    """Whatever stands in a policy file, the answer is a policy set or `Unusable`, never another error."""
    with TemporaryDirectory() as name:
        (Path(name) / "0.cedar").write_text("".join(pieces), encoding="utf-8", newline="")
        try:
            load_policies(policy_files(Path(name)), examples.OPERATIONS)
            files = {Path(name) / "0.cedar"}
        except Unusable as unusable:
            files = {problem.place.file for problem in unusable.problems}
    assert {Path(name) / "0.cedar"} == files


FILLERS = st.lists(st.sampled_from(["\n", " ", "// a; comment\n", '// "quoted\n', "//\n"]), max_size=4).map("".join)


@given(st.lists(FILLERS, min_size=1, max_size=6))
def test_every_policy_is_found_where_it_stands(fillers: list[str]) -> None:
    """Comments, strings and empty lines move no policy's line or column."""
    policy = '@id("a;b\\";c//")\npermit (principal, action, resource) // x;\n;'
    text, expected = "", []
    for filler in fillers:
        text += filler
        expected.append((text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1))
        text += policy
    lines = Lines.of(text)
    assert expected == [lines.position(statement.offset) for statement in split(text)]
    assert [policy] * len(fillers) == [statement.text for statement in split(text)]
