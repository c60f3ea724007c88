"""docs/policies.md shows what the commands print."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from authz.cases import CaseFile
from authz.policy.fields import Fields
from tests.support.commands import authz

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "policies.md").read_text()


def transcripts() -> list[tuple[str, str]]:
    """Each command that the page shows, and what it shows to be printed."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        for shown in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = shown.partition("\n")
            found.append((command, printed))
    return found


@pytest.mark.parametrize(("command", "printed"), transcripts(), ids=lambda text: text[:40])
def test_the_page_shows_what_is_printed(command: str, printed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of the page, run in the repository, prints what the page says, to the letter."""
    monkeypatch.chdir(ROOT)
    program, *arguments = shlex.split(command)
    ended = authz(*arguments)
    assert program == "authz"
    assert ended.out + ended.err == printed


def test_the_page_shows_every_tool() -> None:
    """check, test, replay and explain are each shown at work."""
    shown = " ".join(command for command, _ in transcripts())
    assert all(each in shown for each in ("policy check", "policy test", "replay", "explain"))


def test_the_case_file_of_the_page_is_one(tmp_path: Path) -> None:
    """The example of a case file is taken as it stands."""
    (shown,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "policies").mkdir()
    (tmp_path / "catalog.yaml").touch()
    document = CaseFile.model_validate_json(json.dumps(yaml.safe_load(shown)), context={"folder": tmp_path})
    assert [case.expect for case in document.cases] == ["allow", "deny", "allow"]


def test_the_page_names_every_place_that_a_policy_can_read() -> None:
    """The table of what policies can see leaves nothing out."""
    (table,) = re.findall(r"^\| in a policy .*?\n\n", PAGE, re.MULTILINE | re.DOTALL)
    for place in Fields.of({}, ()).by_place:
        assert f"{place[-1]}`" in table, ".".join(place)
