"""What the documents say is what the program does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from authz.config import (
    OpaSettings,
    RegoSettings,
    TrustDomainSettings,
    ValkeySettings,
    ValkeyTlsSettings,
    load_settings,
)
from authz.core.reasons import Reason
from authz.policy import rego_input
from authz.policy.rego_builtins import TESTED
from authz.policy.rego_checks import MAX_DEPTH
from authz.policy.rego_cost import MAX_STEPS
from authz.policy.rego_source import MAX_BYTES, MAX_FILE_BYTES
from tests.policy.rego_examples import load

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")])


def fenced(text: str) -> str:
    """What stands between fences: every second part."""
    return "\n".join(re.split(r"^ *```.*$", text, flags=re.MULTILINE)[1::2])


def test_the_page_of_reasons_is_complete() -> None:
    """docs/reasons.md lists every reason with its status and meaning, and no other."""
    page = (ROOT / "docs" / "reasons.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (.+) \|$", page, re.MULTILINE)
    assert rows == [(reason.id, str(reason.http_status), reason.meaning) for reason in Reason]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link in the documents names a file that exists."""
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_page_of_configuration_is_complete(tmp_path: Path) -> None:
    """The file in docs/configuration.md is one that authz takes; it has every key, and every default as it is."""
    page = (ROOT / "docs" / "configuration.md").read_text()
    (shown,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    policies = ("policies/SHA256SUMS", "candidate/crm.cedar")
    for name in ("tls/authz.pem", "tls/authz.key", "tls/partner.json", "catalog.yaml", *policies):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "authz.yaml").write_text(shown)
    # It has the embedded store, Cedar and a folder; the shared store, Rego, OPA and bundles have pages of their own.
    left_out = ["tasks.valkey", "policy.rego", "policy.opa", "policy.bundle"]
    assert unsaid(load_settings(tmp_path / "authz.yaml")) == [f"{each} is left out" for each in left_out]


def test_the_page_of_stores_has_every_setting_of_the_shared_one() -> None:
    """Each is shown, with its default, and those that are commented out may be put in."""
    (shown,) = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs" / "stores.md").read_text(), re.MULTILINE | re.DOTALL)
    found = yaml.safe_load(re.sub(r"^    # (\w+:)", r"    \1", shown, flags=re.MULTILINE))["tasks"]["valkey"]
    assert found.keys() == ValkeySettings.model_fields.keys()
    assert found["tls"].keys() == ValkeyTlsSettings.model_fields.keys()
    for key, field in ValkeySettings.model_fields.items():
        if isinstance(field.default, int | float | str):
            assert found[key] == field.default, key


def test_the_page_of_opa_has_every_setting_of_it() -> None:
    """Each is shown, with its default."""
    (shown,) = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs" / "opa.md").read_text(), re.MULTILINE | re.DOTALL)
    found = yaml.safe_load(shown)["policy"]["opa"]
    assert found.keys() == OpaSettings.model_fields.keys()
    for key, field in OpaSettings.model_fields.items():
        if isinstance(field.default, int | float | str):
            assert found[key] == field.default, key


def unsaid(document: BaseModel) -> list[str]:
    """The keys that the document, or one in it, leaves out or sets to something else than their default."""
    found = []
    for key, field in type(document).model_fields.items():
        value = getattr(document, key)
        inner = value.values() if isinstance(value, dict) else [value]
        found += [f"{key}.{each}" for part in inner if isinstance(part, BaseModel) for each in unsaid(part)]
        if key not in document.model_fields_set and not isinstance(document, TrustDomainSettings):
            found.append(f"{key} is left out")
        if isinstance(field.default, int | float | str) and value != field.default:
            found.append(f"{key} is {value!r}, by default {field.default!r}")
    return found


def test_every_command_that_the_documents_show_exists() -> None:
    """Each `authz ...` command line in the documents names a command that the program has."""
    shown = set()
    for page in PAGES:
        for line in re.findall(r"^(?:\$ )?authz ((?:[a-z-]+ ?)+)", fenced(page.read_text()), re.MULTILINE):
            shown.add(
                " ".join(line.split()[:2] if line.split()[0] in {"task", "config", "identity"} else line.split()[:1])
            )
    assert shown
    for command in sorted(shown):
        arguments = [sys.executable, "-m", "authz", *command.split(), "--help"]
        ended = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, command


def test_the_page_of_rego_says_what_is_let_in() -> None:
    """Its settings, its list of built-ins and its limits are those of the program."""
    page = (ROOT / "docs" / "rego.md").read_text()
    (shown,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert yaml.safe_load(shown)["policy"]["rego"] == RegoSettings().model_dump()
    (built_ins,) = re.findall(r"^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert sorted(built_ins.split()) == sorted(TESTED)
    for said in (
        f"more than {MAX_DEPTH} rules that depend",
        f"More than {MAX_STEPS:,} steps",
        f"counts {rego_input.MAX_MEMBERS}, what `split` makes counts {rego_input.MAX_CHARACTERS:,}",
        f"({rego_input.MAX_CHARACTERS_OF_REQUESTS:,} with",
        f"A file of more than {MAX_FILE_BYTES // 1024} KiB, or {MAX_BYTES // 1024} KiB together",
        f"more than {rego_input.MAX_BYTES // 1024} KiB. If three",
    ):
        assert said in " ".join(page.split()), said


def test_the_rules_of_the_page_are_let_in(tmp_path: Path) -> None:
    """The example of docs/rego.md loads as it stands, and so does that of docs/opa.md."""
    for name in ("rego.md", "opa.md"):
        (rules, *_) = re.findall(r"^```rego\n(.*?)^```$", (ROOT / "docs" / name).read_text(), re.MULTILINE | re.DOTALL)
        load(tmp_path / name, rules, data={"limits": {"sensitivity": 1}})
