"""MCP through a real Envoy, with the official `mcp` package as client and server, in the old and the new revision."""

import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import httpx2
import pytest
from mcp import MCPError
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings

from authz.core.task import Task
from authz.demo.agents import Answered
from tests.support.envoy import Yard, hardened, yard
from tests.support.spoken import SPEAKER_HOST, Speaker, speaking
from tests.support.world import SUPPORT

__all__ = ["yard"]  # the fixture

pytestmark = pytest.mark.filterwarnings("ignore")  # the package's own

CATALOG = """\
services:
  mail:
    hosts: [mail.example.org]
    mcp:
      path: /mcp
      session: {action: mail.session, class: read, dataset: mail, sensitivity: public}
      tools:
        search_mail:
          action: mail.search
          class: read
          dataset: mail.inbox
          sensitivity: internal
          untrusted_input: true
        send_mail:
          action: mail.send
          class: egress
          dataset: mail.outbox
          sensitivity: internal
          arguments:
            recipient_domains: {at: [/to, /cc], kind: email_domains}
        purge_folder:
          action: mail.purge
          class: delete
          dataset: mail.inbox
          sensitivity: internal
          arguments:
            folder: {at: /folder, kind: text}
      resources:
        "mail://folders/{folder}": {action: mail.folder.read, class: read, dataset: mail.inbox, sensitivity: internal}
      prompts:
        reply: {action: mail.prompt, class: read, dataset: mail, sensitivity: public}
"""
POLICIES = """\
@id("support-works-on-mail")
permit (principal == Agent::"spiffe://example.org/agent/support", action, resource in Dataset::"mail");

@id("mail-stays-in-the-house")
forbid (principal, action == Action::"mail.send", resource)
unless { context.arguments has recipient_domains && ["example.org"].containsAll(context.arguments.recipient_domains) };

@id("purging-needs-the-owner")
@step_up("owner")
forbid (principal, action == Action::"mail.purge", resource);
"""
DENIED = 4030


def server() -> MCPServer:
    """A mail server."""
    mcp = MCPServer("mail")

    @mcp.tool()
    def search_mail(query: str) -> str:
        """Find mail."""
        return f"found {query}"

    @mcp.tool()
    def send_mail(to: list[str], text: str, cc: list[str] | None = None) -> str:
        """Send mail."""
        return f"sent to {to} {cc}: {text}"

    @mcp.tool()
    def purge_folder(folder: str) -> str:
        """Delete all in it."""
        return f"purged {folder}"

    @mcp.tool()
    def empty_trash() -> str:
        """Not in the catalog."""
        return "emptied"

    @mcp.resource("mail://folders/{folder}")
    def folder(folder: str) -> str:
        """A folder."""
        return f"folder {folder}"

    @mcp.resource("secret://keys/{name}")
    def key(name: str) -> str:
        """Not in the catalog."""
        return f"key {name}"

    @mcp.prompt()
    def reply(tone: str) -> str:
        """A prompt."""
        return f"reply in a {tone} tone"

    return mcp


@pytest.fixture(scope="module")
def speaker(yard: Yard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Speaker]:
    """The mail server behind Envoy."""
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    app = server().streamable_http_app(streamable_http_path="/mcp", transport_security=security)
    with speaking(yard, tmp_path_factory.mktemp("mcp"), app, CATALOG, POLICIES) as started:
        yield started


def session(speaker: Speaker, task: Task, mode: str, play: Callable[[Client], Awaitable[None]]) -> None:
    """Play with a client of the official package that is connected in this mode."""

    async def run() -> None:
        http = httpx2.AsyncClient(verify=speaker.tls(), headers=speaker.headers(task), timeout=30)
        async with http, Client(streamable_http_client(f"{speaker.url}/mcp", http_client=http), mode=mode) as client:
            await play(client)

    anyio.run(run)


async def refusal(call: Awaitable[Any]) -> tuple[int, str]:
    """The code and the reason with which a call is refused; fails where it is not."""
    try:
        result = await call
    except MCPError as error:
        return error.error.code, error.error.data["reason"]
    raise AssertionError(f"not refused: {result}")


