"""The library of policies in `policies/`: each guardrail does what its table says, alone and beside the others."""

import re
from pathlib import Path

import pytest

from authz.cases import find_case_files
from authz.wiring.tables import fixed_schema, run_cases
from tests.support.commands import authz

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "policies"
POLICY_FILES = sorted([*(LIBRARY / "guardrails").glob("*.cedar"), *(LIBRARY / "switches").glob("*.cedar")])


@pytest.mark.parametrize("file", find_case_files((LIBRARY,)), ids=lambda file: file.name)
def test_the_library_decides_as_its_tables_say(file: Path) -> None:
    """Every case of every table in policies/ is decided as it expects."""
    assert [
        (outcome.case.name, outcome.differences) for outcome in run_cases(file).outcomes if outcome.differences
    ] == []


@pytest.mark.parametrize("file", POLICY_FILES, ids=lambda file: file.name)
def test_every_policy_of_the_library_fires_in_its_own_table(file: Path) -> None:
    """Beside each policy file stands a table in which each of its policies is satisfied at least once."""
    ran = run_cases(file.with_name(f"{file.stem}.test.yaml"))
    assert {source.id for source in ran.policies if source.place.file == file} <= ran.fired


def test_the_page_of_the_library_tells_every_policy_file() -> None:
    """policies/README.md has a row for each policy file, each with the OWASP agentic item that it answers."""
    page = (LIBRARY / "README.md").read_text()
    rows = re.findall(r"^\| \[`([\w./-]+)`\]\([\w./-]+\) \|.*\| (ASI\d\d.*) \|$", page, re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(str(file.relative_to(LIBRARY)) for file in POLICY_FILES)


def test_the_published_schema_is_the_one_in_force() -> None:
    """policies/authz.cedarschema is what policies are validated against, and what `authz policy schema` prints."""
    published = (LIBRARY / "authz.cedarschema").read_text()
    assert published == fixed_schema()
    assert authz("policy", "schema", "--fixed").out == published
