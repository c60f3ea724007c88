"""OPA as the engine: what it is asked, what its answers amount to, and that nothing but a clear yes allows."""

import asyncio
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.config import OpaSettings, load_settings
from authz.core.decision import Allow, Decision, Deny, StepUp, conclude
from authz.core.errors import Unavailable, Unusable
from authz.core.hop import ActionClass
from authz.core.outcome import Consult, Lacks
from authz.core.query import Query
from authz.core.reasons import Reason
from authz.core.record import Record
from authz.policy.breaker import Breaker
from authz.policy.opa import OpaPolicy, verdict_of
from authz.policy.opa_client import MAX_ANSWER_BYTES, OpaClient, OpaReach
from authz.policy.question import FactsQuestion
from authz.wiring.explaining import explain_recorded
from authz.wiring.policy_sets import Named, parts_of
from tests.server.test_checks import told
from tests.support.opa import answered, running_opa
from tests.support.servers import free_port, serve
from tests.support.world import SUPPORT, Running, World

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "opa.md").read_text()
RULE = "/v1/data/authz/decision"
GUARDED = frozenset({"x-task-id", "txn-token"})

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.just("allow"), inner, max_size=3)
    ),
    max_leaves=8,
)


def block(language: str) -> str:
    """The one example of that language in docs/opa.md."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def answer(result: object) -> bytes:
    """As OPA writes it."""
    return json.dumps({"result": result}).encode()


class Peer(ThreadingHTTPServer):
    """An HTTP server in OPA's place: it keeps the questions and answers as it is told."""

    daemon_threads = True

    def __init__(
        self,
        status: int = 200,
        content: bytes = b'{"result": true}',
        delay_seconds: float = 0,
        rest_seconds: float = 30,
    ) -> None:
        self.status, self.content, self.delay_seconds = status, content, delay_seconds
        self.questions: list[bytes] = []
        self.rest_seconds = rest_seconds  # after which a connection that is not used is closed
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Who asked went away: that is what some tests are about."""

    @property
    def url(self) -> str:
        """Of the rule."""
        return f"http://127.0.0.1:{self.server_port}{RULE}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Peer

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.rest_seconds)

    def do_POST(self) -> None:
        self.server.questions.append(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(self.server.delay_seconds)
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving(peer: Peer) -> Iterator[Peer]:
    """While the block runs."""
    thread = threading.Thread(target=peer.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield peer
    finally:
        peer.shutdown()
        thread.join()
        peer.server_close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """One world for all."""
    return World(tmp_path_factory.mktemp("world"))


def engine(url: str, timeout_seconds: float = 2.0, max_failures: int = 100) -> OpaPolicy:
    """OPA at that address."""
    return OpaPolicy(OpaClient(OpaReach(url), timeout_seconds, Breaker(max_failures, 60.0)), FactsQuestion({}), GUARDED)


def hop(
    world: World, opa: OpaPolicy, *, times: int = 1, timeout_seconds: float = 5.0
) -> list[tuple[tuple[int, str], Record]]:
    """What Envoy is told of a covered hop, and the record, checked by this engine so many times at once."""
    message = world.check(world.start_task().id)
    return [(told(answer), record) for answer, record in answered(world, opa, [message] * times, timeout_seconds)]


def test_a_hop_that_opa_allows_is_allowed_and_opa_is_asked_once(world: World) -> None:
    """`true` lets a covered hop go on; one question is put, of the shape that docs/opa.md shows."""
    with serving(Peer()) as peer:
        (((status, _), record),) = hop(world, engine(peer.url))
    assert status == 200
    assert isinstance(record.decision, Allow)
    (question,) = peer.questions
    shown, asked = json.loads(block("json"))["input"], json.loads(question)["input"]
    assert {name: set(shown[name]) for name in shown if name != "arguments"} == {
        name: set(asked[name]) for name in asked if name != "arguments"
    }


def test_opa_is_not_asked_about_what_the_task_does_not_cover(world: World) -> None:
    """A hop outside the grants is denied without a question, whatever OPA would say."""
    with serving(Peer()) as peer:
        opa, running = engine(peer.url), world.pipeline()
        task = world.start_task(grants=())
        record = Running(replace(running.pipeline, policy=opa), running.store).decide(world.check(task.id))
        opa.close()
        running.close()
    assert isinstance(record.decision, Deny)
    assert record.decision.reason is Reason.ACTION_NOT_GRANTED
    assert not peer.questions


@pytest.mark.parametrize(
    ("peer", "reason"),
    [
        ({"content": b'{"result": false}'}, "policy_permits_nothing"),
        ({"content": b"{}"}, "policy_permits_nothing"),
        ({"content": answer("true")}, "policy_error"),
        ({"content": answer(1)}, "policy_error"),
        ({"content": answer(None)}, "policy_error"),
        ({"content": b"garbage"}, "policy_error"),
        ({"content": b'{"result": false, "result": true}'}, "policy_error"),
        ({"content": answer({"allow": True, "stepup": ["owner"]})}, "policy_error"),
        ({"content": answer({"allow": True, "step_up": "owner"})}, "policy_error"),
        ({"content": answer({"allow": True, "step_up": [""]})}, "policy_error"),
        ({"status": 500}, "policy_error"),
        ({"status": 404}, "policy_error"),
        ({"status": 302}, "policy_error"),
        ({"content": b" " * (MAX_ANSWER_BYTES + 1)}, "policy_engine_unavailable"),
        ({"delay_seconds": 0.6}, "policy_engine_unavailable"),
        ({"content": answer({"allow": True, "step_up": ["owner"]})}, "step_up_required"),
    ],
)
def test_whatever_is_no_clear_yes_denies(world: World, peer: dict[str, Any], reason: str) -> None:
    """Undefined, false, errors, garbage, other types, repeated or unknown members, and silence are denials."""
    with serving(Peer(**peer)) as serves:
        (((status, told_reason), _),) = hop(world, engine(serves.url, timeout_seconds=0.4))
    assert told_reason == reason
    assert status == (403 if reason in {"policy_permits_nothing", "step_up_required"} else 503)


def test_an_opa_that_is_not_there_denies(world: World) -> None:
    """No connection is 503 policy_engine_unavailable."""
    (((status, reason), _),) = hop(world, engine(f"http://127.0.0.1:{free_port()}{RULE}"))
    assert (status, reason) == (503, "policy_engine_unavailable")


def test_an_opa_that_failed_again_and_again_is_left_alone() -> None:
    """After failures in a row questions fail at once, and OPA hears of none of them."""

    async def ask() -> None:
        opa = engine(peer.url, timeout_seconds=0.1, max_failures=2)
        for _ in range(5):
            with pytest.raises(Unavailable):
                await opa.ask(b"{}")
        opa.close()

    with serving(Peer(delay_seconds=0.3)) as peer:
        asyncio.run(ask())
    assert len(peer.questions) == 2


def test_a_connection_that_rested_too_long_is_made_anew() -> None:
    """OPA may close a connection between two questions, and the second is answered all the same."""

    async def ask() -> None:
        opa = engine(peer.url)
        for _ in range(40):
            await opa.ask(b"{}")
            await asyncio.sleep(0.02)
        opa.close()

    with serving(Peer(rest_seconds=0.01)) as peer:
        asyncio.run(ask())
    assert len(peer.questions) >= 40


def test_a_rested_opa_is_tried_by_one_question_alone() -> None:
    """The breaker fails fast for its rest, lets one through, and opens wide once that one succeeds."""
    now = [0.0]
    breaker = Breaker(2, 1.0, lambda: now[0])
    breaker.failed()
    breaker.must_let_through()
    breaker.failed()
    with pytest.raises(Unavailable):
        breaker.must_let_through()
    now[0] = 1.5
    breaker.must_let_through()
    with pytest.raises(Unavailable):
        breaker.must_let_through()
    breaker.succeeded()
    breaker.must_let_through()


def test_each_check_is_answered_for_itself_and_nothing_is_remembered(world: World) -> None:
    """Equal checks at once put a question each, and an answer is gone when its check has been run."""
    with serving(Peer()) as peer:
        opa = engine(peer.url)
        told_and_records = hop(world, opa, times=5)
        assert {each for each, _ in told_and_records} == {(200, "")}
    assert len(peer.questions) >= 5
    query = query_of(told_and_records[0][1])
    with pytest.raises(Lacks) as lacks:
        opa.decide(query)
    assert [type(want) for want in lacks.value.wants] == [Consult]


@given(JSON)
def test_only_true_and_an_object_that_says_so_can_allow(result: object) -> None:
    """For every JSON value: it allows only if it is true, or an object whose allow is true."""
    decision = conclude(verdict_of(200, answer(result), GUARDED))
    clear = result is True or (isinstance(result, dict) and result.get("allow") is True)
    if not clear:
        assert isinstance(decision, Deny)


@pytest.mark.parametrize(
    "url",
    [
        "http://opa.example.org/v1/data/a",
        "ftp://127.0.0.1/v1/data/a",
        "http://127.0.0.1:8181/v1/data",
        "http://127.0.0.1:8181/v1/data/a?pretty",
        "http://me@127.0.0.1/v1/data/a",
        "nonsense",
    ],
)
def test_an_url_that_is_no_rule_or_could_be_tampered_with_is_refused(url: str) -> None:
    """Plain text is for this machine alone, and the URL is that of one rule."""
    with pytest.raises(ValueError, match="url"):
        OpaSettings(url=url)


def query_of(record: Record) -> Query:
    """What the record's hop was asked about."""
    assert record.identity
    assert record.errand
    assert record.hop
    return Query.about(record.identity, record.errand, record.hop, record.arrival.unix_seconds)