MODES = ["legacy", "auto", "2026-07-28"]


@pytest.mark.parametrize("mode", MODES)
def test_a_session_with_calls_allowed_and_denied(speaker: Speaker, mode: str) -> None:
    """Connect, list, call: what the task grants is answered; what it does not is an error that the client tells."""
    task = speaker.task("read:mail")

    async def play(client: Client) -> None:
        tools = await client.list_tools()
        assert {tool.name for tool in tools.tools} == {"search_mail", "send_mail", "purge_folder", "empty_trash"}
        found = await client.call_tool("search_mail", {"query": "invoice"})
        assert "found invoice" in str(found.content)
        sending = client.call_tool("send_mail", {"to": ["ann@example.org"], "text": "hello"})
        assert await refusal(sending) == (DENIED, "action_not_granted")
        assert await refusal(client.call_tool("empty_trash", {})) == (DENIED, "action_unknown")
        again = await client.call_tool("search_mail", {"query": "still open"})
        assert "found still open" in str(again.content)

    before = len(speaker.reached.requests)
    session(speaker, task, mode, play)
    arrived = [json.loads(body) for method, _, body in speaker.reached.requests[before:] if method == "POST"]
    called = [message["params"]["name"] for message in arrived if message.get("method") == "tools/call"]
    assert called == ["search_mail", "search_mail"], "what was denied never arrived"


@pytest.mark.parametrize("mode", MODES)
def test_resources_and_prompts(speaker: Speaker, mode: str) -> None:
    """Resources are decided by their URI and prompts by their name; those outside the catalog are denied."""

    async def play(client: Client) -> None:
        assert "folder inbox" in str((await client.read_resource("mail://folders/inbox")).contents)
        assert "formal tone" in str((await client.get_prompt("reply", {"tone": "formal"})).messages)
        assert await refusal(client.read_resource("secret://keys/root")) == (DENIED, "action_unknown")

    session(speaker, speaker.task("read:mail"), mode, play)


@pytest.mark.parametrize("mode", MODES)
def test_a_call_that_needs_an_approval(speaker: Speaker, mode: str) -> None:
    """The client is told which kind of approval would help, and the access request to name to whoever gives it."""

    async def play(client: Client) -> None:
        with pytest.raises(MCPError) as refused:
            await client.call_tool("purge_folder", {"folder": "inbox"})
        assert refused.value.error.code == DENIED
        told = refused.value.error.data
        assert told["reason"] == "step_up_required"
        assert told["step_up"] == ["owner"]
        assert told["access_request"]

    session(speaker, speaker.task("read,delete:mail"), mode, play)


def test_arguments_decide(speaker: Speaker) -> None:
    """A policy about recipients lets mail go to the house, and to nobody else, wherever in the call they stand."""

    async def play(client: Client) -> None:
        await client.call_tool("send_mail", {"to": ["ann@example.org"], "text": "hello"})
        for strangers in ({"to": ["eve@evil.example"]}, {"to": ["ann@example.org"], "cc": ["eve@evil.example"]}):
            sending = client.call_tool("send_mail", {**strangers, "text": "hello"})
            assert await refusal(sending) == (DENIED, "policy_forbids")
        forged = client.call_tool("send_mail", {"to": ["eve@evil.example,ann@example.org"], "text": "hello"})
        assert await refusal(forged) == (DENIED, "argument_malformed")

    session(speaker, speaker.task("read,egress:mail"), "2026-07-28", play)


def test_the_audit_names_the_tool(speaker: Speaker) -> None:
    """The record of a call names tool, action and dataset, and none of the arguments' values."""

    async def play(client: Client) -> None:
        await client.call_tool("send_mail", {"to": ["ann@example.org"], "text": "top secret"})

    task = speaker.task("read:mail", "egress:mail.outbox")
    session(speaker, task, "2026-07-28", play)
    told = [each for each in speaker.records(task) if each["action"] == "mail.send"]
    assert [record["decision"] for record in told] == ["allow"]
    assert told[0]["resource"] == "MCP mail.example.org/mcp tools/call send_mail"
    assert told[0]["dataset"] == "mail.outbox"
    assert "top secret" not in (speaker.world.folder / "audit.jsonl").read_text()


