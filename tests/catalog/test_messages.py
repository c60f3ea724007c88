"""A2A, GraphQL, gRPC and plain HTTP: what a request is, and with which arguments."""

import base64
import json
from collections import Counter
from functools import partial
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.catalog.digest import canonical, digest
from authz.catalog.http import HttpCatalog
from authz.catalog.strict_json import read_json
from authz.core.hop import Hop, Sensitivity
from authz.core.reasons import Reason
from authz.core.request import Body, Request
from tests.support import corpora
from tests.support.catalogs import HOST, catalog_of, entry, request
from tests.support.messages import attempt, post, service_of
from tests.support.refusals import outcome


def found(catalog: HttpCatalog, hop: Request) -> Reason | str:
    """The name of the action that the request is, or why it is none."""
    result = outcome(partial(catalog.classify, hop))
    return result.operation.action if isinstance(result, Hop) else result


GRAPHQL = service_of(
    graphql={
        "path": "/graphql",
        "query": {"contact": attempt("crm.read"), "__schema": attempt("crm.schema")},
        "mutation": {"deleteContact": attempt("crm.delete", **{"class": "delete"})},
    }
)


@pytest.mark.parametrize(
    ("query", "more", "expected"),
    [
        ("{ contact(id: 7) { name } }", {}, "crm.read"),
        ("query Q { contact(id: 7) { name } }", {}, "crm.read"),
        ("query Q { a: contact(id: 7) { name } b: contact(id: 8) { name } __typename }", {}, "crm.read"),
        ("mutation contact { deleteContact(id: 7) }", {}, "crm.delete"),
        ("query contact { deleteContact(id: 7) }", {}, Reason.ACTION_UNKNOWN),
        ("mutation { contact: deleteContact(id: 7) }", {}, "crm.delete"),
        ("query { contact { name } payroll { sum } }", {}, Reason.MESSAGE_AMBIGUOUS),
        ("query { ...F } fragment F on Query { payroll { sum } }", {}, Reason.ACTION_UNKNOWN),
        ("query { contact { name } ...F } fragment F on Query { payroll { sum } }", {}, Reason.MESSAGE_AMBIGUOUS),
        ("query { contact { name } ... on Query @skip(if: true) { payroll { sum } } }", {}, Reason.MESSAGE_AMBIGUOUS),
        ("query { ...F } fragment F on Query { ...F contact }", {}, "crm.read"),
        ("query { ...Missing }", {}, Reason.MESSAGE_MALFORMED),
        ("query A { contact } mutation B { deleteContact }", {}, Reason.MESSAGE_AMBIGUOUS),
        ("query A { contact } mutation B { deleteContact }", {"operationName": "A"}, "crm.read"),
        ("query A { contact } mutation B { deleteContact }", {"operationName": "B"}, "crm.delete"),
        ("query A { contact }", {"operationName": "B"}, Reason.MESSAGE_AMBIGUOUS),
        ("query A { contact }", {"operationname": "B"}, Reason.BODY_AMBIGUOUS),
        ("{ __schema { types { name } } }", {}, "crm.schema"),
        ("subscription { contact }", {}, Reason.ACTION_UNKNOWN),
        ("{ contact", {}, Reason.MESSAGE_MALFORMED),
        ("{" * 3000, {}, Reason.MESSAGE_MALFORMED),
        ("", {}, Reason.MESSAGE_MALFORMED),
    ],
)
def test_a_graphql_operation_is_its_type_and_root_field(
    query: str, more: dict[str, Any], expected: Reason | str
) -> None:
    """The type and the field that is asked for say what it is, whatever name the client gives the operation."""
    assert found(GRAPHQL, post("/graphql", {"query": query, **more})) == expected


def test_graphql_that_cannot_be_read_is_refused() -> None:
    """Batches, persisted documents and queries on the request line have no entry."""
    assert found(GRAPHQL, post("/graphql", [{"query": "{ contact }"}])) is Reason.BATCH_REFUSED
    assert found(GRAPHQL, post("/graphql", {"extensions": {"persistedQuery": {}}})) is Reason.MESSAGE_MALFORMED
    assert found(GRAPHQL, request("/graphql?query={contact}")) is not None
    assert found(GRAPHQL, request("/graphql?query=mutation")) is Reason.ACTION_UNKNOWN


