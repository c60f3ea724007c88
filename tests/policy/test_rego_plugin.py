"""Policies of opa-envoy-plugin in process: they see the request as they did, and what is too large is not put."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from authz.core.decision import Allow, Deny, conclude
from authz.core.errors import Refused, Unusable
from authz.core.outcome import Answer
from authz.core.record import Record
from authz.core.request import Body, Request
from authz.demo.ca import DevelopmentCa
from authz.policy.files import policy_files
from authz.policy.plugin_question import PluginQuestion
from authz.policy.rego import RegoPolicy
from authz.policy.rego_input import MAX_DEPTH, plugin_input
from authz.policy.rego_source import load_rego
from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from authz.wiring.engines import guarded_headers
from authz.wiring.knowledge import read
from tests.e2e.test_plugin import POLICY
from tests.policy import examples, rego_examples
from tests.policy.test_plugin import CATALOG, DIFFER, Bench, cases, must_be_as_expected
from tests.support.world import World, arrival_now

RESULT = "data.envoy.authz.result"
WORDS = plugin_input(PluginQuestion(examples.GROUPS, frozenset()), examples.ARGUMENTS)


def load(folder: Path, text: str, rule: str = RESULT) -> RegoPolicy:
    """These rules, which see requests."""
    return load_rego(policy_files(rego_examples.write(folder, text)), rule, WORDS, rego_examples.GUARDED)


def request(**changes: Any) -> Request:  # noqa: ANN401  as the request's fields
    """A request with a JSON body."""
    body = Body(b'{"items": [1, 2, 3]}', is_partial=False)
    headers = {"content-type": ("application/json",), "x-case": ("sets",)}
    return replace(Request("GET", "crm.example.org", "/contacts/42", headers, "", "", "", body), **changes)


@dataclass(frozen=True)
class InProcess(Bench):
    """The parts of a server that evaluates the policies of a case itself."""

    def answer(self, case: dict[str, Any]) -> tuple[CheckResponse, Record]:
        """What Envoy is told of the case, and the record; raises Unusable where its policies are not let in."""
        folder = self.world.folder / case["id"].replace("/", "_")
        settings = read(self.world.config_file).settings
        rego_examples.write(folder, case["rego"])
        policy = load_rego(policy_files(folder), case["query"].replace("/", "."), WORDS, guarded_headers(settings))
        running = self.world.pipeline()
        running.pipeline = replace(running.pipeline, policy=policy)
        try:
            message = self.message(case["request"]["attributes"])
            record = running.decide(message)
            answered = running.pipeline.check(arrival_now(), message)
        finally:
            running.close()
        assert isinstance(answered, Answer)
        return CheckResponse.FromString(answered.message), record


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> InProcess:
    """One world for all cases."""
    folder = tmp_path_factory.mktemp("world")
    identity = {"trust_domains": {"test-domain": {"bundle_file": "bundle.pem"}}}
    (folder / "rules").mkdir()
    (folder / "rules" / "authz.rego").write_text("package authz\n\ndefault decision := false\n")
    policy = {"engine": "rego", "input": "opa-envoy-plugin", "directory": "rules"}
    world = World(folder, DevelopmentCa("test-domain"), {"identity": identity, "policy": policy})
    (folder / "catalog.yaml").write_text(CATALOG)
    return InProcess(world, "")


def test_the_checks_of_the_plugin_in_process(bench: InProcess) -> None:
    """Of its cases, those whose policies are let in have the outcome that they have with an OPA."""
    counts = {"as expected": 0, "not let in": 0}
    for case in cases("check_cases"):
        if case["id"] in DIFFER:
            continue
        try:
            response, told = bench.answer(case)
        except Unusable:
            counts["not let in"] += 1
            continue
        must_be_as_expected(case, response, told)
        counts["as expected"] += 1
    assert counts == {"as expected": 30, "not let in": 2}  # these two send requests of their own


def test_a_policy_for_the_plugin_sees_the_request_and_our_facts(tmp_path: Path) -> None:
    """Its result is followed, its amendments among it."""
    policy = load(tmp_path, POLICY)
    query = replace(examples.query(), request=request())
    verdict = policy.decide(query)
    assert isinstance(conclude(verdict), Deny)  # the principal is another
    text = POLICY.replace("spiffe://example.org/agent/support", str(examples.SUPPORT))
    verdict = load(tmp_path / "own", text).decide(query)
    assert isinstance(conclude(verdict), Allow)
    assert dict(verdict.amendments.response_headers) == {"x-seen": ("contacts/42",)}


def test_without_a_request_there_is_nothing_to_ask(tmp_path: Path) -> None:
    """A question about no request is refused, as for an OPA."""
    with pytest.raises(Refused):
        load(tmp_path, POLICY).decide(examples.query())


def nested(depth: int) -> bytes:
    """A body of lists in lists."""
    return b'{"items": ' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize(
    "changes",
    [
        {"body": Body(json.dumps({"items": [0] * 257}).encode(), is_partial=False)},
        {"body": Body(nested(MAX_DEPTH), is_partial=False)},
        {"body": Body(nested(5000), is_partial=False)},
        {"body": Body(json.dumps({"items": "a" * 8193}).encode(), is_partial=False)},
        {"body": Body(json.dumps({"items": ["a" * 8000] * 9}).encode(), is_partial=False)},
        {"path": "/" + "a/" * 300},
        {"path": "/?" + "&".join(f"a{number}=1" for number in range(300))},
    ],
)
def test_a_request_that_is_too_large_is_not_put(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Long lists, long texts, deep nesting and large bodies deny, whatever the rules would say; this process lives."""
    text = "package envoy.authz\n\nresult if count(input.parsed_body.items) >= 0\n"
    policy = load(tmp_path, text)
    assert isinstance(conclude(policy.decide(replace(examples.query(), request=request()))), Allow)
    try:
        decision = conclude(policy.decide(replace(examples.query(), request=request(**changes))))
    except Refused:
        return
    assert isinstance(decision, Deny)
    assert decision.reason.id == "policy_error"


def test_loops_in_loops_over_a_body_are_not_let_in(tmp_path: Path) -> None:
    """What a request holds has as many members as a question may have, and is counted so."""
    loop = "    some {0} in input.parsed_body.items\n"
    for depth in (1, 2):
        loops = "".join(loop.format(name) for name in "ab"[:depth])
        text = f"package envoy.authz\n\nresult if {{\n{loops}    a == 1\n}}\n"
        if depth == 1:
            load(tmp_path / "one", text)
        else:
            with pytest.raises(Unusable, match="steps"):
                load(tmp_path / "two", text)
