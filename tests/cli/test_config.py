"""`authz config`: what is wrong is told with file, line and remedy, and what is right is shown."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from authz.demo.ca import DevelopmentCa
from tests.support.commands import authz, authz_process
from tests.support.world import AUTHZ, ENVOY, World

CA = DevelopmentCa("example.org")


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


def test_entries_that_are_not_filled_in_are_told_with_their_places(world: World) -> None:
    """A draft is no fault, since its requests are denied: status 0, and a warning with file and line for each entry."""
    file = world.folder / "catalog.yaml"
    drafted = yaml.safe_load(file.read_text())
    service = next(iter(drafted["services"].values()))
    send = {"action": "crm.send", "class": "unset", "dataset": "unset", "sensitivity": "unset"}
    session = {"action": "crm.session", "class": "read", "dataset": "crm", "sensitivity": "public"}
    service["mcp"] = {"path": "/mcp", "session": session, "tools": {"send": send, "sent": {**send, "class": "read"}}}
    file.write_text(yaml.safe_dump(drafted))
    lines = [text.strip() for text in file.read_text().splitlines()]
    ended = authz("config", "check", "--config", world.config_file)
    assert ended.status == 0, ended.err
    warnings = [line for line in ended.out.splitlines() if line.startswith("  warning")]
    assert len(warnings) == 2
    for name, warning in zip(("send", "sent"), warnings, strict=True):
        assert f"{file}:{lines.index(name + ':') + 2}:" in warning
        assert f"tools/call {name}: set class, dataset and sensitivity" in warning


DAMAGES: dict[str, tuple[Callable[[World], object], list[str]]] = {
    "misspelt key": (
        lambda world: damage(world, "sqlite_file", "sqlite_fle"),
        ["tasks.sqlite_fle: unknown key", "Did you mean 'sqlite_file'?"],
    ),
    "wrong type": (
        lambda world: damage(world, "drain_seconds: 0", "drain_seconds: soon"),
        ["server.drain_seconds: input should be a valid number"],
    ),
    "missing file": (
        lambda world: damage(world, "catalog.yaml", "catalogue.yaml"),
        ["catalog.file: there is no file", "catalogue.yaml"],
    ),
    "tls without our own SVID": (
        lambda world: damage(world, "transport: plaintext", "transport: tls"),
        ["server: transport is tls, so svid says what our port shows"],
    ),
    "tls without an allow-list": (
        lambda world: damage(world, "transport: plaintext", "transport: tls\n  svid: workload-api"),
        ["server: transport is tls, so envoys lists the SPIFFE IDs that may ask"],
    ),
    "allow-list in plain text": (
        lambda world: damage(world, "transport: plaintext", f"transport: plaintext\n  envoys: [{ENVOY}]"),
        ["server: transport is plaintext, so svid and envoys have no meaning"],
    ),
    "an Envoy that is no workload": (
        lambda world: damage(world, "transport: plaintext", "transport: plaintext\n  envoys: [crm.example.org]"),
        ["server.envoys.0:"],
    ),
    "Envoy's word in plain text": (
        lambda world: damage(world, "identity:", "identity:\n  mode: attested"),
        ["identity.mode attested takes an Envoy's word, so server.transport must be tls"],
    ),
    "unknown mode": (
        lambda world: damage(world, "identity:", "identity:\n  mode: trusting"),
        ["identity.mode:", "certificate"],
    ),
    "bundle of two origins": (
        lambda world: damage(world, "bundle_file: bundle.pem", "bundle_file: bundle.pem\n      bundle: workload-api"),
        ["identity.trust_domains.example.org: give either bundle_file, or bundle: workload-api"],
    ),
    "a Workload API that is nowhere": (
        lambda world: damage(world, "bundle_file: bundle.pem", "bundle: workload-api"),
        ["SPIFFE_ENDPOINT_SOCKET"],
    ),
    "a token for nobody": (
        lambda world: damage(world, "identity:", "identity:\n  jwt: {header: x-jwt-svid, audience: []}"),
        ["identity.jwt.audience:"],
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
    ("file", "content"),
    [
        ("authz.pem", "nothing"),
        ("authz.key", CA.mint(AUTHZ).key_pem),
        ("authz.pem", CA.mint(dns=("authz.example.org",)).pem),
        ("authz.pem", CA.bundle_pem),
    ],
    ids=["no certificate", "another key", "no SPIFFE ID", "an authority"],
)
def test_our_own_svid_is_tried_before_the_start(tmp_path: Path, file: str, content: str) -> None:
    """What our port could not show is named by the check: both files, and why they are no X509-SVID with its key."""
    world = World.guarded(tmp_path, ca=CA)
    (tmp_path / file).write_text(content)
    ended = authz("config", "check", "--config", world.config_file)
    assert ended.status == 2
    assert "authz.pem: cannot be used with the key" in ended.err
    assert str(tmp_path / "authz.key") in ended.err


@pytest.mark.parametrize(
    ("mode", "gives_up", "needs"),
    [
        ("attested", "the caller's certificate", "verify callers by SPIFFE's rules"),
        ("xfcc", "the caller's certificate", "x-forwarded-client-cert themselves"),
        ("sidecar", "telling an agent from its Envoy", "the way out"),
    ],
)
def test_what_a_mode_gives_up_is_told(tmp_path: Path, mode: str, gives_up: str, needs: str) -> None:
    """A mode that takes an Envoy's word is fine, and the check says what is given up by it and what it stands on."""
    world = World.guarded(tmp_path, ca=CA, identity={"mode": mode})
    ended = authz("config", "check", "--config", world.config_file)
    assert ended.status == 0, ended.err
    told = dict(line.split(maxsplit=1) for line in ended.out.splitlines()[1:] if "gives up" not in line)
    assert told["identity"] == f"mode {mode}"
    assert needs in told["needs"]
    assert f"gives up       {gives_up}" in ended.out


