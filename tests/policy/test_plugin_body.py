"""Bodies as policies for opa-envoy-plugin see them: whole and in one reading, or not at all."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from authz.core.errors import Refused
from authz.core.reasons import Reason
from authz.core.request import MAX_SHOWN_BODY_BYTES, NO_BODY, Body, Request
from authz.policy.plugin_body import parsed_body
from authz.policy.plugin_question import PluginQuestion
from tests.policy.examples import query

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
PARTS = "multipart/form-data; boundary=b"
OF_PARTS = b'--b\r\nContent-Disposition: form-data; name="a"%s\r\n\r\n%s\r\n--b--\r\n'


def request(kind: str | tuple[str, ...], body: bytes | Body, **headers: str) -> Request:
    """A request with this body, of this type."""
    kinds = (kind,) if isinstance(kind, str) else kind
    named = {name.replace("_", "-"): (value,) for name, value in headers.items()}
    whole = body if isinstance(body, Body) else Body(body)
    return Request("POST", "example.org", "/", {"content-type": kinds, **named}, "", "", "", whole)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (request(JSON, b'{"a": 1}'), {"a": 1}),
        (request("Application/JSON; charset=UTF-8", b'{"a": 1}'), {"a": 1}),
        (request("application/json;", b"1"), 1),
        (request("application/json-patch+json", b"[]"), []),
        (request(FORM, b"a=1&a=2&b"), {"a": ["1", "2"], "b": [""]}),
        (request("application/x-www-form-urlencoded; charset=ISO-8859-1", b"a=1"), {"a": ["1"]}),
        (request(PARTS, OF_PARTS % (b"", b"1")), {"a": ["1"]}),
        (request(PARTS, OF_PARTS % (b"\r\nContent-Type: application/json", b"[1]")), {"a": [[1]]}),
        (request(PARTS, OF_PARTS % (b'; filename="f"', b"\xff1")), {"a": ["\ufffd1"]}),
        (request("multipart/form-data", OF_PARTS % (b"", b"1")), None),
        (request('text/plain; a="b/c"', b"1"), None),
        (request("image/png, image/gif", b"\xff"), None),
        (request("application/grpc", b"\0\0\0\0\0"), None),
        (request(JSON, b"1", content_length="1", content_encoding="identity"), 1),
    ],
)
def test_a_body_is_read_by_its_type(asked: Request, expected: object) -> None:
    """JSON, forms and forms in parts are read; what is another type has no parsed body."""
    assert parsed_body(asked) == (expected, False)


@pytest.mark.parametrize(
    "asked",
    [
        request(JSON, Body(b"1", is_partial=True)),
        request("text/plain", Body(b"1", is_partial=True)),
        request(JSON, b"1", content_length="2"),
        request(FORM, b"a", content_length="10"),
        request(PARTS, OF_PARTS % (b"", b"1"), content_length="9" * 30),
        request(JSON, Body(b"1", declared_bytes=2)),
        request("text/plain", b"1" * (MAX_SHOWN_BODY_BYTES + 1)),
    ],
)
def test_a_body_that_is_not_all_here_is_never_taken_for_whole(asked: Request) -> None:
    """Where Envoy cut it, more was declared, or what nobody parses is too large: policies are told."""
    assert parsed_body(asked) == (None, True)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (request((JSON, FORM), b"1"), "request_malformed"),
        (request("application/json, text/plain", b"1"), "request_malformed"),
        (request("text/plain, application/json", b"1"), "request_malformed"),
        (request("application/grpc, application/x-www-form-urlencoded", b"a=1"), "request_malformed"),
        (request('text/plain; a="application/json"', b"1"), "request_malformed"),
        (request("multipart/form-data; boundary=b; boundary=c", OF_PARTS % (b"", b"1")), "request_malformed"),
        (request("application/json; charset=utf-7", b"1"), "request_malformed"),
        (request("application/json; charset=iso-8859-1", b'"\xc3\xa4"'), "request_malformed"),
        (request(FORM, b"\xff=1"), "request_malformed"),
        (request(FORM, b"a=%GG"), "request_malformed"),
        (request(PARTS, OF_PARTS % (b"", b"\xff")), "request_malformed"),
        (request(PARTS, OF_PARTS % (b"\r\nContent-Type: application/json", b"{")), "request_malformed"),
        (request(PARTS, OF_PARTS % (b"\r\nContent-Transfer-Encoding: base64", b"MQ==")), "request_malformed"),
        (request(JSON, b"1", content_length="1,2"), "request_malformed"),
        (request(JSON, b"1", content_encoding="gzip"), "body_encoded"),
        (request(JSON, Body(b'"!"', is_exact=False)), "body_incomplete"),
    ],
)
def test_a_body_that_the_service_could_read_otherwise_is_refused(asked: Request, reason: str) -> None:
    """Two types, another charset or encoding, and bytes that Envoy replaced: the hop is denied and OPA not asked."""
    with pytest.raises(Refused) as refused:
        parsed_body(asked)
    assert refused.value.reason.id == reason
    assert refused.value.reason.http_status == 400


SECRET = "swordfish"
QUESTION = PluginQuestion({}, frozenset({"txn-token", "authorization"}))
NAMES = st.sampled_from(["txn-token", "Txn-Token", "TXN-TOKEN", "Authorization"])
OTHERS = st.dictionaries(
    st.sampled_from(["a", ":path", "content-length", "content-type", "content-encoding", "x-b"]),
    st.lists(st.text(max_size=8) | st.sampled_from([JSON, FORM, PARTS, "1"]), min_size=1, max_size=2).map(tuple),
)
BODIES = st.binary(max_size=20) | st.sampled_from([b"{}", b"a=1", OF_PARTS % (b"", b"1"), b"[" * 60_000])


def must_not_be_told(refused: Refused) -> None:
    """Why it was refused is for the audit log, which holds no credentials."""
    assert SECRET not in refused.detail


@example({"Txn-Token": (SECRET,)}, {}, b"", "/")
@given(st.dictionaries(NAMES, st.just((SECRET,))), OTHERS, BODIES, st.text(max_size=12))
def test_every_request_is_asked_about_or_refused(
    hidden: dict[str, tuple[str, ...]], others: dict[str, tuple[str, ...]], body: bytes, path: str
) -> None:
    """For all requests: the question is JSON without what is hidden, whatever the case of its name, or is Refused."""
    asked = Request("POST", "example.org", path, {**others, **hidden}, "", "", "", Body(body) if body else NO_BODY)
    try:
        question = QUESTION(replace(query(), request=asked))
    except Refused as refused:
        must_not_be_told(refused)
        return
    document: dict[str, Any] = json.loads(question)
    assert SECRET.encode() not in question
    assert document["attributes"]["request"]["http"]["headers"].keys() == others.keys()
    assert document["source_principal"] == query().agent.uri
    assert document["truncated_body"] is False or document["parsed_body"] is None
    assert question == QUESTION(replace(query(), request=replace(asked)))


@pytest.mark.parametrize("kind", [JSON, FORM, PARTS])
def test_a_body_that_is_too_large_to_be_shown_is_refused_where_rules_could_read_it(kind: str) -> None:
    """Making a body larger is no way around a rule that denies what it finds in one."""
    with pytest.raises(Refused) as refused:
        parsed_body(request(kind, b"1" * (MAX_SHOWN_BODY_BYTES + 1)))
    assert refused.value.reason is Reason.BODY_INCOMPLETE