@pytest.fixture(scope="module")
def real_opa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the rule of docs/opa.md in a real OPA."""
    folder = tmp_path_factory.mktemp("opa")
    (folder / "decision.rego").write_text(block("rego"))
    with running_opa(folder, "--set", "decision_logs.console=true") as address:
        yield f"http://{address}{RULE}"


def test_the_real_opa_decides_as_the_page_says(world: World, real_opa: str) -> None:
    """With the Rego of docs/opa.md: a read is allowed and names its policy, and OPA's decision id is in the record."""
    opa = OpaPolicy(
        OpaClient(OpaReach(real_opa), 5.0, Breaker(5, 1.0)), FactsQuestion({"support": (SUPPORT,)}), GUARDED
    )
    (((status, _), record),) = hop(world, opa)
    assert status == 200
    assert isinstance(record.decision, Allow)
    assert record.decision.policies == {"support-reads"}
    assert record.verdict is not None
    assert re.fullmatch(r"opa [0-9a-f-]{36}", record.verdict.version)


def test_the_real_opa_denies_who_is_in_no_group(world: World, real_opa: str) -> None:
    """With the same Rego, an agent outside the group is denied; so is everyone where the rule does not exist."""
    (((status, reason), _),) = hop(world, engine(real_opa, 5.0))
    assert (status, reason) == (403, "policy_permits_nothing")
    (((status, reason), _),) = hop(world, engine(real_opa.replace("decision", "nowhere"), 5.0))
    assert (status, reason) == (403, "policy_permits_nothing")