def test_fragments_that_grow_without_bound_cost_nothing() -> None:
    """Twenty fragments, each of which spreads the next one twice, are looked at once each."""
    fragments = " ".join(f"fragment F{index} on Query {{ ...F{index + 1} ...F{index + 1} }}" for index in range(60))
    query = f"query {{ ...F0 }} {fragments} fragment F60 on Query {{ contact }}"
    assert found(GRAPHQL, post("/graphql", {"query": query})) == "crm.read"


GRPC = service_of(
    grpc={"com.book.BookService": {"Get": attempt("book.read"), "Put": attempt("book.write", body="bytes")}}
)


def test_a_grpc_call_is_its_service_and_method() -> None:
    """Service and method, exactly; the message is bound by its bytes where the entry says so."""
    headers = {"content-type": ("application/grpc",)}
    assert found(GRPC, post("/com.book.BookService/Get", b"", headers)) == "book.read"
    for path in ("/com.book.BookService/Other", "/com.book.Other/Get", "/com.book.bookservice/Get"):
        assert found(GRPC, post(path, b"", headers)) is Reason.ACTION_UNKNOWN
    one, other = (GRPC.classify(post("/com.book.BookService/Put", body, headers)) for body in (b"\0a", b"\0b"))
    assert one.arguments_digest != other.arguments_digest
    assert found(GRPC, request("/com.book.BookService/Put", method="POST")) is Reason.BODY_MISSING


A2A = service_of(
    a2a={
        "path": "/a2a",
        "rest": "/{tenant}/v1",
        "card": attempt("a2a.card"),
        "methods": {
            "SendMessage": attempt("a2a.send"),
            "SendMessageWithPush": attempt("a2a.push"),
            "GetTask": attempt("a2a.get"),
            "CancelTask": attempt("a2a.cancel"),
        },
    }
)
OTHER_SPELLING: dict[str, object] = {"task_push_notification_config": {}}
MESSAGE = {"message": {"messageId": "1", "parts": [{"text": "hello"}]}}


def rpc(method: str, params: object = None) -> dict[str, object]:
    """A JSON-RPC request."""
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}


@pytest.mark.parametrize(
    ("hop", "expected"),
    [
        (post("/a2a", rpc("SendMessage", MESSAGE)), "a2a.send"),
        (post("/a2a", rpc("message/send", MESSAGE)), "a2a.send"),
        (post("/a2a", rpc("message/stream", MESSAGE)), "a2a.send"),
        (post("/a2a", rpc("tasks/get", {"id": "1"})), "a2a.get"),
        (post("/a2a", rpc("ListTasks")), Reason.ACTION_UNKNOWN),
        (post("/a2a", rpc("sendmessage", MESSAGE)), Reason.ACTION_UNKNOWN),
        (post("/a2a", rpc("SendMessage")), Reason.MESSAGE_MALFORMED),
        (post("/a2a", rpc("SendMessage", {**MESSAGE, "configuration": {"pushNotificationConfig": {}}})), "a2a.push"),
        (post("/a2a", rpc("SendMessage", {**MESSAGE, "configuration": OTHER_SPELLING})), "a2a.push"),
        (post("/a2a", rpc("SendMessage", {**MESSAGE, "Configuration": {}})), Reason.BODY_AMBIGUOUS),
        (post("/a2a", rpc("GetTask"), {"a2a-version": ("1.0",)}), "a2a.get"),
        (post("/a2a", rpc("GetTask"), {"a2a-version": ("2.0",)}), Reason.PROTOCOL_VERSION),
        (post("/acme/v1/message:send", MESSAGE), "a2a.send"),
        (post("/acme/v1/tasks/7:cancel", {}), "a2a.cancel"),
        (post("/acme/v1/tasks/7:steal", {}), Reason.ACTION_UNKNOWN),
        (post("/acme/v1/tasks/7", {}), Reason.ACTION_UNKNOWN),
        (request("/acme/v1/tasks/7"), "a2a.get"),
        (request("/acme/v1/tasks/7:subscribe"), Reason.ACTION_UNKNOWN),
        (request("/acme/v1/tasks/7:cancel/pushNotificationConfigs"), Reason.MESSAGE_AMBIGUOUS),
        (request("/.well-known/agent-card.json"), "a2a.card"),
    ],
)  # fmt: skip
def test_an_a2a_method_is_known_by_all_its_names(hop: Request, expected: Reason | str) -> None:
    """JSON-RPC of 1.0 and 0.3, and REST: one method each, and an entry of its own where it makes the agent call out."""
    assert found(A2A, hop) == expected


