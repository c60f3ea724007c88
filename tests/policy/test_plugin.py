"""Policies for opa-envoy-plugin: they see what they saw, and what they answer is followed where it can be."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from hypothesis import example, given
from hypothesis import strategies as st

from authz.config import load_settings
from authz.core.amendments import NO_AMENDMENTS, Amendments, NotAnAmendment
from authz.core.decision import Allow, Deny, StepUp, conclude
from authz.core.errors import Refused, Unusable
from authz.core.query import Query
from authz.core.reasons import Reason
from authz.core.record import Record
from authz.core.spiffe import SpiffeId
from authz.core.task import Grant
from authz.demo.ca import DevelopmentCa
from authz.policy.breaker import Breaker
from authz.policy.opa import OpaPolicy
from authz.policy.opa_client import OpaClient, OpaReach
from authz.policy.plugin_question import PluginQuestion
from authz.policy.plugin_result import amendments_of
from authz.policy.result import verdict_of_result
from authz.wire.decode import decode_with_attributes
from authz.wire.encode import FALLBACK, Encoder
from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from authz.wire.pb.envoy.type.v3.http_status_pb2 import StatusCode
from authz.wiring.engines import guarded_headers, make_question
from authz.wiring.knowledge import read
from tests.policy.examples import query
from tests.support import corpora
from tests.support.opa import answered, put_policy, running_opa
from tests.support.records import record
from tests.support.world import World

GUARDED = frozenset({"x-task-id", "txn-token", "x-jwt"})
QUESTION = PluginQuestion({}, frozenset({"txn-token", "x-jwt"}))

CATALOG = """\
services:
  products:
    hosts: [192.168.99.100]
    routes:
      - {action: product.read, class: read, method: GET, path: /api/v1/products, dataset: products,
         sensitivity: internal}
      - {action: product.test, class: read, method: GET, path: /my/test/path, dataset: products, sensitivity: internal}
"""

ELSE = {"method": "GET", "host": "192.168.99.100", "path": "/api/v1/products"}
"""What a real Envoy always says, for the cases that leave it out."""

AN_ERROR_IS_A_DENIAL = "expects a gRPC error, which Envoy may take for an allow: here it is a denial with 503"
NO_DRY_RUN = "is about the plugin's dry run, which lets everything through: here a candidate is compared instead"
NO_SUCH_FAULT = "is about a fault of the plugin's own, which cannot be caused from outside"
ALWAYS_PARSED = "turns the parsing of bodies off, which is always on here: a body that cannot be read is a denial"
DIFFER = {
    "TestCheckDenyWithDryRunTrue": NO_DRY_RUN,
    "TestCheckDenyWithDryRunObjectDecision": NO_DRY_RUN,
    "TestCheckContextTimeout": NO_SUCH_FAULT,
    "TestCheckContextCancelled": NO_SUCH_FAULT,
    "TestCheckContextCancelledLogsWithUncancelledContext": NO_SUCH_FAULT,
    "TestCheckContextTimeoutMetricsDisabled": NO_SUCH_FAULT,
    "TestCheckWithLoggerError": NO_SUCH_FAULT,
    "TestCheckIllegalDecisionWithLogger": AN_ERROR_IS_A_DENIAL,
    "TestCheckEvalErrorWithLogger": AN_ERROR_IS_A_DENIAL,
    "TestCheckAllowObjectDecisionWithBadReqHeadersToRemoveWithLogger": AN_ERROR_IS_A_DENIAL,
    "TestCheckAllowDecisionWithSkipRequestBodyParse": ALWAYS_PARSED,
}
"""The cases that are not as the plugin has them, each with the reason."""
DENIED_HERE = {name for name, why in DIFFER.items() if why != NO_SUCH_FAULT}


def cases(name: str) -> list[dict[str, Any]]:
    """One of the corpus's files; skips where it is absent."""
    found = json.loads((corpora.folder("opa-envoy-plugin") / f"{name}.json").read_text())
    assert isinstance(found, list)
    return found


