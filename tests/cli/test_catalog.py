"""`authz catalog`: what an operator does with a catalog before a server reads it."""

import json
import re
from pathlib import Path

import pytest
import yaml

from authz.catalog.kinds import TYPES
from tests.support import corpora
from tests.support.commands import authz

CATALOG = """\
services:
  crm:
    hosts: [crm.example.org]
    routes:
      - {action: crm.contact.read, class: read, method: GET, path: "/contacts/{contact_id}", dataset: crm.contacts,
         sensitivity: internal}
    mcp:
      path: /mcp
      session: {action: crm.session, class: read, dataset: crm, sensitivity: public}
      tools:
        send: {action: crm.send, class: unset, dataset: unset, sensitivity: unset}
"""
FILLED_IN = "class: egress, dataset: crm.out, sensitivity: public"


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """A catalog with one entry that is not filled in."""
    file = tmp_path / "catalog.yaml"
    file.write_text(CATALOG)
    return file


def test_check_names_what_is_not_filled_in(catalog: Path) -> None:
    """Each entry with something unset is told with its place, and the status is 1 until all are set."""
    checked = authz("catalog", "check", str(catalog))
    assert checked.status == 1
    assert f"{catalog}:11:15: MCP crm.example.org/mcp tools/call send" in checked.out
    catalog.write_text(
        CATALOG.replace("unset", "egress", 1).replace("unset", "crm.out", 1).replace("unset", "public", 1)
    )
    checked = authz("catalog", "check", "--json", str(catalog))
    assert checked.status == 0
    assert json.loads(checked.out)["unset"] == []


def test_classify_tells_what_a_request_is(catalog: Path, tmp_path: Path) -> None:
    """The hop for a request that a person describes, or the reason why there is none."""
    told = authz("catalog", "classify", "--json", str(catalog), "GET", "https://crm.example.org/contacts/42")
    hop = json.loads(told.out)
    assert (hop["action"], hop["parameters"]) == ("crm.contact.read", {"contact_id": "42"})
    body = tmp_path / "call.json"
    body.write_text(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "send"}}))
    denied = authz("catalog", "classify", "--body", str(body), str(catalog), "POST", "crm.example.org/mcp")
    assert denied.status == 1
    assert denied.out.startswith("denied, 403 action_unset")


def test_a_draft_from_openapi_is_a_catalog_that_denies(tmp_path: Path) -> None:
    """Every route of the document is in the draft, which loads, and denies until it is filled in."""
    document = corpora.folder("authzen-gateway") / "gateway_openapi.json"
    drafted = authz("catalog", "import", "openapi", "--service", "todo", "--host", "todo.example.org", str(document))
    file = tmp_path / "catalog.yaml"
    file.write_text(drafted.out)
    routes = yaml.safe_load(drafted.out)["services"]["todo"]["routes"]
    described = json.loads(document.read_text())["paths"]
    assert len(routes) == sum(
        method in {"get", "put", "post", "delete", "patch"} for each in described.values() for method in each
    )
    denied = authz("catalog", "classify", str(file), "GET", "todo.example.org/todos")
    assert denied.out.startswith("denied, 403 action_unset")


def test_a_draft_from_mcp_has_every_tool(tmp_path: Path) -> None:
    """Every tool of the list is in the draft; nothing that the server says of itself decides anything."""
    tools = [
        {
            "name": "send_mail",
            "description": "Sends mail.\n  class: read",
            "inputSchema": {
                "type": "object",
                "properties": {"to": {"type": "string"}, "region": {"x-mcp-header": "Region"}},
            },
            "annotations": {"readOnlyHint": True},
        },
        {"name": "get:x", "inputSchema": {}},
    ]
    listed = tmp_path / "tools.json"
    listed.write_text(json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"tools": tools}}))
    drafted = authz("catalog", "import", "mcp", "--service", "mail", "--host", "mail.example.org", str(listed))
    section = yaml.safe_load(drafted.out)["services"]["mail"]["mcp"]
    assert set(section["tools"]) == {"send_mail", "get:x"}
    assert section["tools"]["send_mail"]["class"] == "unset"
    assert section["tools"]["send_mail"]["headers"] == {"Region": "/region"}
    file = tmp_path / "catalog.yaml"
    file.write_text(drafted.out)
    checked = authz("catalog", "check", "--json", str(file))
    assert len(json.loads(checked.out)["unset"]) == 3


@pytest.mark.parametrize(("kind", "content"), [("openapi", "[]"), ("openapi", "{}"), ("mcp", "{}"), ("mcp", "{{{")])
def test_what_is_no_such_file_is_told(kind: str, content: str, tmp_path: Path) -> None:
    """A wrong file is a message with what to do, and status 2."""
    file = tmp_path / "given.json"
    file.write_text(content)
    refused = authz("catalog", "import", kind, "--service", "x", str(file))
    assert refused.status == 2
    assert str(file) in refused.err


def test_the_page_of_the_catalog_is_true(tmp_path: Path) -> None:
    """The file in docs/catalog.md is one that authz takes, and its table has every kind of argument with its type."""
    page = (Path(__file__).parents[2] / "docs" / "catalog.md").read_text()
    (shown,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    file = tmp_path / "catalog.yaml"
    file.write_text(shown)
    assert authz("catalog", "check", file).status == 0
    rows = dict(re.findall(r"^\| `(\w+)` \| (text|set|number|truth value) \|", page, re.MULTILINE))
    words = {str: "text", frozenset: "set", int: "number", bool: "truth value"}
    assert rows == {name: words[its_type] for name, its_type in TYPES.items()}
