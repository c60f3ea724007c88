"""Bodies as Envoy passes them on, and denials in the words of who sent them."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.core.errors import Refused
from authz.core.reasons import Reason
from authz.core.request import NO_BODY, Body, Request
from authz.wire.decode import decode
from authz.wire.denials import JsonRpcDenials, form
from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from tests.support import corpora
from tests.support.messages import post


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("get_mtls_h1", NO_BODY),
        ("post_json", Body(b'{"a":1}', 7, is_declared_whole=True)),
        ("grpc_call", NO_BODY),
    ],
)
def test_bodies_of_a_real_envoy(name: str, expected: Body) -> None:
    """What Envoy 1.40 sent is read as it was: bytes, length, and whether that is all."""
    found = decode((corpora.folder("checkrequests") / f"{name}.bin").read_bytes()).body
    assert (found.is_partial, found.is_declared_whole) == (expected.is_partial, expected.is_declared_whole)
    assert len(found.content) == (found.declared_bytes or 0) == len(expected.content)


def test_a_cut_body_of_a_real_envoy() -> None:
    """A body above the limit says that it is only a part."""
    found = decode((corpora.folder("checkrequests") / "post_json_over_max.bin").read_bytes()).body
    assert found.is_partial
    assert (len(found.content), found.declared_bytes) == (64, 208)


def check(**http: Any) -> bytes:  # noqa: ANN401  as the message's fields
    """A CheckRequest about this request."""
    return CheckRequest(attributes={"request": {"http": {"method": "POST", **http}}}).SerializeToString()


def test_a_text_may_have_lost_bytes() -> None:
    """A body as text is exact only where it has no `!`; one that is given twice is malformed."""
    assert decode(check(body="fine")).body.is_exact
    assert not decode(check(body="caf!!")).body.is_exact
    with pytest.raises(Refused) as refused:
        decode(check(body="a", raw_body=b"a"))
    assert refused.value.reason is Reason.REQUEST_MALFORMED


TOLD = {"error": "denied", "reason": "action_not_granted", "decision_id": "d-1"}
DEFAULT = JsonRpcDenials()


@pytest.mark.parametrize("id", [7, "seven", 0, "", -1])
def test_a_jsonrpc_request_is_answered_by_its_id(id: object) -> None:
    """The error has the request's own id, the configured code, and all that may be told as data."""
    hop = post("/mcp", {"jsonrpc": "2.0", "id": id, "method": "tools/call"})
    answer = form(hop, Reason.ACTION_NOT_GRANTED, TOLD, DEFAULT)
    told = json.loads(answer.body)
    assert (answer.http_status, told["id"], told["error"]["code"]) == (403, id, 4030)
    assert told["error"]["data"] == TOLD
    lenient = form(hop, Reason.ACTION_NOT_GRANTED, TOLD, JsonRpcDenials(-32001, is_http_error=False))
    assert (lenient.http_status, json.loads(lenient.body)["error"]["code"]) == (200, -32001)
    assert form(hop, Reason.INTERNAL_ERROR, TOLD, JsonRpcDenials(is_http_error=False)).http_status == 503


def test_mcp_has_codes_of_its_own_for_its_own_faults() -> None:
    """A header that does not agree is HeaderMismatch, and an unknown revision UnsupportedProtocolVersion."""
    hop = post("/mcp", {"jsonrpc": "2.0", "id": 1, "method": "x"}, {"mcp-protocol-version": ("2026-07-28",)})
    codes = {reason: json.loads(form(hop, reason, TOLD, DEFAULT).body)["error"]["code"] for reason in Reason}
    assert (codes[Reason.HEADER_MISMATCH], codes[Reason.PROTOCOL_VERSION]) == (-32020, -32022)
    assert set(codes.values()) == {-32020, -32022, 4030}


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'[{"jsonrpc":"2.0","id":1,"method":"x"}]', b'{"jsonrpc":"2.0","method":"x"}', b"[" * 100_000,
     b'{"jsonrpc":"2.0","id":null,"method":"x"}', b'{"jsonrpc":"2.0","id":1.5,"method":"x"}',
     b'{"jsonrpc":"2.0","id":1}'],
)  # fmt: skip
def test_whoever_expects_no_answer_by_id_gets_a_plain_one(body: bytes) -> None:
    """What is no JSON-RPC request is denied in plain JSON."""
    assert json.loads(form(post("/mcp", body), Reason.ACTION_NOT_GRANTED, TOLD, DEFAULT).body) == TOLD


def test_grpc_gets_a_message() -> None:
    """Envoy makes the status of it; the text names reason and decision."""
    hop = post("/s/m", b"", {"content-type": ("application/grpc+proto",)})
    assert form(hop, Reason.ACTION_NOT_GRANTED, TOLD, DEFAULT).body == "denied: action_not_granted, decision d-1"


@settings(max_examples=200, deadline=None)
@given(body=st.binary(max_size=80), reason=st.sampled_from(Reason))
def test_a_denial_can_always_be_worded(body: bytes, reason: Reason) -> None:
    """No body keeps a denial from being one."""
    hop: Request = post("/mcp", b'{"jsonrpc":"2.0","id":1,' + body)
    assert 400 <= form(hop, reason, TOLD, DEFAULT).http_status < 600