def asked(document: dict[str, Any], **http: object) -> dict[str, Any]:
    """What policies are asked about this CheckRequest, with what a real Envoy always says; raises Refused."""
    told = document["attributes"]["request"]["http"]
    whole = {**document["attributes"], "request": {"http": {**ELSE, **told, **http}}}
    message = ParseDict({"attributes": whole}, CheckRequest(), ignore_unknown_fields=True).SerializeToString()
    found = json.loads(QUESTION(replace(query(), request=decode_with_attributes(message))))
    assert isinstance(found, dict)
    return found


def test_paths_and_queries_are_parsed_as_the_plugin_does() -> None:
    """Of its 9 cases all: segments are decoded after the query is cut off, parameters are lists."""
    found = cases("path_parse_cases")
    assert len(found) == 9
    for case in found:
        document = asked({"attributes": {"request": {"http": {}}}}, path=case["path"])
        assert {name: document[name] for name in case["expect"]} == case["expect"]


NO_DESCRIPTORS = {"valid_parsed_example", "valid_parsed_book", "empty_request", "truncated_payload"}
"""Cases of the plugin with descriptors of gRPC messages; there are none here, so it has no parsed body, and says so."""


def test_bodies_are_parsed_as_the_plugin_does() -> None:
    """Of its 33 cases 28 are alike; 4 need descriptors of gRPC messages, and 1 a path that is none."""
    found = cases("body_parse_cases")
    assert len(found) == 33
    alike = 0
    for case in found:
        expected = case["expect"]
        if case["id"] in NO_DESCRIPTORS or expected["error"] == "errInvalidPath":
            document = asked(case["request"])
            assert (document["parsed_body"], document["truncated_body"]) == (None, False)
            continue
        alike += 1
        if expected["error"]:
            with pytest.raises(Refused) as refused:
                asked(case["request"])
            assert refused.value.reason is Reason.REQUEST_MALFORMED
            continue
        document = asked(case["request"])
        assert document["parsed_body"] == expected["parsed_body"], case["id"]
        assert document["truncated_body"] == expected["truncated_body"], case["id"]
    assert alike == 28


def test_the_principal_is_the_one_that_was_proven() -> None:
    """Of the plugin's 2 cases: whatever Envoy named or did not name, policies see who was proven."""
    for case in cases("source_principal_cases"):
        document = asked(case["request"])
        assert document["source_principal"] == document["attributes"]["source"]["principal"] == query().agent.uri


def test_results_are_read_as_the_plugin_does() -> None:
    """Of its 44 cases all: what is an error there is an error here, what has a value has the same."""
    found = cases("response_build_cases")
    assert len(found) == 44
    names: dict[str, Callable[[Amendments], object]] = {
        "query_parameters_to_remove": lambda wanted: list(wanted.query_removed) or None,
        "request_headers_to_remove": lambda wanted: list(wanted.removed_headers) or None,
        "query_parameters_to_set": lambda wanted: sorted(map(list, wanted.query_set)),
        "response_headers_to_add": lambda wanted: sum(len(values) for _, values in wanted.response_headers),
        "headers": lambda wanted: sum(len(values) for _, values in wanted.headers),
        "body": lambda wanted: wanted.body or "",
        "http_status": lambda wanted: wanted.http_status or 403,
        "dynamic_metadata": lambda wanted: wanted.metadata or None,
    }
    for case in found:
        decision, expected = case["decision"], case["expect"]
        if case["field"] == "allowed" or not isinstance(decision, dict):
            verdict = verdict_of_result(decision, "v", GUARDED)
            assert bool(verdict.errors) == expected["error"], case["id"]
        elif expected["error"]:
            with pytest.raises(NotAnAmendment):
                amendments_of(decision, GUARDED)
        else:
            (value,) = [value for name, value in expected.items() if name != "error"]
            assert names[case["field"]](amendments_of(decision, GUARDED)) == value, case["id"]


