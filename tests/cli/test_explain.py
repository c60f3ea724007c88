"""`authz explain`: the same decision as the server's, told step by step."""

import json
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict

from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from tests.support import corpora
from tests.support.commands import authz
from tests.support.world import World


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
    assert list(steps) == ["request", "identity", "answer"]
    assert steps["answer"] == ["deny, 403 task_unknown", "There is no such task.", "0190aaaa-bbbb"]


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
