"""The catalog file: what is accepted, and what an operator is told."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.catalog.file import load_catalog
from authz.core.errors import Problem, Unusable
from authz.core.hop import ActionClass, Operation, Sensitivity
from tests.support.catalogs import catalog_of, entry, read_catalog, request

CATALOG = """\
services:
  crm:
    hosts: [crm.example.org, crm]
    routes:
      - action: crm.contact.read
        class: read
        method: GET
        path: /contacts/{contact_id}
        dataset: crm.contacts
        sensitivity: internal
      - action: crm.export
        class: [read, egress]
        method: POST
        path: /exports
        dataset: crm
        sensitivity: restricted
  pay-roll:
    hosts:
      - payroll.example.org
    routes:
      - {action: pay.list, class: read, method: GET, path: /, dataset: hr.pay, sensitivity: confidential}
"""


def problems(text: str | bytes) -> list[Problem]:
    """What is wrong with a catalog file of this content; nothing where it is accepted."""
    try:
        read_catalog(text)
    except Unusable as unusable:
        return list(unusable.problems)
    return []


def test_the_operations_are_those_of_the_file() -> None:
    """Every route becomes one operation, in order, whose resource is its method, first host and template."""
    read, egress = ActionClass.READ, ActionClass.EGRESS
    expected = (
        Operation(
            "crm.contact.read",
            frozenset({read}),
            "GET crm.example.org/contacts/{contact_id}",
            "crm",
            "crm.contacts",
            Sensitivity.INTERNAL,
        ),
        Operation(
            "crm.export",
            frozenset({read, egress}),
            "POST crm.example.org/exports",
            "crm",
            "crm",
            Sensitivity.RESTRICTED,
        ),
        Operation(
            "pay.list",
            frozenset({read}),
            "GET payroll.example.org/",
            "pay-roll",
            "hr.pay",
            Sensitivity.CONFIDENTIAL,
        ),
    )
    assert expected == read_catalog(CATALOG).operations


def test_every_host_of_a_service_has_all_of_its_routes() -> None:
    """The second host answers like the first, and no service answers to another's host."""
    catalog = read_catalog(CATALOG)
    (first, _, pay) = catalog.operations
    assert first == catalog.classify(request("/contacts/1", host="crm.example.org")).operation
    assert first == catalog.classify(request("/contacts/1", host="crm")).operation
    assert pay == catalog.classify(request("/", host="payroll.example.org")).operation


@pytest.mark.parametrize("text", [CATALOG, CATALOG.replace("\n", "\r\n"), "# one more line\n" + CATALOG])
def test_the_version_is_the_digest_of_the_files_bytes(text: str) -> None:
    """`sha256sum` of the file gives the same, whatever its line ends; any change is another version."""
    assert hashlib.sha256(text.encode()).hexdigest() == read_catalog(text).version