def test_the_usual_mode_gives_up_nothing(tmp_path: Path) -> None:
    """With TLS and the caller's own certificate there is nothing to warn of."""
    ended = authz("config", "check", "--config", World.guarded(tmp_path, ca=CA).config_file)
    assert ended.status == 0, ended.err
    assert "mode certificate" in ended.out
    assert not any(word in ended.out for word in ("gives up", "needs", "note"))


def test_the_workload_api_is_not_asked(tmp_path: Path) -> None:
    """A configuration that stands on the Workload API is checked where there is none, as on an operator's desk."""
    trust = {"trust_domains": {"example.org": {"bundle": "workload-api"}}}
    socket = {"workload_api": {"socket": f"unix://{tmp_path}/nowhere.sock"}}
    world = World.guarded(tmp_path, ca=CA, server={"svid": "workload-api"}, identity={**trust, **socket})
    ended = authz("config", "check", "--config", world.config_file)
    assert ended.status == 0, ended.err


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


def test_a_candidate_is_checked_as_the_live_policies_are(tmp_path: Path) -> None:
    """What cannot be used is told with file and line; what can, with its version."""
    candidate = tmp_path / "next" / "crm.cedar"
    candidate.parent.mkdir()
    world = World(tmp_path, settings={"policy": {"directory": "policies", "shadow_directory": "next"}})
    candidate.write_text("permit (principal,")
    ended = authz("config", "check", "--config", world.config_file)
    assert ended.status == 2
    assert f"{candidate}:1" in ended.err
    candidate.write_text('@id("nothing")\nforbid (principal, action, resource);\n')
    ended = authz("config", "check", "--config", world.config_file)
    assert ended.status == 0, ended.err
    assert "candidate      1, version" in ended.out


def test_show_prints_what_is_in_force(world: World) -> None:
    """Defaults are filled in, paths are whole, as YAML and as JSON alike."""
    shown = yaml.safe_load(authz("config", "show", "--config", world.config_file).out)
    assert shown["server"]["max_request_bytes"] == 16 * 1024 * 1024
    assert shown["identity"]["mode"] == "certificate"
    assert shown["tasks"]["header"] == "x-task-id"
    assert shown["catalog"]["file"] == str(world.folder / "catalog.yaml")
    assert json.loads(authz("config", "show", "--config", world.config_file, "--json").out) == shown


def test_help_is_complete() -> None:
    """--help lists every command with a line, and each command has a help of its own."""
    ended = authz_process("--help")
    assert ended.status == 0
    for command in ("serve", "task", "explain", "identity", "config", "demo"):
        assert f"  {command} " in ended.out
        assert authz(command, "--help").status == 0
