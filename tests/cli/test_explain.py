"""`authz explain`: the same decision as the server's, told step by step."""

import json
import re
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict

from authz.core.hop import Sensitivity
from authz.core.record import Record
from authz.core.spiffe import SpiffeId
from authz.core.task import Grant
from authz.observe.audit_line import line
from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from tests.support import corpora
from tests.support.commands import authz
from tests.support.world import RESEARCH, SUPPORT, World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A configuration with a task store."""
    return World(tmp_path_factory.mktemp("explain"))


def recorded(world: World, message: bytes) -> Path:
    """The check as a JSON file."""
    file = world.folder / "request.json"
    document = MessageToDict(CheckRequest.FromString(message), preserving_proto_field_name=True)
    file.write_text(json.dumps({"_meta": {"grpc_metadata": [["traceparent", ""]]}, "check_request": document}))
    return file


def test_an_allowed_hop_is_told_to_its_end(world: World) -> None:
    """Request, identity, task, action, policies and answer stand in order, with what each found."""
    task = world.start_task()
    file = recorded(world, world.check(task.id))
    told = authz("explain", "--config", world.config_file, file)
    assert told.status == 0, told.err
    steps = [line.split()[1] for line in told.out.splitlines() if line[0].isdigit()]
    assert steps == ["request", "identity", "task", "action", "policies", "answer"]
    assert f"support-works-on-contacts permits it ({world.folder / 'policies' / 'crm.cedar'}:1:1)" in told.out
    for expected in (
        "GET crm.example.org /contacts/42",
        task.id,
        "crm.contact.read (read)",
        "support-works-on-contacts",
    ):
        assert expected in told.out


def test_a_denied_hop_says_where_it_ended_and_why(world: World) -> None:
    """The last step is the denial with its status, reason and detail; steps that were not reached are not shown."""
    told = authz("explain", "--config", world.config_file, "--json", recorded(world, world.check("0190aaaa-bbbb")))
    steps = {step["step"]: step["found"] for step in json.loads(told.out)}
    assert list(steps) == ["request", "identity", "answer", "to allow"]
    assert steps["answer"] == ["deny, 403 task_unknown", "There is no such task.", "0190aaaa-bbbb"]
    assert steps["to allow"] == ["a live task: authz task start"]


def test_a_recording_of_envoy_is_explained_at_its_own_time(world: World) -> None:
    """A recorded check whose certificate has expired since is decided as of --at."""
    file = corpora.folder("checkrequests") / "get_mtls_h1.json"
    told = authz("explain", "--config", world.config_file, "--at", "2026-11-22T15:04:00Z", file)
    assert told.status == 0
    assert "GET localhost:31443 /api/v1/items?x=1&y=a%20b" in told.out
    assert "svid_untrusted" in told.out


def test_bytes_are_explained_too(world: World) -> None:
    """A .bin file is the CheckRequest as Envoy sent it; damaged bytes are a denial, not a fault."""
    file = world.folder / "request.bin"
    file.write_bytes(world.check(None))
    assert "deny, 403 task_missing" in authz("explain", "--config", world.config_file, file).out
    file.write_bytes(b"\xff\xff")
    assert "deny, 400 request_malformed" in authz("explain", "--config", world.config_file, file).out


@pytest.mark.parametrize("content", ["", "[]", "{}}", '{"attributes": 7}', '{"check_request": null}', '{"nothing": 1}'])
def test_what_is_no_check_is_refused_plainly(world: World, content: str) -> None:
    """A file that is no CheckRequest is named, with what is wrong; no traceback."""
    file = world.folder / "wrong.json"
    file.write_text(content)
    told = authz("explain", "--config", world.config_file, file)
    assert told.status == 2
    assert "wrong.json" in told.err


def explained(world: World, message: bytes) -> list[str]:
    """The lines of the last step."""
    told = authz("explain", "--config", world.config_file, "--json", recorded(world, message))
    assert told.status == 0, told.err
    steps = {step["step"]: step["found"] for step in json.loads(told.out)}
    return [*steps.get("policies", []), *steps.get("to allow", [])]


def test_what_keeps_a_policy_from_firing_is_told(world: World) -> None:
    """Each policy that does not fire is told with what would have to be so, and what the hop has there."""
    lines = explained(world, world.check(world.start_task().id))
    assert "no-egress-above-internal would forbid it" in " ".join(lines)
    assert '  action in Action::"egress"' in lines
    assert f'  principal == Agent::"{RESEARCH}"' in lines


def test_a_forbid_is_told_with_what_would_have_to_be_otherwise(world: World) -> None:
    """A hop that a policy forbids is allowed once the condition that holds would not: condition and value are told."""
    grants = (Grant.parse("read,egress:crm"),)
    task = world.start_task(grants=grants, ceiling=Sensitivity.CONFIDENTIAL)
    lines = explained(world, world.check(task.id, method="POST", path="/exports"))
    assert lines[-1] == (
        "no-egress-above-internal would not forbid it if it were not so that context.sensitivity > 1 "
        "(context.sensitivity is 2)"
    )


def test_what_nothing_permits_is_told_with_the_nearest_permits(world: World) -> None:
    """Where no policy permits, those that nearly do are told with what they lack, the nearest first."""
    task = world.start_task(agents=frozenset({SpiffeId.parse(RESEARCH)}))
    lines = explained(world, world.check(task.id, agent=RESEARCH, method="PUT"))
    assert lines[-2:] == [
        'research-reads would permit it if action in Action::"read"',
        f'or support-works-on-contacts would permit it if principal == Agent::"{SUPPORT}"',
    ]


def test_what_a_task_lacks_is_told(world: World) -> None:
    """A denial before policies is told with what the task would need."""
    narrow = world.start_task(grants=(Grant.parse("read:crm.contacts"),))
    assert explained(world, world.check(narrow.id, method="PUT")) == [
        f"a grant such as crm.contact.write:crm.contacts in {narrow.id}"
    ]
    low = world.start_task(ceiling=Sensitivity.PUBLIC)
    assert explained(world, world.check(low.id)) == ["a task, and tasks above it, with a ceiling of at least internal"]


def test_a_step_up_is_told_with_the_command_that_approves_it(tmp_path: Path) -> None:
    """The approval that is lacking is told with the digest that it is asked by."""
    world = World(tmp_path)
    ask = '@id("ask") @step_up("owner") forbid (principal, action in Action::"write", resource);'
    (world.folder / "policies" / "ask.cedar").write_text(ask)
    task = world.start_task()
    last = explained(world, world.check(task.id, method="PUT"))[-1]
    assert re.fullmatch(rf"approvals by: owner, of this hop: authz task approve {task.id} [0-9a-f]{{64}}", last)


def audited(world: World, message: bytes) -> Record:
    """A decision, and its line in the audit log."""
    running = world.pipeline()
    record = running.decide(message)
    running.close()
    with (world.folder / "audit.jsonl").open("ab") as log:
        log.write(line(record, 0.001))
    return record


def test_a_decision_of_the_audit_log_is_explained_by_its_id(world: World) -> None:
    """With the id that an answer carries, the log's hop is asked anew and told like a recorded check."""
    task = world.start_task(grants=(Grant.parse("read,egress:crm"),), ceiling=Sensitivity.CONFIDENTIAL)
    record = audited(world, world.check(task.id, method="POST", path="/exports"))
    told = authz(
        *("explain", "--config", world.config_file, "--audit", world.folder / "audit.jsonl"),
        *("--decision", record.arrival.decision_id),
    )
    assert told.status == 0, told.err
    assert "deny policy_forbids" in told.out
    assert "no-egress-above-internal would not forbid it if it were not so that context.sensitivity > 1" in told.out


def test_a_decision_that_cannot_be_explained_says_why(world: World) -> None:
    """An unknown id, or one of a hop that policies never saw, is told with what to do; status 2."""
    record = audited(world, world.check(None))
    log = world.folder / "audit.jsonl"
    for id, why in (
        (record.arrival.decision_id, "before policies were asked: task_missing"),
        ("0", "holds no decision 0"),
    ):
        told = authz("explain", "--config", world.config_file, "--audit", log, "--decision", id)
        assert told.status == 2
        assert why in told.err


def test_a_recording_and_a_decision_are_not_mixed(world: World) -> None:
    """Options that have no meaning together are refused."""
    told = authz("explain", "--config", world.config_file)
    assert told.status == 2
    assert "give either REQUEST" in told.err
