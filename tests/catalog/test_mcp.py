"""MCP messages: what they are, and what is refused because two readers could read it differently."""

from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.catalog.digest import digest
from authz.core.hop import Hop
from authz.core.reasons import Reason
from authz.core.request import Body, Request
from tests.support.messages import attempt, post, service_of
from tests.support.refusals import outcome

NEW = "2026-07-28"
META = {"io.modelcontextprotocol/protocolVersion": NEW}
MCP = service_of(
    mcp={
        "path": "/mcp",
        "session": attempt("crm.session"),
        "tools": {
            "get": attempt("crm.get"),
            "send": attempt("crm.send", arguments={"domains": {"at": ["/to", "/cc"], "kind": "email_domains"}}),
            "route": attempt("crm.route", headers={"Region": "/region", "Count": "/count"}),
        },
        "resources": {"crm://contacts/{contact_id}": attempt("crm.contact"), "memo:all": attempt("crm.memo")},
        "prompts": {"reply": attempt("crm.reply")},
        "methods": {"completion/complete": attempt("crm.complete"), "answers": attempt("crm.answer")},
    }
)


def found(request: Request) -> Reason | str:
    """The name of the action that the request is, or why it is none."""
    result = outcome(partial(MCP.classify, request))
    return result.operation.action if isinstance(result, Hop) else result


def message(method: str, params: Any = None, **changes: object) -> dict[str, object]:  # noqa: ANN401  any JSON
    """A JSON-RPC request."""
    return {"jsonrpc": "2.0", "id": 1, "method": method, **({} if params is None else {"params": params}), **changes}


def call(name: object = "get", arguments: object = None, **params: object) -> dict[str, object]:
    """A call of a tool."""
    return message("tools/call", {"name": name, **({} if arguments is None else {"arguments": arguments}), **params})


DEEP = b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":' + b"[" * 100 + b"]" * 100 + b"}}"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (call(), "crm.get"),
        (call("send", {"to": "a@x.org"}), "crm.send"),
        (call("other"), Reason.ACTION_UNKNOWN),
        (call("GET"), Reason.ACTION_UNKNOWN),
        (message("initialize", {"protocolVersion": "2025-11-25"}), "crm.session"),
        (message("tools/list"), "crm.session"),
        (message("server/discover"), "crm.session"),
        ({"jsonrpc": "2.0", "method": "notifications/initialized"}, "crm.session"),
        (message("resources/read", {"uri": "crm://contacts/7"}), "crm.contact"),
        (message("resources/read", {"uri": "memo:all"}), "crm.memo"),
        (message("resources/read", {"uri": "crm://contacts/../x"}), Reason.PATH_AMBIGUOUS),
        (message("resources/read", {"uri": "crm://contacts/7?x"}), Reason.MESSAGE_AMBIGUOUS),
        (message("resources/read", {"uri": "file:///etc/passwd"}), Reason.ACTION_UNKNOWN),
        (message("resources/read", {}), Reason.MESSAGE_MALFORMED),
        (message("prompts/get", {"name": "reply"}), "crm.reply"),
        (message("prompts/get", {"name": "get"}), Reason.ACTION_UNKNOWN),
        (message("completion/complete", {}), "crm.complete"),
        (message("logging/setLevel", {"level": "debug"}), Reason.ACTION_UNKNOWN),
        (message("tools/steal"), Reason.ACTION_UNKNOWN),
        ({"jsonrpc": "2.0", "id": 1, "result": {}}, "crm.answer"),
        ({"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "get"}}, Reason.MESSAGE_MALFORMED),
        (message("tools/call", ["get"]), Reason.MESSAGE_MALFORMED),
        (message("tools/list", id=None), Reason.MESSAGE_MALFORMED),
        (message("tools/list", id=1.5), Reason.MESSAGE_MALFORMED),
        (message("tools/list", jsonrpc="1.0"), Reason.MESSAGE_MALFORMED),
        (message("tools/list", result={}), Reason.MESSAGE_MALFORMED),
        ([message("tools/list")], Reason.BATCH_REFUSED),
        ([], Reason.BATCH_REFUSED),
        ("tools/list", Reason.MESSAGE_MALFORMED),
        (call(arguments=[1]), Reason.MESSAGE_MALFORMED),
        (call(Name="send"), Reason.BODY_AMBIGUOUS),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","m\xc5\xbfethod":"x"}', "crm.session"),
        ('{"jsonrpc":"2.0","id":1,"method":"ping","param\u017f":{}}'.encode(), Reason.BODY_AMBIGUOUS),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"ping"}', Reason.BODY_AMBIGUOUS),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":NaN}}', Reason.BODY_MALFORMED),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":1e400}}', Reason.BODY_AMBIGUOUS),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":9007199254740993}}', Reason.BODY_AMBIGUOUS),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":1.00000000000000001}}', Reason.BODY_AMBIGUOUS),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"\\ud800"}}', Reason.BODY_AMBIGUOUS),
        (b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"ping"}', Reason.BODY_MALFORMED),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping"} {}', Reason.BODY_MALFORMED),
        (DEEP, Reason.BODY_MALFORMED),
        (b'{"jsonrpc":"2.0","id":1,"method":"p\xff"}', Reason.BODY_MALFORMED),
        (b"", Reason.BODY_MISSING),
    ],
)  # fmt: skip
def test_what_a_message_is(body: object, expected: Reason | str) -> None:
    """A message is the entry of its method and name, or is refused for its own reason."""
    assert found(post("/mcp", body)) == expected


