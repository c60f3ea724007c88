"""`authz config`: what is wrong is told with file, line and remedy, and what is right is shown."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from authz.demo.ca import DevelopmentCa
from tests.support.commands import authz, authz_process
from tests.support.world import AUTHZ, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A correct configuration to damage."""
    return World(tmp_path)


def damage(world: World, old: str, new: str) -> None:
    """Replace a piece of authz.yaml."""
    text = world.config_file.read_text()
    assert old in text
    world.config_file.write_text(text.replace(old, new))


def test_a_correct_configuration_is_summed_up(world: World) -> None:
    """Exit status 0, and what was read: trust domains, operations, policies, with their versions."""
    ended = authz("config", "check", "--config", world.config_file)
    assert ended.status == 0, ended.err
    assert "example.org" in ended.out
    assert "6 operations" in ended.out
    assert "plain text" in ended.out
    assert not world.database.exists()


DAMAGES: dict[str, tuple[Callable[[World], object], list[str]]] = {
    "misspelt key": (
        lambda world: damage(world, "sqlite_file", "sqlite_fle"),
        ["tasks.sqlite_fle: unknown key", "Did you mean 'sqlite_file'?", "tasks.sqlite_file: field required"],
    ),
    "wrong type": (
        lambda world: damage(world, "drain_seconds: 0", "drain_seconds: soon"),
        ["server.drain_seconds: input should be a valid number"],
    ),
    "missing file": (
        lambda world: damage(world, "catalog.yaml", "catalogue.yaml"),
        ["catalog.file: there is no file", "catalogue.yaml"],
    ),
    "tls without files": (
        lambda world: damage(world, "transport: plaintext", "transport: tls"),
        ["server: transport is tls, but the key tls with its three files is missing"],
    ),
    "no address": (
        lambda world: damage(world, "listen: 127.0.0.1:0", "listen: '9000'"),
        ["server.listen: an address is HOST:PORT or unix:/absolute/path"],
    ),
    "not YAML": (lambda world: world.config_file.write_text("server: ["), ["not valid YAML"]),
    "a list": (lambda world: world.config_file.write_text("- a"), ["the document:"]),
    "empty": (lambda world: world.config_file.write_text(""), ["the document:"]),
    "key twice": (
        lambda world: world.config_file.write_text(world.config_file.read_text() + "tasks: {sqlite_file: b}\n"),
        ["the key 'tasks' is given twice"],
    ),
    "broken bundle": (lambda world: world.folder.joinpath("bundle.pem").write_text("nothing"), ["bundle.pem"]),
    "broken catalog": (
        lambda world: world.folder.joinpath("catalog.yaml").write_text("services: {}"),
        ["catalog.yaml"],
    ),
    "broken policy": (
        lambda world: world.folder.joinpath("policies", "crm.cedar").write_text("permit (principal,"),
        ["crm.cedar:1"],
    ),
    "no policies": (lambda world: world.folder.joinpath("policies", "crm.cedar").unlink(), ["policies"]),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_wrong_is_told_with_its_place(world: World, name: str) -> None:
    """Exit status 2; the message names the file, says what is wrong, and is no traceback."""
    harm, told = DAMAGES[name]
    harm(world)
    ended = authz("config", "check", "--config", world.config_file)
    assert ended.status == 2
    assert str(world.folder) in ended.err
    for each in told:
        assert each in ended.err


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("authz.pem", "nothing", "authz.pem: cannot be used with the key"),
        ("authz.key", None, "authz.pem: cannot be used with the key"),
        ("ca.pem", "nothing", "ca.pem: holds no usable certificate"),
    ],
)
def test_unusable_tls_files_are_told_before_the_start(
    tmp_path: Path, file: str, content: str | None, told: str
) -> None:
    """A certificate that is none, a key of another certificate and a CA file without one are named by the check."""
    ca = DevelopmentCa("example.org")
    ca.mint(AUTHZ).write(tmp_path, "authz")
    (tmp_path / "ca.pem").write_text(ca.bundle_pem)
    (tmp_path / file).write_text(ca.mint(AUTHZ).key_pem if content is None else content)
    files = {"certificate_file": "authz.pem", "private_key_file": "authz.key", "client_ca_file": "ca.pem"}
    world = World(tmp_path, ca, {"server": {"listen": "127.0.0.1:0", "transport": "tls", "tls": files}})
    ended = authz("config", "check", "--config", world.config_file)
    assert ended.status == 2
    assert told in ended.err


def test_the_line_is_the_line(world: World) -> None:
    """A problem's line is where an editor finds it."""
    line = world.config_file.read_text().splitlines().index("  transport: plaintext") + 1
    damage(world, "transport: plaintext", "transport: yes")
    ended = authz("config", "check", "--config", world.config_file)
    assert f"{world.config_file}:{line}:14: server.transport" in ended.err


def test_serve_refuses_what_check_refuses(world: World) -> None:
    """The server does not start on a configuration with a problem, and says the same."""
    damage(world, "drain_seconds: 0", "drain_seconds: soon")
    checked = authz("config", "check", "--config", world.config_file)
    served = authz_process("serve", "--config", world.config_file)
    assert (served.status, served.err) == (checked.status, checked.err)


def test_show_prints_what_is_in_force(world: World) -> None:
    """Defaults are filled in, paths are whole, as YAML and as JSON alike."""
    shown = yaml.safe_load(authz("config", "show", "--config", world.config_file).out)
    assert shown["server"]["max_connection_age_seconds"] == 600
    assert shown["tasks"]["header"] == "x-task-id"
    assert shown["catalog"]["file"] == str(world.folder / "catalog.yaml")
    assert json.loads(authz("config", "show", "--config", world.config_file, "--json").out) == shown


def test_help_is_complete() -> None:
    """--help lists every command with a line, and each command has a help of its own."""
    ended = authz_process("--help")
    assert ended.status == 0
    for command in ("serve", "task", "explain", "config", "demo"):
        assert f"  {command} " in ended.out
        assert authz(command, "--help").status == 0