def test_a_retry_of_a_message_is_the_same_attempt() -> None:
    """The digest leaves out the message's id, which is new each time, and nothing else."""

    def of(message: dict[str, object]) -> str:
        return A2A.classify(post("/a2a", rpc("SendMessage", {"message": message}))).arguments_digest

    assert of({"messageId": "1", "parts": []}) == of({"messageId": "2", "parts": []})
    assert of({"messageId": "1", "parts": []}) != of({"messageId": "1", "parts": [{"text": "more"}]})


ORDERS = catalog_of(
    entry(
        "/orders/{order_id}",
        method="POST",
        body="json",
        query=["limit"],
        arguments={
            "order": {"at": "/path/order_id", "kind": "text"},
            "amount": {"at": "/body/amount", "kind": "cents"},
            "note": {"at": "/body/note", "kind": "text", "optional": True},
        },
    ),
    entry("/search", query=["limit", "customer"]),
    entry(
        "/customers/{tier}",
        action="crm.tier",
        arguments={"tier": {"at": "/path/tier", "kind": "text"}},
        classify={
            "by": "tier",
            "values": {
                "basic": {"dataset": "crm.basic", "sensitivity": "internal"},
                "gold": {"dataset": "crm.gold", "sensitivity": "confidential", "privileged": True},
            },
        },
    ),
)


def test_arguments_come_from_path_query_and_body() -> None:
    """Chosen arguments are typed; all of them, the query's text included, are bound by the digest."""
    hop = ORDERS.classify(post("/orders/7?limit=5&x=1", {"amount": 12.5}))
    assert hop.arguments == {"order": "7", "amount": 1250}
    assert hop.parameters == {"order_id": "7", "limit": "5"}
    assert hop.arguments_digest == digest(
        {"path": {"order_id": "7"}, "query": {"limit": "5"}, "query_text": "limit=5&x=1", "body": {"amount": 12.5}}
    )
    others = [post("/orders/7?limit=5", {"amount": 12.5}), post("/orders/7?limit=5&x=1", {"amount": 12.51})]
    assert hop.arguments_digest not in {ORDERS.classify(other).arguments_digest for other in others}
    for body in ({}, {"amount": "12"}, {"amount": 1.234}, {"amount": 1, "Amount": 2}, {"Amount": 2}):
        assert isinstance(found(ORDERS, post("/orders/7", body)), Reason)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("limit=5", {"limit": "5"}),
        ("limit=5&other=6", {"limit": "5"}),
        ("customer=a%20b&limit=1+2", {"customer": "a b", "limit": "1 2"}),
        ("limit", {"limit": ""}),
        ("", {}),
    ],
)
def test_query_parameters_are_there_for_policies(query: str, expected: dict[str, str]) -> None:
    """Those that the route names, decoded."""
    assert ORDERS.classify(request(f"/search?{query}")).parameters == expected


@pytest.mark.parametrize(
    "query",
    ["limit=1&limit=2", "limit=1&LIMIT=2", "Limit=1", "limit[]=1", "limit%5B%5D=1", "l%69mit=1", "limit=%ff",
     "limit=%0a", "limit=1;limit=2", "limit=1&limit.x=2", "limit=\\", "limit=%"],
)  # fmt: skip
def test_query_parameters_of_two_readings_are_refused(query: str) -> None:
    """Repeated, in other spellings, or with what upstreams decode differently."""
    assert found(ORDERS, request(f"/search?{query}")) is Reason.QUERY_AMBIGUOUS


