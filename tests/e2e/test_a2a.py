"""A2A through a real Envoy, with the official `a2a-sdk` as client and server, over JSON-RPC and REST, 1.0 and 0.3."""

import json
from collections.abc import Iterator

import anyio
import httpx
import pytest
from a2a.client import ClientConfig, ClientFactory
from a2a.client.errors import A2AClientError
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import InMemoryTaskStore
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, Message, Part, Role, SendMessageRequest
from starlette.applications import Starlette

from authz.demo.agents import Answered
from tests.support.envoy import Yard, hardened, yard
from tests.support.spoken import SPEAKER_HOST, Speaker, speaking
from tests.support.world import SUPPORT

__all__ = ["yard"]  # the fixture

pytestmark = pytest.mark.filterwarnings("ignore")  # the package's own

CATALOG = """\
services:
  planner:
    hosts: [mail.example.org]
    a2a:
      path: /a2a
      rest: /rest
      card: {action: planner.card, class: read, dataset: planner, sensitivity: public}
      methods:
        SendMessage: {action: planner.ask, class: delegate, dataset: planner, sensitivity: internal}
        GetTask: {action: planner.task.read, class: read, dataset: planner, sensitivity: internal}
"""
POLICIES = """\
@id("support-asks-the-planner")
permit (principal == Agent::"spiffe://example.org/agent/support", action, resource in Dataset::"planner");
"""


class Planner(AgentExecutor):
    """An agent that answers with what it was asked."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Answer."""
        text = f"planned {context.get_user_input()}"
        await event_queue.enqueue_event(Message(message_id="m-1", role=Role.ROLE_AGENT, parts=[Part(text=text)]))

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Nothing lasts."""


def card(base: str) -> AgentCard:
    """The planner's card; its interfaces are behind Envoy."""
    return AgentCard(
        name="planner",
        description="plans",
        version="1",
        capabilities=AgentCapabilities(streaming=False, push_notifications=False),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        supported_interfaces=[
            AgentInterface(url=f"{base}/a2a", protocol_binding="JSONRPC", protocol_version="1.0"),
            AgentInterface(url=f"{base}/rest", protocol_binding="HTTP+JSON", protocol_version="1.0"),
        ],
    )


@pytest.fixture(scope="module")
def speaker(yard: Yard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Speaker]:
    """The planner behind Envoy."""
    described = card("https://planner.invalid")
    handler = DefaultRequestHandler(agent_executor=Planner(), task_store=InMemoryTaskStore(), agent_card=described)
    app = Starlette(
        routes=[
            *create_agent_card_routes(described),
            *create_jsonrpc_routes(handler, rpc_url="/a2a", enable_v0_3_compat=True),
            *create_rest_routes(handler, path_prefix="/rest", enable_v0_3_compat=True),
        ]
    )
    with speaking(yard, tmp_path_factory.mktemp("a2a"), app, CATALOG, POLICIES) as started:
        yield started


def ask(speaker: Speaker, binding: str, grants: str) -> str:
    """What the planner answers a client of the official package on a task with these grants."""
    task = speaker.task(grants)

    async def run() -> str:
        async with httpx.AsyncClient(verify=speaker.tls(), headers=speaker.headers(task), timeout=30) as http:
            config = ClientConfig(httpx_client=http, supported_protocol_bindings=[binding], streaming=False)
            client = ClientFactory(config).create(card(speaker.url))
            message = Message(message_id="m-0", role=Role.ROLE_USER, parts=[Part(text="a day")])
            answers = [str(answer) async for answer in client.send_message(SendMessageRequest(message=message))]
            return "".join(answers)

    return anyio.run(run)


BINDINGS = ["JSONRPC", "HTTP+JSON"]


@pytest.mark.parametrize("binding", BINDINGS)
def test_a_message_that_is_granted_is_answered(speaker: Speaker, binding: str) -> None:
    """A client of the official package asks, and is answered."""
    assert "planned a day" in ask(speaker, binding, "delegate:planner")


@pytest.mark.parametrize("binding", BINDINGS)
def test_a_message_that_is_not_granted_is_an_error(speaker: Speaker, binding: str) -> None:
    """A client of the official package tells of the refusal, and nothing arrives."""
    before = len(speaker.reached.requests)
    with pytest.raises(A2AClientError, match="403"):
        ask(speaker, binding, "read:planner")
    assert len(speaker.reached.requests) == before


PARTS = {"message": {"messageId": "m", "role": "user", "kind": "message", "parts": [{"kind": "text", "text": "x"}]}}
PUSH = {**PARTS, "configuration": {"push_notification_config": {"url": "https://evil.example"}}}


def rpc(method: str, params: object) -> bytes:
    """A JSON-RPC request."""
    return json.dumps({"jsonrpc": "2.0", "id": 5, "method": method, "params": params}).encode()


HOPS: dict[str, tuple[str, str, bytes, str]] = {
    "the old name is the same method": ("POST", "/a2a", rpc("message/send", PARTS), ""),
    "the old REST name has no entry": ("POST", "/rest/v1/message:send", json.dumps(PARTS).encode(), "action_unknown"),
    "a push notification in a message": ("POST", "/a2a", rpc("message/send", PUSH), "action_unknown"),
    "the same by REST": ("POST", "/rest/message:send", json.dumps(PUSH).encode(), "action_unknown"),
    "a method without an entry": ("POST", "/a2a", rpc("tasks/cancel", {"id": "1"}), "action_unknown"),
    "the same by REST, as a verb": ("POST", "/rest/tasks/1:cancel", b"{}", "action_unknown"),
    "a verb that nobody knows": ("POST", "/rest/tasks/1:steal", b"{}", "action_unknown"),
    "a batch": ("POST", "/a2a", b"[" + rpc("message/send", PARTS) + b"]", "batch_refused"),
}


@pytest.mark.parametrize("case", HOPS)
def test_methods_are_known_by_all_their_names(speaker: Speaker, case: str) -> None:
    """Old names and REST paths are the methods that they stand for; what has no entry never arrives."""
    method, path, body, reason = HOPS[case]
    task = speaker.task("read,delegate:planner")
    before = len(speaker.reached.requests)
    caller = speaker.yard.caller(speaker.world.svid(SUPPORT))
    headers = [("x-task-id", task.id), ("content-type", "application/json")]
    outcome = caller.call_patiently(hardened(speaker.envoy, SPEAKER_HOST), method, path, headers, body)[0]
    assert isinstance(outcome, Answered), outcome
    assert [value for name, value in outcome.headers if name == "x-authz-reason"] == ([reason] if reason else [])
    assert len(speaker.reached.requests) - before == (not reason)


def test_a_denial_answers_the_request_by_its_id(speaker: Speaker) -> None:
    """A JSON-RPC client finds its own id in the error."""
    task = speaker.task("read:planner")
    caller = speaker.yard.caller(speaker.world.svid(SUPPORT))
    headers = [("x-task-id", task.id), ("content-type", "application/json")]
    remote = hardened(speaker.envoy, SPEAKER_HOST)
    outcome = caller.call_patiently(remote, "POST", "/a2a", headers, rpc("SendMessage", PARTS))[0]
    assert isinstance(outcome, Answered), outcome
    told = json.loads(outcome.body)
    assert (told["jsonrpc"], told["id"], told["error"]["code"]) == ("2.0", 5, 4030)
    assert told["error"]["data"]["reason"] == "action_not_granted"