HOSTS, CLASS = "[crm.example.org, crm]", "class: read\n        method: GET"


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        ("hosts: [crm.example.org, crm]", "hosts: []", 3, "at least one is needed"),
        ("    hosts: [crm.example.org, crm]\n", "", 3, "services.crm.hosts"),
        (HOSTS, "crm.example.org", 3, "services.crm.hosts"),
        (HOSTS, "[crm.example.org, CRM]", 3, "a host is"),
        (HOSTS, "[crm.example.org:80]", 3, "a host is"),
        (HOSTS, "['*.example.org']", 3, "a host is"),
        (HOSTS, "[crm.example.org.]", 3, "a host is"),
        (HOSTS, "['']", 3, "a host is"),
        (HOSTS, "[http://crm.example.org]", 3, "a host is"),
        (HOSTS, "[7]", 3, "string"),
        (HOSTS, "[crm, crm]", 3, "the host crm is given twice (line 3)"),
        ("      - payroll.example.org", "      - crm", 19, "the host crm is given twice (line 3)"),
        ("  pay-roll:", "  Pay Roll:", 17, "a service's name is"),
        ("  pay-roll:", '  "":', 17, "a service's name is"),
        ("  pay-roll:", "  crm:", 17, "given twice"),
        ("  pay-roll:", "  1:", 17, "a key is a text"),
        ("  pay-roll:", "  yes:", 17, "a key is a text"),
        ("  pay-roll:", "  ? [a]\n  :", 17, "a key is a text"),
        ("crm.contact.read", "read", 5, "an action's name is"),
        ("crm.contact.read", "crm.", 5, "an action's name is"),
        ("crm.contact.read", "crm..read", 5, "an action's name is"),
        ("crm.contact.read", "Crm.read", 5, "an action's name is"),
        ("crm.contact.read", "crm.read,crm.write", 5, "an action's name is"),
        ("crm.contact.read", "crm.read:x", 5, "an action's name is"),
        ("crm.contact.read", '"crm.read\\n"', 5, "an action's name is"),
        ("crm.contact.read", "crm." + "a" * 200, 5, "an action's name is"),
        ("crm.contact.read", "1", 5, "string"),
        ("action: pay.list", "action: crm.export", 21, "of other classes than before (line 12)"),
        (CLASS, CLASS.replace("read", "reed"), 6, "'read', 'write'"),
        (CLASS, CLASS.replace("read", "[]"), 6, "at least one is needed"),
        (CLASS, CLASS.replace("read", "7"), 6, "an action class, or a list"),
        ("class: [read, egress]", "class: [read, 7]", 12, "'read', 'write'"),
        ("class: [read, egress]", "class: [read, egress", 13, "not valid YAML"),
        ("method: POST", "method: post", 13, "a method is"),
        ("method: POST", "method: GET|POST", 13, "a method is"),
        ("method: POST", "method: [POST]", 13, "method"),
        ("path: /exports", "path: exports", 14, "begins with a slash"),
        ("path: /exports", "path: //exports", 14, "no empty segment"),
        ("path: /exports", "path: /exports/../x", 14, "neither a whole {parameter} nor a plain segment"),
        ("path: /exports", "path: /{a}/{a}", 14, "each of its parameters once"),
        ("path: /exports", "path: /x{a}", 14, "neither a whole {parameter}"),
        ("path: /exports", "path: /exports?all=1", 14, "neither a whole {parameter}"),
        ("dataset: hr.pay", "dataset: '*'", 21, "a dataset's name is"),
        ("dataset: hr.pay", "dataset: hr..pay", 21, "a dataset's name is"),
        ("dataset: hr.pay", "dataset: ''", 21, "a dataset's name is"),
        ("dataset: hr.pay,", "data: hr.pay,", 21, "unknown key"),
        ("sensitivity: restricted", "sensitivity: secret", 16, "'public', 'internal'"),
        ("sensitivity: restricted", "sensitivity: 3", 16, "'public', 'internal'"),
        ("        sensitivity: restricted\n", "", 11, "services.crm.routes.1.sensitivity"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(old: str, new: str, line: int, what: str) -> None:
    """A catalog that breaks a rule is refused, with the file, the line and the rule."""
    assert CATALOG.count(old) == 1
    assert (line, True) in {
        (problem.place.line, problem.place.file.name == "catalog.yaml")
        for problem in problems(CATALOG.replace(old, new))
        if what in problem.what
    }


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "the document"),
        ("services:\n", "services"),
        ("services: {}\n", "at least one is needed"),
        ("services: []\n", "services"),
        ("[]\n", "the document"),
        ("service:\n  crm: {}\n", "unknown key"),
        ("services: &all\n  crm: *all\n", "not plain YAML"),
        ("services: !!binary aGVsbG8=\n", "not plain YAML"),
        ("services: !!python/object:os.system {}\n", "not valid YAML"),
        ("services: \x01\n", "not valid YAML"),
        ('services: "\\ud800"\n', "not valid YAML"),
        (f"services: {'9' * 5000}\n", "not plain YAML"),
        ("services: .nan\n", "services"),
        ("--- {}\n--- {}\n", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        (b"services: \xff\n", "cannot be read"),
    ],
)
def test_what_is_no_catalog_at_all_is_refused(content: str | bytes, what: str) -> None:
    """Nothing, nothing useful, something else, and what is no plain YAML: a problem with the file's name."""
    assert any(what in problem.what for problem in problems(content))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A catalog that is not there is told as such."""
    with pytest.raises(Unusable) as unusable:
        load_catalog(tmp_path / "catalog.yaml")
    assert str(unusable.value).startswith(f"{tmp_path}/catalog.yaml: there is no such file")


@pytest.mark.parametrize(
    ("known", "near"),
    [("class", "clas"), ("sensitivity", "sensitivty"), ("action", "actions")],
)
def test_a_misspelt_key_brings_the_right_one_to_mind(known: str, near: str) -> None:
    """The remedy of an unknown key is the key that was meant, as it is written in the file."""
    text = json.dumps({"services": {"crm": {"hosts": ["crm"], "routes": [entry("/", **{near: "read"})]}}})
    assert [f"Did you mean {known!r}?"] == [problem.remedy for problem in problems(text)]


def test_all_problems_are_told_at_once() -> None:
    """An operator corrects a file once: every route that breaks a rule is named, each with its line."""
    text = CATALOG.replace("class: read\n", "class: reed\n").replace("/exports", "exports").replace("hr.pay", "HR")
    assert [problem.place.line for problem in problems(text)] == [6, 14, 21]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/a", "/a"),
        ("/a/", "/a/"),
        ("/", "/"),
        ("/{x}", "/{y}"),
        ("/a/{x}", "/{y}/b"),
        ("/{y}/b", "/a/{x}"),
        ("/a/{x}/c", "/{y}/b/c"),
        ("/a/{x}/{z}/d", "/{w}/b/{y}/d"),
        ("/a/{x}/", "/{y}/b"),
    ],
)
def test_two_routes_for_one_path_are_refused(one: str, other: str) -> None:
    """The same template twice, or two of which neither is the more specific, is told with both lines and a remedy."""
    first, second = ({**entry(path), "action": "crm.read"} for path in (one, other))
    text = yaml.safe_dump({"services": {"crm": {"hosts": ["crm"], "routes": [first, second]}}}, sort_keys=False)
    lines = [number for number, line in enumerate(text.splitlines(), 1) if " path: " in line]
    (problem,) = problems(text)
    assert lines[1] == problem.place.line
    assert problem.what.endswith(
        f"this template and that of GET crm{one}, and neither is the more specific (line {lines[0]})"
    )
    assert problem.remedy


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/a", "/{x}"),
        ("/{x}", "/a"),
        ("/a", "/a/"),
        ("/{x}", "/{x}/"),
        ("/a/{x}", "/a/b"),
        ("/a/{x}/c", "/{y}/b/d"),
        ("/a/{x}/{z}", "/a/b/{y}"),
        ("/{x}/{z}", "/a/{y}"),
        ("/a", "/a/b"),
    ],
)
def test_routes_that_never_leave_a_choice_stand_together(one: str, other: str) -> None:
    """Two routes of which one is the more specific, or that match no path in common, are both accepted."""
    assert len(catalog_of(entry(one), entry(other)).operations) == 2


def test_methods_and_services_keep_routes_apart() -> None:
    """The same template under another method, or of another service, is another route."""
    assert len(catalog_of(entry("/a"), entry("/a", method="POST")).operations) == 2
    services = {name: {"hosts": [name], "routes": [entry("/a")]} for name in ("one", "two")}
    assert len(read_catalog(json.dumps({"services": services})).operations) == 2


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["read", "GET", "/a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = ["services", "crm", "hosts", "routes", "action", "class", "method", "path", "dataset", "sensitivity"]


@settings(max_examples=200, deadline=None)
@given(key=st.sampled_from(KEYS), value=values)
def test_any_value_in_any_place_is_accepted_or_refused(key: str, value: object) -> None:
    """Whatever stands behind a key, the file becomes a catalog or problems with places: never another exception."""
    route = entry("/contacts")
    service: dict[str, object] = {"hosts": ["crm"], "routes": [route]}
    document: dict[str, object] = {"services": {"crm": service}}
    for holder in (document, document["services"], service, route):
        assert isinstance(holder, dict)
        if key in holder:
            holder[key] = value
    found = problems(yaml.safe_dump(document, allow_unicode=True))
    assert all(problem.place.file.name == "catalog.yaml" and problem.what for problem in found)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_accepted_or_refused(data: st.DataObject) -> None:
    """A catalog with any piece cut out, doubled or overwritten becomes a catalog or problems, never a fault."""
    content = CATALOG.encode()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 40)))
    middle = data.draw(st.sampled_from([b"", content[start:end] * 2]) | st.binary(max_size=6))
    found = problems(content[:start] + middle + content[end:])
    assert all(problem.place.file.name == "catalog.yaml" and problem.what for problem in found)