def test_an_argument_chooses_the_dataset() -> None:
    """The dataset of a listed value is its own; that of any other is the wide one, at the highest sensitivity."""
    expected = {
        "basic": ("crm.basic", Sensitivity.INTERNAL, False),
        "gold": ("crm.gold", Sensitivity.CONFIDENTIAL, True),
        "Gold": ("crm", Sensitivity.RESTRICTED, True),
        "platinum": ("crm", Sensitivity.RESTRICTED, True),
    }
    for tier, values in expected.items():
        operation = ORDERS.classify(request(f"/customers/{tier}")).operation
        assert (operation.dataset, operation.sensitivity, operation.is_privileged) == values
        assert operation in ORDERS.operations


numbers = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e6, 1e6) | st.floats(-1e-3, 1e-3)
plain_json = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=25,
)


@settings(max_examples=500, deadline=None)
@given(value=plain_json)
def test_the_fast_canonical_form_is_that_of_rfc_8785(value: object) -> None:
    """Whatever way it is made, the canonical text is that of the library, for every value that is accepted."""
    accepted = outcome(partial(read_json, json.dumps(value).encode()))
    if not isinstance(accepted, Reason):
        assert canonical(accepted) == rfc8785.dumps(accepted)


@settings(max_examples=500, deadline=None)
@given(content=st.binary(max_size=60) | plain_json.map(lambda value: json.dumps(value).encode()))
def test_json_is_a_value_or_a_refusal(content: bytes) -> None:
    """No bytes make the reader fail, and what it accepts the standard library reads alike."""
    result = outcome(partial(read_json, content))
    if not isinstance(result, Reason):
        assert result == json.loads(content)


def test_the_bodies_of_opa_envoy_plugin() -> None:
    """Of its 33 bodies a JSON route takes those that are whole JSON objects; all else has a reason."""
    arguments = {"x": {"at": "/body/x", "kind": "text", "optional": True}}
    catalog = catalog_of(entry("/b", method="POST", body="json", arguments=arguments))
    cases = json.loads((corpora.folder("opa-envoy-plugin") / "body_parse_cases.json").read_text())
    assert len(cases) == 33
    counts: Counter[str] = Counter()
    for case in cases:
        http = case["request"]["attributes"]["request"]["http"]
        raw, text = base64.b64decode(http.get("raw_body", "")), http.get("body", "")
        headers = {name: (value,) for name, value in http["headers"].items()}
        partial_ = headers.pop("x-envoy-auth-partial-body", ("",)) == ("true",)
        body = Body(raw or text.encode(), is_partial=partial_, is_exact=not text or "!" not in text)
        result = found(catalog, Request("POST", HOST, "/b", headers, "", "", "", body))
        expected = case["expect"]
        # `null` is JSON too; what they give as nothing parsed is no sign that there was nothing.
        is_whole = not expected["error"] and not expected["truncated_body"] and bool(body.content)
        is_json = headers.get("content-type") == ("application/json",)
        assert (result == "crm.read") == (is_whole and is_json), case["id"]
        counts[str(result)] += 1
    assert counts == {"crm.read": 9, "body_type": 20, "body_missing": 1, "body_incomplete": 2, "body_malformed": 1}


def test_the_paths_of_opa_envoy_plugin() -> None:
    """Of its nine paths five are read as it reads them; four, among them those of CVE-2026-26205, are refused."""
    catalog = catalog_of(entry("/my/test/path", query=["a"]), entry("/x/people"), entry("/admin/dashboard"))
    cases = json.loads((corpora.folder("opa-envoy-plugin") / "path_parse_cases.json").read_text())
    results = {case["path"]: found(catalog, request(case["path"])) for case in cases}
    assert results == {
        "/my/test/path": "crm.read",
        "/my/test/path?a=1": "crm.read",
        "/my/test/path?a=1&b=2": "crm.read",
        "/my/test/path?a=1&a=2": Reason.QUERY_AMBIGUOUS,
        "/my/test/path?a=1&a=new%0aline": Reason.QUERY_AMBIGUOUS,
        "%2Fmy%2Ftest%2Fpath?a=1&a=new%0aline": Reason.PATH_AMBIGUOUS,
        "//x/people": Reason.PATH_AMBIGUOUS,
        "//admin/dashboard": Reason.PATH_AMBIGUOUS,
        "//x/people?a=1": Reason.PATH_AMBIGUOUS,
    }
