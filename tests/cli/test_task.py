"""`authz task` as an operator uses it."""

import json
import secrets
import time
from pathlib import Path

import pytest
import yaml

from tests.support.commands import Ended, authz
from tests.support.world import RESEARCH, SUPPORT, World
from tests.tasks.shared_stores import server_port


@pytest.fixture(scope="module", params=["sqlite", "valkey"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A configuration with a task store, of either kind."""
    world = World(tmp_path_factory.mktemp("task"))
    if request.param == "valkey":
        settings = yaml.safe_load(world.config_file.read_text())
        del settings["tasks"]["sqlite_file"]
        prefix = "{cli-" + secrets.token_hex(4) + "}"
        settings["tasks"]["valkey"] = {"servers": [f"127.0.0.1:{server_port('valkey')}"], "prefix": prefix}
        world.config_file.write_text(yaml.safe_dump(settings))
    return world


def task(world: World, *arguments: object) -> Ended:
    """`authz task ...` with the world's configuration."""
    command, *rest = arguments
    return authz("task", command, "--config", world.config_file, *rest)


def start(world: World, *more: str) -> dict[str, object]:
    """A task as `task start --json` prints it."""
    options = ["--agent", SUPPORT, "--owner", "alice", "--purpose", "ticket 4711", "--grant", "read:crm.contacts"]
    ended = task(world, "start", *options, "--ceiling", "internal", "--expires-in", "15m", "--json", *more)
    assert ended.status == 0, ended.err
    document: dict[str, object] = json.loads(ended.out)
    return document


def test_a_started_task_can_be_seen_and_ended(world: World) -> None:
    """Start prints the task; get shows it as started; after end it is ended, and gone from the list of live ones."""
    started = start(world, "--agent", RESEARCH, "--grant", "write:crm.contacts,crm.notes")
    assert started["agents"] == sorted([SUPPORT, RESEARCH])
    assert started["grants"] == ["read:crm.contacts", "write:crm.contacts,crm.notes"]
    assert started["state"] == "active"
    assert json.loads(task(world, "get", "--json", started["id"]).out) == started
    assert started in json.loads(task(world, "list", "--json").out)
    assert task(world, "end", started["id"]).out == f"{started['id']} ended\n"
    assert json.loads(task(world, "get", "--json", started["id"]).out)["state"] == "ended"
    assert str(started["id"]) not in task(world, "list", "--json").out
    assert str(started["id"]) in task(world, "list", "--all", "--json").out


def test_people_get_a_table(world: World) -> None:
    """Without --json the list is a table with a heading, each task's id whole on one line."""
    started = start(world)
    lines = task(world, "list").out.splitlines()
    assert lines[0].split() == ["id", "state", "left", "owner", "agents", "grants", "purpose"]
    assert any(line.startswith(str(started["id"])) for line in lines)


def test_a_short_task_expires_by_itself(world: World) -> None:
    """A task of a tenth of a second is listed as expired after it."""
    started = start(world, "--expires-in", "0.1s")
    time.sleep(0.2)
    assert json.loads(task(world, "get", "--json", started["id"]).out)["state"] == "expired"


@pytest.mark.parametrize("command", ["get", "end"])
def test_an_unknown_task_is_said_plainly(world: World, command: str) -> None:
    """Exit status 1, the id, and where to look."""
    ended = task(world, command, "0190aaaa-bbbb")
    assert ended.status == 1
    assert "there is no task 0190aaaa-bbbb" in ended.err


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--agent", "spiffe://Example.org/a", "lower-case"),
        ("--agent", "alice", "begins with"),
        ("--grant", "read", "read:crm.contacts"),
        ("--ceiling", "secret", "internal"),
        ("--expires-in", "soon", "15m"),
    ],
)
def test_a_wrong_value_is_refused_with_a_hint(world: World, option: str, value: str, told: str) -> None:
    """Exit status 2, what is wrong, and what would be right; nothing is started."""
    options = {"--agent": SUPPORT, "--grant": "read:crm", "--ceiling": "internal", "--expires-in": "1m", option: value}
    before = task(world, "list", "--all", "--json").out
    pairs = [text for pair in options.items() for text in pair]
    ended = task(world, "start", "--owner", "alice", "--purpose", "p", *pairs)
    assert ended.status == 2
    assert told in ended.err
    assert task(world, "list", "--all", "--json").out == before


def test_without_a_configuration_it_says_what_to_do(tmp_path: Path) -> None:
    """A missing file is named, with a remedy."""
    ended = authz("task", "list", "--config", tmp_path / "nowhere.yaml")
    assert ended.status == 2
    assert "nowhere.yaml: there is no such file" in ended.err