@dataclass(frozen=True)
class Bench:
    """A server's parts with a real OPA, for policies of the plugin."""

    world: World
    opa: str

    def answer(self, case: dict[str, Any]) -> tuple[CheckResponse, Record]:
        """What Envoy is told of the case, and the record."""
        put_policy(self.opa, case["rego"])
        url = f"http://{self.opa}/v1/{case['query'].replace('.', '/')}"
        settings = read(self.world.config_file).settings
        client = OpaClient(OpaReach(url), 5.0, Breaker(5, 1.0))
        opa = OpaPolicy(client, make_question(settings), guarded_headers(settings))
        ((message, told),) = answered(self.world, opa, [self.message(case["request"]["attributes"])])
        return CheckResponse.FromString(message), told

    def message(self, attributes: dict[str, Any]) -> bytes:
        """The CheckRequest of the case, by an agent with a task that covers it."""
        agent = attributes.get("source", {}).get("principal", "spiffe://test-domain/agent")
        granted = (Grant.parse("read:products"),)
        task = self.world.start_task(agents=frozenset({SpiffeId.parse(agent)}), grants=granted)
        http = {**ELSE, **attributes["request"]["http"]}
        http["headers"] = {**http.get("headers", {}), "x-task-id": task.id}
        whole = {**attributes, "request": {"http": http}}
        check = ParseDict({"attributes": whole}, CheckRequest())
        check.attributes.source.principal = agent
        check.attributes.source.certificate = quote(self.world.svid(agent).pem, safe="")
        return check.SerializeToString()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One OPA and one world for all cases."""
    folder = tmp_path_factory.mktemp("world")
    identity = {"trust_domains": {"test-domain": {"bundle_file": "bundle.pem"}}}
    opa = {"url": "http://127.0.0.1:8181/v1/data/envoy/authz/result"}
    policy = {"engine": "opa", "input": "opa-envoy-plugin", "directory": "policies", "opa": opa}
    world = World(folder, DevelopmentCa("test-domain"), {"identity": identity, "policy": policy})
    (folder / "catalog.yaml").write_text(CATALOG)
    policies = 'permit (principal, action, resource in Dataset::"products");'
    (folder / "policies" / "crm.cedar").write_text(f'@id("all")\n{policies}')
    with running_opa(tmp_path_factory.mktemp("opa")) as address:
        yield Bench(world, address)


def test_the_checks_of_the_plugin_through_the_whole_server(bench: Bench) -> None:
    """Of its 43 cases 32 have the plugin's own outcome with a real OPA; `DIFFER` says why the others have not."""
    found = cases("check_cases")
    assert len(found) == 43
    with Counting() as counting:
        for case in found:
            if DIFFER.get(case["id"]) == NO_SUCH_FAULT:
                continue
            rego = case["rego"].replace("%s", f"{counting.url}/{case['id']}")
            for _ in range(1 + case["id"].startswith("TestCheckTwice")):
                response, told = bench.answer({**case, "rego": rego})
                if case["id"] in DENIED_HERE:
                    assert response.status.code != 0, case["id"]
                elif case["id"] not in DIFFER:
                    must_be_as_expected(case, response, told)
    assert len(found) - len(DIFFER) == 32