def test_a_server_whose_hops_opa_decides(tmp_path: Path, real_opa: str) -> None:
    """`authz serve` with policy.engine: opa allows what OPA allows, and denies when the agent leaves the group."""
    address = f"127.0.0.1:{free_port()}"
    policy = {"engine": "opa", "directory": "policies", "opa": {"url": real_opa, "timeout_seconds": 5.0}}
    for groups, status in (({"support": [SUPPORT]}, 0), ({}, 7)):
        world = World(tmp_path, settings={"policy": {**policy, "groups": groups}, "server": plain(address)})
        with serve(world.config_file, address) as running:
            assert running.check(world.check(world.start_task().id)).status.code == status


def plain(address: str) -> dict[str, object]:
    """A server section in plain text."""
    return {"listen": address, "transport": "plaintext", "drain_seconds": 0, "stop_grace_seconds": 1}


def test_tools_that_know_cedar_alone_refuse_what_opa_decides(tmp_path: Path) -> None:
    """`policy check` and `explain` say that OPA decides and not what Cedar would; `config check` names the rule."""
    url = f"http://127.0.0.1:8181{RULE}"
    world = World(tmp_path, settings={"policy": {"engine": "opa", "directory": "policies", "opa": {"url": url}}})
    with pytest.raises(Unusable, match=r"policy\.engine is opa"):
        parts_of(Named(world.config_file))
    (tmp_path / "recorded").write_bytes(b"")
    with pytest.raises(Unusable, match=r"policy\.engine is opa"):
        explain_recorded(world.config_file, tmp_path / "recorded", None, None)
    command = [sys.executable, "-m", "authz", "config", "check", "--config", str(world.config_file)]
    assert url in subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_candidate_beside_opa_is_refused(tmp_path: Path) -> None:
    """A candidate is compared with Cedar's policies, so a configuration that has it beside OPA does not start."""
    policy = {"engine": "opa", "directory": "policies", "shadow_directory": "policies"}
    world = World(tmp_path, settings={"policy": {**policy, "opa": {"url": f"http://127.0.0.1:8181{RULE}"}}})
    with pytest.raises(Unusable, match="a candidate is asked in process"):
        load_settings(world.config_file)


@pytest.mark.parametrize("policy", [{"engine": "opa"}, {"opa": {"url": f"http://127.0.0.1:8181{RULE}"}}])
def test_an_engine_without_its_settings_is_refused_and_so_is_the_reverse(
    tmp_path: Path, policy: dict[str, object]
) -> None:
    """Whoever writes down how OPA is asked but not that it decides, or the reverse, is told so at start."""
    world = World(tmp_path, settings={"policy": {"directory": "policies", **policy}})
    with pytest.raises(Unusable, match=r"policy\.opa goes with"):
        load_settings(world.config_file)


def test_a_question_of_the_real_opa_can_step_up(world: World, real_opa: str) -> None:
    """With the same Rego, mail is held until its owner approves."""
    (((_, _), record),) = hop(world, engine(real_opa, 5.0))
    query = query_of(record)
    mail = replace(query, operation=replace(query.operation, classes=frozenset({ActionClass.EGRESS})))

    async def ask() -> Decision:
        opa = OpaPolicy(
            OpaClient(OpaReach(real_opa), 5.0, Breaker(5, 1.0)), FactsQuestion({"support": (SUPPORT,)}), GUARDED
        )
        with pytest.raises(Lacks) as lacks:
            opa.decide(mail)
        (consult,) = lacks.value.wants
        assert isinstance(consult, Consult)
        await opa.ask(consult.question)
        opa_says = conclude(opa.decide(mail))
        opa.close()
        return opa_says

    decision = asyncio.run(ask())
    assert isinstance(decision, StepUp)
    assert decision.kinds == {"owner"}