ENCODED = "=?base64?SGVsbG8sIOS4lueVjA==?="  # the specification's example


def new(body: dict[str, Any], **headers: str) -> Request:
    """A request of the revision that mirrors the body in headers; `None` leaves one out."""
    body = {**body, "params": {"_meta": META, **body.get("params", {})}}
    name = body["params"].get("name") or body["params"].get("uri") or ""
    mirrored = {"mcp-protocol-version": NEW, "mcp-method": str(body["method"]), "mcp-name": name}
    mirrored |= {key.replace("_", "-"): value for key, value in headers.items()}
    return post("/mcp", body, {key: (value,) for key, value in mirrored.items() if value})


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (new(call()), "crm.get"),
        (new(call(), mcp_method=""), Reason.HEADER_MISMATCH),
        (new(call(), mcp_name=""), Reason.HEADER_MISMATCH),
        (new(call(), mcp_method="tools/list"), Reason.HEADER_MISMATCH),
        (new(call(), mcp_name="send"), Reason.HEADER_MISMATCH),
        (new(call(), mcp_name="=?base64?Z2V0?="), "crm.get"),
        (new(call(), mcp_name="=?base64?Z2V?="), Reason.HEADER_MISMATCH),
        (new(call(), mcp_protocol_version=""), Reason.HEADER_MISMATCH),
        (new(call(), mcp_protocol_version="2025-06-18"), Reason.HEADER_MISMATCH),
        (new(call(), mcp_protocol_version="2099-01-01"), Reason.PROTOCOL_VERSION),
        (new(call(_meta={})), Reason.HEADER_MISMATCH),
        (new(call(), mcp_param_region="eu"), Reason.HEADER_MISMATCH),
        (new(call("route", {"region": "eu"}), mcp_param_region="eu"), "crm.route"),
        (new(call("route", {"region": "eu"})), Reason.HEADER_MISMATCH),
        (new(call("route", {"region": "eu"}), mcp_param_region="us"), Reason.HEADER_MISMATCH),
        (new(call("route", {"count": 42}), mcp_param_count="42.0"), "crm.route"),
        (new(call("route", {"count": 42}), mcp_param_count="43"), Reason.HEADER_MISMATCH),
        (new(call("route", {"region": "Hello, 世界"}), mcp_param_region=ENCODED), "crm.route"),
        (new(call("route", {})), "crm.route"),
        (post("/mcp", call(), {"mcp-method": ("tools/list",)}), Reason.HEADER_MISMATCH),
        (post("/mcp", call(), {"mcp-method": ("tools/call", "tools/list")}), Reason.HEADER_MISMATCH),
        (post("/mcp", call(), {"mcp-method": ("tools/call",)}), "crm.get"),
        (post("/mcp", call(), {"mcp-protocol-version": ("2025-06-18",)}), "crm.get"),
    ],
)  # fmt: skip
def test_headers_and_body_agree(request_: Request, expected: Reason | str) -> None:
    """Where headers mirror the body they say the same, in every revision; where they must be there, they are."""
    assert found(request_) == expected


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (Body(b"{}", 3), {}, Reason.BODY_INCOMPLETE),
        (Body(b"{}", 2, is_partial=True), {}, Reason.BODY_INCOMPLETE),
        (Body(b'{"a":"!"}', is_exact=False), {}, Reason.BODY_INCOMPLETE),
        (Body(b"{}"), {"content-length": ("3",)}, Reason.BODY_INCOMPLETE),
        (Body(b"{}"), {"content-length": ("2", "3")}, Reason.BODY_INCOMPLETE),
        (Body(b"{}"), {"content-length": ("2,3",)}, Reason.BODY_INCOMPLETE),
        (Body(b"{}"), {"content-encoding": ("gzip",)}, Reason.BODY_ENCODED),
        (Body(), {}, Reason.BODY_MISSING),
        (Body(b"{}"), {"content-type": ("application/json", "text/plain")}, Reason.BODY_TYPE),
        (Body(b"{}"), {"content-type": ("application/json; charset=utf-16",)}, Reason.BODY_TYPE),
        (Body(b"{}"), {"content-type": ("application/json; charset=utf-8",)}, Reason.MESSAGE_MALFORMED),
    ],
)
def test_a_body_counts_whole_or_not_at_all(body: Body, headers: dict[str, tuple[str, ...]], expected: Reason) -> None:
    """A body that is cut, of another length than declared, compressed, or of another type is refused."""
    plain = post("/mcp", b"x", headers)
    hop = Request(plain.method, plain.host, plain.path, plain.headers, "", "", "", body)
    assert found(hop) == expected