class Counting(ThreadingHTTPServer):
    """A server that rules ask: it answers how often this path was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _CountingHandler)
        self.counts: Counter[str] = Counter()
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _CountingHandler(BaseHTTPRequestHandler):
    server: Counting

    def do_GET(self) -> None:
        self.server.counts[self.path] += 1
        content = json.dumps({"count": self.server.counts[self.path]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def must_be_as_expected(case: dict[str, Any], response: CheckResponse, told: Record) -> None:
    """All that the case expects of the answer."""
    expect, id = case["expect"], case["id"]
    assert (response.status.code == 0) is expect["allow"], (id, told.decision)
    assert response.WhichOneof("http_response") == ("ok_response" if expect["allow"] else "denied_response")
    metadata = MessageToDict(response.dynamic_metadata)
    ok, denied = response.ok_response, response.denied_response
    added = [[each.header.key, each.header.value] for each in ok.response_headers_to_add]
    found: dict[str, object] = {
        "ok_response.headers": expected_of(ok.headers, expect.get("ok_response.headers")),
        "ok_response.headers_count": len(ok.headers) - 1,  # the task's
        "ok_response.headers_to_remove": list(ok.headers_to_remove),
        "ok_response.response_headers_to_add": added,
        "ok_response.response_headers_to_add_count": len(added),
        "ok_response.query_parameters_to_remove": list(ok.query_parameters_to_remove),
        "ok_response.query_parameters_to_set_sorted": sorted([it.key, it.value] for it in ok.query_parameters_to_set),
        "denied_response.headers": expected_of(denied.headers, expect.get("denied_response.headers")),
        "denied_response.body": denied.body,
        "denied_response.status": denied.status.code,
        "dynamic_metadata.decision_id_length": len(metadata["decision_id"]),
        "dynamic_metadata_without_decision_id": {
            name: metadata.get(name) for name in expect.get("dynamic_metadata_without_decision_id", {})
        },
    }
    if "input.truncated_body" in expect:
        assert told.request is not None
        question = json.loads(QUESTION(replace(query(), request=told.request)))
        found["input.truncated_body"] = question["truncated_body"]
    for name in expect.keys() - {"status_code", "allow", "note"}:
        assert found[name] == expect[name], (id, name)


def expected_of(headers: Any, expected: dict[str, str] | None) -> dict[str, str]:  # noqa: ANN401  a list of messages
    """Those of the headers that are expected; ours are beside them."""
    return {each.header.key: each.header.value for each in headers if each.header.key in (expected or {})}


def test_credentials_that_are_for_us_are_not_shown() -> None:
    """A Txn-Token and the JWT-SVID's header are not in the question; the caller's other credentials are."""
    headers = {"authorization": "Bearer a", "txn-token": "secret", "x-jwt": "secret", "Cookie": "c=1"}
    document = asked({"attributes": {"request": {"http": {"headers": headers}}}})
    assert "secret" not in json.dumps(document)
    assert document["attributes"]["request"]["http"]["headers"]["authorization"] == "Bearer a"


def test_our_facts_stand_beside_the_plugins() -> None:
    """A policy of the plugin can read the task, the operation and the session too."""
    facts = asked({"attributes": {"request": {"http": {}}}})["authz"]
    assert {"agent", "task", "operation", "session"} <= facts.keys()


def test_raw_headers_are_shown_as_folded_ones() -> None:
    """With `encode_raw_headers` the plugin's policies find the headers where they always were."""
    pairs = [{"key": "a", "raw_value": "MQ=="}, {"key": "A", "raw_value": "Mg=="}, {"key": "txn-token", "value": "s"}]
    http = asked({"attributes": {"request": {"http": {"header_map": {"headers": pairs}}}}})["attributes"]["request"][
        "http"
    ]
    assert http["headers"] == {"a": "1,2"}
    assert "headerMap" not in http


@pytest.mark.parametrize(
    "http",
    [
        {"path": "/a?b=%zz"},
        {"path": "/a?b=%ff"},
        {"path": "/a?b=1;c=2"},
        {"path": "/a%2"},
        {"headers": {"content-type": "application/json"}, "body": '{"a": 1, "a": 2}'},
        {"headers": {"content-type": "application/json"}, "body": "[NaN]"},
        {"headers": {"content-type": "application/json"}, "body": "[1e999]"},
        {"headers": {"content-type": "application/json"}, "body": r'"\ud800"'},
        {"headers": {"content-type": "application/json"}, "body": "[" * 5000},
        {"headers": {"content-type": "application/json", "content-length": "many"}, "body": "1"},
        {"headers": {"content-type": "application/x-www-form-urlencoded"}, "body": "a=%"},
        {"headers": {"content-type": "multipart/form-data; boundary=b"}, "body": "no parts"},
    ],
)
def test_what_has_no_single_reading_is_refused(http: dict[str, Any]) -> None:
    """Escapes that are none, repeated members, numbers and texts that JSON cannot carry: 400, and OPA is not asked."""
    with pytest.raises(Refused) as refused:
        asked({"attributes": {"request": {"http": http}}})
    assert refused.value.reason is Reason.REQUEST_MALFORMED