CALL = {
    "jsonrpc": "2.0",
    "id": 7,
    "method": "tools/call",
    "params": {"name": "search_mail", "arguments": {"query": "x"}},
}
LIST = {"jsonrpc": "2.0", "id": 7, "method": "tools/list"}
LONG = b" " * 70_000

CALLS = json.dumps(CALL).encode()
LISTS = json.dumps(LIST).encode()
DEEP = b'{"jsonrpc":"2.0","id":7,"method":"tools/list","params":' + b"[" * 2000 + b"]" * 2000 + b"}"
TWICE = b'{"jsonrpc":"2.0","id":7,"method":"tools/list","method":"tools/call"}'
OTHER_CASE = b'{"jsonrpc":"2.0","id":7,"method":"tools/list","Method":"tools/call"}'
BOTH = [("mcp-method", "tools/call"), ("mcp-method", "tools/list")]

SMUGGLED: dict[str, tuple[list[tuple[str, str]], bytes, str]] = {
    "header says list, body calls": ([("mcp-method", "tools/list")], CALLS, "header_mismatch"),
    "header names another tool": ([("mcp-name", "safe")], CALLS, "header_mismatch"),
    "two headers": (BOTH, CALLS, "header_mismatch"),
    "duplicate member": ([], TWICE, "body_ambiguous"),
    "member in other case": ([], OTHER_CASE, "body_ambiguous"),
    "batch": ([], b"[" + LISTS + b"," + CALLS + b"]", "batch_refused"),
    "two values": ([], LISTS + CALLS, "body_malformed"),
    "deep": ([], DEEP, "body_malformed"),
    "compressed": ([("content-encoding", "gzip")], LISTS, "body_encoded"),
    "another type": ([("content-type", "text/plain")], LISTS, "body_type"),
    "posing as gRPC": ([("content-type", "application/grpc")], LISTS, "body_type"),
    "no body": ([], b"", "body_missing"),
    "unknown method": ([], b'{"jsonrpc":"2.0","id":7,"method":"tools/steal"}', "action_unknown"),
    "unknown revision": ([("mcp-protocol-version", "2099-01-01")], LISTS, "protocol_version"),
}


@pytest.mark.parametrize("case", SMUGGLED)
def test_what_two_readers_could_read_differently_never_arrives(speaker: Speaker, case: str) -> None:
    """Headers and bodies that disagree, or bodies of more than one reading, are refused for their own reason."""
    headers, body, reason = SMUGGLED[case]
    task = speaker.task("read,egress:mail")
    kind = [] if any(name == "content-type" for name, _ in headers) else [("content-type", "application/json")]
    before = len(speaker.reached.requests)
    caller = speaker.yard.caller(speaker.world.svid(SUPPORT))
    outcome = caller.call_patiently(
        hardened(speaker.envoy, SPEAKER_HOST), "POST", "/mcp", [("x-task-id", task.id), *kind, *headers], body
    )[0]
    assert isinstance(outcome, Answered), outcome
    told = [value for name, value in outcome.headers if name == "x-authz-reason"]
    assert told == [reason]
    assert len(speaker.reached.requests) == before


def test_a_body_above_envoys_limit_never_arrives(speaker: Speaker) -> None:
    """A body that Envoy does not pass on whole is a 413 of Envoy's, before anybody is asked."""
    task = speaker.task("read:mail")
    headers = [("x-task-id", task.id), ("content-type", "application/json")]
    caller = speaker.yard.caller(speaker.world.svid(SUPPORT))
    before = len(speaker.reached.requests)
    outcome = caller.call_patiently(hardened(speaker.envoy, SPEAKER_HOST), "POST", "/mcp", headers, LISTS + LONG)[0]
    assert isinstance(outcome, Answered), outcome
    assert outcome.status == 413
    assert len(speaker.reached.requests) == before