def test_the_digest_binds_all_arguments() -> None:
    """The digest is of all arguments, however written; a retry with answers or state is bound to these too."""

    def of(body: object) -> str:
        return MCP.classify(post("/mcp", body)).arguments_digest

    assert of(call(arguments={"a": 1, "b": [2.5]})) == digest({"a": 1, "b": [2.5]})
    given = b'{"b" : [25e-1],"\\u0061":1.0}'
    written = b'{"id":1,"params":{"arguments":' + given + b',"name":"get"},"method":"tools/call","jsonrpc":"2.0"}'
    assert of(written) == of(call(arguments={"a": 1, "b": [2.5]}))
    assert of(call(arguments={"a": 1, "b": [2.6]})) != of(call(arguments={"a": 1, "b": [2.5]}))
    assert of(call()) == of(call(arguments={})) == digest({})
    retry = of(call(inputResponses={"x": 1}))
    assert retry not in {
        of(call()),
        of(call(inputResponses={"x": 2})),
        of(call(inputResponses={"x": 1}, requestState="s")),
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
members = st.sampled_from(["jsonrpc", "id", "method", "params", "result", "Method", "name", "arguments", "_meta"])
near_messages = st.fixed_dictionaries(
    {"jsonrpc": st.sampled_from(["2.0", "1.0", 2]) | json_values, "id": st.integers() | json_values},
    optional={"method": st.sampled_from(["tools/call", "resources/read", "ping"]) | json_values, "params": json_values},
)


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=200) | near_messages | json_values)
def test_whatever_a_client_sends_is_a_hop_or_a_refusal(body: object) -> None:
    """No body makes the catalog fail, and none but a call of a tool in the catalog is one."""
    result = found(post("/mcp", body))
    assert isinstance(result, Reason) or result.startswith("crm.")