def test_without_a_request_there_is_nothing_to_ask() -> None:
    """What is no request, as a call of the task service, is denied and not guessed at."""
    with pytest.raises(Refused) as refused:
        QUESTION(query())
    assert refused.value.reason is Reason.POLICY_ERROR


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["x-a", "X-Task-Id", "txn-token", "x-authz-reason", "host", ":path", "a b", "", "x\n", "é"])
HEADERS = st.dictionaries(NAMES, st.text(max_size=4) | st.lists(st.text(max_size=4), max_size=3) | JSON, max_size=3)
RESULTS = st.fixed_dictionaries(
    {"allowed": st.booleans() | JSON},
    optional={
        "headers": HEADERS | JSON,
        "response_headers_to_add": HEADERS | JSON,
        "request_headers_to_remove": st.lists(NAMES, max_size=3) | JSON,
        "query_parameters_to_set": st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2) | JSON,
        "query_parameters_to_remove": st.lists(st.text(max_size=4), max_size=2) | JSON,
        "body": st.text(max_size=9) | JSON,
        "http_status": st.integers(0, 700) | JSON,
        "dynamic_metadata": st.dictionaries(st.text(max_size=5) | st.just("decision"), JSON, max_size=3) | JSON,
        "step_up": st.lists(st.sampled_from(["owner", "", "A"]), max_size=2) | JSON,
        "policies": st.lists(st.text(max_size=3), max_size=2) | JSON,
        "other": JSON,
    },
)
encode = Encoder("x-task-id")


@example({"allowed": True, "headers": {"x-a": "1"}})
@example({"allowed": False, "http_status": 301, "headers": {"Location": "https://example.org"}, "body": ""})
@example({"allowed": True, "dynamic_metadata": {"decision": "deny", "agent": {}}})
@given(RESULTS)
def test_whatever_a_policy_answers_is_followed_whole_or_is_an_error(result: dict[str, Any]) -> None:
    """For every result: an allow only where it says exactly so; what we say stands; what cannot be sent is an error."""
    verdict = verdict_of_result(result, "v", GUARDED)
    decision = conclude(verdict)
    response = CheckResponse.FromString(encode(record(verdict=verdict, decision=decision)))
    if not isinstance(decision, Allow):
        assert response.status.code != 0
        assert response.WhichOneof("http_response") == "denied_response"
        assert 200 <= response.denied_response.status.code < 600
        assert response.denied_response.status.code in StatusCode.values()
    else:
        assert result["allowed"] is True
        assert response.WhichOneof("http_response") == "ok_response"
        *_, last = response.ok_response.headers
        assert (last.header.key, last.append.value) == ("x-task-id", False)
        changed = {each.header.key for each in response.ok_response.headers[:-1]} | set(
            response.ok_response.headers_to_remove
        )
        assert not changed & {*GUARDED, "host", "x-authz-reason"}
    if verdict.errors:
        assert verdict.amendments is NO_AMENDMENTS
    assert response.dynamic_metadata["decision"] == decision.word
    assert response != CheckResponse.FromString(FALLBACK), "what cannot be sent is known before the record is kept"


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ({"allowed": True, "headers": {"X-Task-Id": "another"}}, "policy_error"),
        ({"allowed": True, "headers": {"X_Task_Id": "another"}}, "policy_error"),
        ({"allowed": True, "response_headers_to_add": {"x_authz-reason": "another"}}, "policy_error"),
        ({"allowed": True, "request_headers_to_remove": ["txn-token"]}, "policy_error"),
        ({"allowed": True, "headers": {"x-a": "1\r\nx-b: 2"}}, "policy_error"),
        ({"allowed": True, "query_parameters_to_set": {"a": "1&b=2"}}, "policy_error"),
        ({"allowed": True, "request_header_to_remove": ["a"]}, "policy_error"),
        ({"allowed": True, "allow": True}, "policy_error"),
        ({"allowed": False, "http_status": 100}, "policy_error"),
        ({"allowed": False, "http_status": 299}, "policy_error"),
        ({"allowed": True, "step_up": ["owner"], "body": "not shown"}, "step_up_required"),
        ({"allowed": False, "body": "shown"}, "policy_permits_nothing"),
    ],
)
def test_a_result_that_cannot_be_followed_denies(result: dict[str, Any], reason: str) -> None:
    """Headers that say on whose errand, line ends, unknown members and strange statuses make the whole an error."""
    decision = conclude(verdict_of_result(result, "v", GUARDED))
    assert isinstance(decision, Deny | StepUp)
    assert decision.reason.id == reason


@pytest.mark.parametrize(
    "result",
    [
        {"headers": {"x-a": "swordfish\n"}},
        {"query_parameters_to_set": {"a": "swordfish&"}},
        {"query_parameters_to_remove": ["swordfish "]},
        {"body": "swordfish\ud800"},
        {"dynamic_metadata": {"a": "swordfish\ud800"}},
        {"headers": {"x-a": [{"swordfish": 1}]}},
    ],
)
def test_what_a_policy_made_of_a_request_is_not_told(result: dict[str, Any]) -> None:
    """A result may hold credentials of the request: why it is an error, for the audit log, holds no value of it."""
    verdict = verdict_of_result({"allowed": True, **result}, "v", GUARDED)
    assert verdict.errors
    assert "swordfish" not in repr(verdict)


def nested(depth: int, wrap: Callable[[object], object]) -> object:
    """A value so deep."""
    value: object = 1
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: {"a": value}])
def test_metadata_that_envoy_could_not_parse_is_an_error(wrap: Callable[[object], object]) -> None:
    """Deep metadata would make the whole answer an error to Envoy, and that could be an allow."""
    assert not verdict_of_result({"allowed": True, "dynamic_metadata": {"a": nested(5, wrap)}}, "v", GUARDED).errors
    assert verdict_of_result({"allowed": True, "dynamic_metadata": {"a": nested(50, wrap)}}, "v", GUARDED).errors


def test_a_policys_own_denial_has_its_body_and_status_and_our_reason() -> None:
    """The client sees the policy's words, and beside them the reason and the decision id, for those who look it up."""
    result = {"allowed": False, "http_status": 302, "headers": {"Location": "/login"}, "body": "sign in"}
    verdict = verdict_of_result(result, "v", GUARDED)
    response = CheckResponse.FromString(encode(record(verdict=verdict, decision=conclude(verdict)))).denied_response
    headers = {each.header.key: each.header.value for each in response.headers}
    assert (response.status.code, response.body, headers["location"]) == (302, "sign in", "/login")
    assert headers["x-authz-reason"] == "policy_permits_nothing"
    assert "content-type" not in headers


def test_a_denial_by_us_is_not_worded_by_a_policy() -> None:
    """Where the server denies after the policies, as for want of an approval, the answer is its own."""
    verdict = verdict_of_result({"allowed": True, "headers": {"x-a": "1"}, "body": "yes"}, "v", GUARDED)
    told = record(verdict=verdict, decision=Deny(Reason.AUDIT_UNAVAILABLE))
    response = CheckResponse.FromString(encode(told)).denied_response
    assert response.status.code == 503
    assert "x-a" not in {each.header.key for each in response.headers}
    assert json.loads(response.body)["reason"] == "audit_unavailable"


def test_a_query_that_has_a_request_is_another_query() -> None:
    """Equal questions have equal answers: for policies that see the request, it is part of the question."""
    one = record().request
    assert one is not None
    asks: list[Query] = [replace(query(), request=each) for each in (None, one, replace(one, path="/other"))]
    assert len({repr(each) for each in asks}) == 3
    assert asks[1] != asks[2]


def test_a_setting_that_means_nothing_is_refused(tmp_path: Path) -> None:
    """`policy.input` beside Cedar is a mistake, and said to be one."""
    world = World(tmp_path, settings={"policy": {"directory": "policies", "input": "opa-envoy-plugin"}})
    with pytest.raises(Unusable, match=r"policy\.input"):
        load_settings(world.config_file)
