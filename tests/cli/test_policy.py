"""`authz policy`: policies are tried and checked as the server would read and ask them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from authz.core.task import Grant
from tests.support.commands import Ended, authz
from tests.support.world import RESEARCH, SUPPORT, World

READ = {"name": "support reads", "agent": SUPPORT, "request": "GET crm.example.org/contacts/42", "expect": "allow"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A configuration with a catalog and policies."""
    return World(tmp_path)


def write(world: World, *cases: dict[str, Any], **more: Any) -> Path:  # noqa: ANN401  what YAML can hold
    """A case file for the world's configuration."""
    file = world.folder / "crm.test.yaml"
    file.write_text(yaml.safe_dump({"config": "authz.yaml", "cases": list(cases), **more}))
    return file


def run(world: World, *cases: dict[str, Any], options: tuple[str, ...] = (), **more: Any) -> Ended:  # noqa: ANN401  as above
    """`authz policy test` of these cases."""
    return authz("policy", "test", *options, write(world, *cases, **more))


def test_what_is_as_expected_ends_with_status_0(world: World) -> None:
    """A table whose every case holds says how many cases there were, and which policies fired in none of them."""
    ended = run(world, READ)
    assert ended.status == 0, ended.out
    assert "1 cases, 0 not as expected; 1 of 3 policies fired" in ended.out
    assert f"fires in no case: research-reads ({world.folder / 'policies' / 'crm.cedar'}:4:1)" in ended.out


def test_what_is_not_as_expected_is_told_with_its_line(world: World) -> None:
    """A failing case is named with file and line, what was expected, what came, and by which policies; status 1."""
    ended = run(world, {**READ, "name": "wrong", "expect": "deny"})
    assert ended.status == 1
    assert f"{world.folder / 'crm.test.yaml'}:2:" in ended.out
    assert "expected deny, got allow by support-works-on-contacts" in ended.out


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            {"expect": "deny", "reason": "policy_permits_nothing"},
            "expected the reason policy_permits_nothing, got policy",
        ),
        ({"expect": "deny", "policies": []}, "expected the policies none, got no-egress-above-internal"),
        ({"expect": "allow"}, "expected allow, got deny (policy_forbids) by no-egress-above-internal"),
        ({"expect": "step_up"}, "expected step_up, got deny (policy_forbids)"),
    ],
)
def test_reasons_and_policies_are_compared_too(world: World, wrong: dict[str, Any], told: str) -> None:
    """A denial for another reason, or by other policies, than the table says is a failure."""
    ended = run(world, {"name": "export", "agent": SUPPORT, "request": "POST crm.example.org/exports", **wrong})
    assert ended.status == 1
    assert told in ended.out


def test_the_task_is_asked_before_the_policies(world: World) -> None:
    """A case goes the server's whole way: state, agents, grants and ceiling of its task count as they do there."""
    tasks = {
        "ended": {"state": "ended"},
        "suspended": {"state": "suspended"},
        "over": {"remaining_seconds": 0},
        "narrow": {"grants": ["write:crm.contacts"]},
        "low": {"ceiling": "public"},
        "research": {"agents": [RESEARCH]},
        "child-of-ended": {"delegated_by": "ended"},
    }
    reasons = {
        "ended": "task_ended",
        "suspended": "task_suspended",
        "over": "task_expired",
        "narrow": "action_not_granted",
        "low": "sensitivity_above_ceiling",
        "research": "task_of_another_agent",
        "child-of-ended": "task_ended",
    }
    cases = [{**READ, "task": name, "expect": "deny", "reason": reason} for name, reason in reasons.items()]
    ended = run(world, *cases, tasks=tasks)
    assert ended.status == 0, ended.out


def test_a_request_that_the_catalog_does_not_know_is_denied_in_a_case_too(world: World) -> None:
    """The real catalog classifies the request of a case."""
    unknown = {**READ, "request": "GET crm.example.org/nothing", "expect": "deny", "reason": "action_unknown"}
    hostile = {**READ, "request": "GET crm.example.org/contacts/../x", "expect": "deny", "reason": "path_ambiguous"}
    ended = run(world, unknown, hostile)
    assert ended.status == 0, ended.out


def test_a_case_decides_as_the_server_does(world: World) -> None:
    """The same hop, by table and by a CheckRequest through the whole pipeline, gets the same decision and reason."""
    paths = ["/contacts/42", "/payroll/7", "/nothing", "/exports"]
    grants = (Grant.parse("read,egress:crm"),)
    task = world.start_task(grants=grants)
    running = world.pipeline()
    served = {}
    for path in paths:
        decision = running.decide(
            world.check(task.id, method="POST" if path == "/exports" else "GET", path=path)
        ).decision
        served[path] = getattr(decision, "reason", None)
    running.close()
    tasks = {"the": {"grants": ["read,egress:crm"], "ceiling": "internal"}}
    cases = [
        {
            **READ,
            "name": path,
            "task": "the",
            "request": f"{'POST' if path == '/exports' else 'GET'} crm.example.org{path}",
            "expect": "deny" if reason else "allow",
            **({"reason": reason.id} if reason else {}),
        }
        for path, reason in served.items()
    ]
    assert len({case.get("reason") for case in cases}) >= 3
    ended = run(world, *cases, tasks=tasks)
    assert ended.status == 0, ended.out


def test_machines_get_json(world: World) -> None:
    """`--json` names each case with its place, what was decided, by what, and what differs."""
    ended = run(world, READ, {**READ, "name": "wrong", "expect": "deny"}, options=("--json",))
    document = json.loads(ended.out)
    assert ended.status == 1
    assert document["failed"] == 1
    assert document["cases"][0]["decision"] == "allow"
    assert document["cases"][1]["differences"] == ["expected deny, got allow by support-works-on-contacts"]
    assert {each["id"] for each in document["never_fired"]} == {"research-reads", "no-egress-above-internal"}


def test_silence_can_be_a_failure(world: World) -> None:
    """With --all-fire a policy that no case satisfies fails the run."""
    assert run(world, READ, options=("--all-fire",)).status == 1


def test_a_candidate_can_be_tried_with_the_same_tables(world: World) -> None:
    """--policy puts other policies in the place of those that the file names."""
    candidate = world.folder / "candidate.cedar"
    candidate.write_text('@id("nothing") forbid (principal, action, resource);')
    ended = authz("policy", "test", "--policy", candidate, write(world, READ))
    assert ended.status == 1
    assert "got deny (policy_permits_nothing)" in ended.out


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ({"expect": "alow"}, "expect"),
        ({"reason": "policy_forbid"}, "did you mean policy_forbids?"),
        ({"agent": "support"}, "agent"),
        ({"action": "crm.contact.read"}, "give either a request, or an action"),
        ({"task": "nowhere"}, "names an unknown task"),
        ({"at": "2026-11-25T12:00:00"}, "a time with its zone"),
        ({"request": None, "action": "crm.contact.reed"}, "the catalog has no action crm.contact.reed"),
        ({"request": "GET"}, "is no request"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_with_its_place(world: World, case: dict[str, Any], told: str) -> None:
    """A slip in a table is no failed case but a problem with file, line and remedy; status 2."""
    ended = run(world, {**READ, "expect": "deny", **case})
    assert ended.status == 2, ended.out
    assert told in ended.err
    assert "crm.test.yaml:" in ended.err


def test_tasks_that_delegate_in_a_circle_are_refused(world: World) -> None:
    """A chain of tasks has an end."""
    ended = run(world, READ, tasks={"a": {"delegated_by": "b"}, "b": {"delegated_by": "a"}})
    assert ended.status == 2
    assert "is delegated by itself" in ended.err


def test_a_folder_without_tables_is_told(tmp_path: Path) -> None:
    """Nothing to test is not success."""
    ended = authz("policy", "test", tmp_path)
    assert ended.status == 2
    assert "no case file" in ended.err


def test_the_schema_of_a_configuration_names_its_actions(world: World) -> None:
    """`authz policy schema` is completed by the catalog."""
    printed = authz("policy", "schema", "--config", world.config_file).out
    assert 'action "crm.contact.read" in [read] appliesTo' in printed


def check(world: World, *options: object) -> Ended:
    """`authz policy check` of the world's policies."""
    return authz("policy", "check", "--config", world.config_file, *options)


def test_sound_policies_pass_the_check(world: World) -> None:
    """Policies without a finding end with status 0, and so do warnings, unless --strict is given."""
    ended = check(world)
    assert ended.status == 0, ended.out
    assert "3 policies, 0 errors, 0 warnings" in ended.out
    (world.folder / "policies" / "odd.cedar").write_text(
        '@id("odd") forbid (principal, action in Action::"admin", resource in Dataset::"crm");'
    )
    ended = check(world)
    assert ended.status == 0
    assert (
        f"{world.folder / 'policies' / 'odd.cedar'}:1:1: warning: odd: it applies to no entry of the catalog"
        in ended.out
    )
    assert check(world, "--strict").status == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('@id("x") permit (principal, action, resource);', "x: it permits everything to everybody"),
        ("permit (principal, action, resource);", "the policy has no @id"),
        ('@id("x") forbid (principal, action, resource) when { context.sensitivty > 1 };', "sensitivty"),
        ('@id("x") forbid (principal, action, resource) when { context.sensitivity > "1" };', "expected"),
        (
            '@id("x") forbid (principal, action == Action::"crm.contact.reed", resource);',
            "Did you mean 'crm.contact.read'?",
        ),
        ('@id("x") forbid (principal, action, resource', "not valid Cedar"),
    ],
)
def test_an_error_fails_the_check_with_its_line(world: World, text: str, told: str) -> None:
    """What the server would refuse, and a permit for everybody, are errors with file, line and hint; status 1."""
    (world.folder / "policies" / "x.cedar").write_text(f"\n{text}")
    ended = check(world)
    assert ended.status == 1
    assert told in ended.out
    assert "x.cedar:2:" in ended.out


def test_a_check_needs_no_configuration(world: World) -> None:
    """With --policy and --catalog no configuration is read, so it runs where a server could not."""
    folder, catalog = world.folder / "policies", world.folder / "catalog.yaml"
    options = ("--policy", folder, "--catalog", catalog, "--config", world.folder / "nowhere.yaml")
    assert authz("policy", "check", *options).status == 0
    text = '@id("g") forbid (principal in AgentGroup::"g", action, resource);'
    (folder / "g.cedar").write_text(text)
    assert authz("policy", "check", *options).status == 1
    ended = authz(
        "policy",
        "check",
        *options,
        "--group",
        "g=spiffe://example.org/b",
        "--group",
        "g=spiffe://example.org/c",
        "--json",
    )
    assert ended.status == 0, ended.out
    assert json.loads(ended.out)["findings"] == []


@pytest.mark.parametrize("group", ["g", "=spiffe://example.org/a", "g=support"])
def test_a_group_that_is_none_is_refused(world: World, group: str) -> None:
    """A group is NAME=SPIFFE_ID."""
    ended = authz("policy", "check", "--config", world.config_file, "--group", group)
    assert ended.status == 2
    assert "Write NAME=SPIFFE_ID" in ended.err


def test_what_the_catalog_lacks_is_a_finding(world: World) -> None:
    """Entries that are not filled in, and actions that no policy permits, are warnings with their place."""
    catalog = world.folder / "catalog.yaml"
    catalog.write_text(
        catalog.read_text()
        + """\
      - {action: crm.draft, class: unset, method: GET, path: /draft, dataset: unset, sensitivity: unset}
  mail:
    hosts: [mail.example.org]
    routes:
      - {action: mail.send, class: write, method: POST, path: /send, dataset: mail, sensitivity: internal}
"""
    )
    document = json.loads(check(world, "--json").out)
    told = {finding["what"]: finding for finding in document["findings"]}
    (unset,) = (finding for what, finding in told.items() if "is not filled in" in what)
    assert (unset["level"], Path(unset["file"]).name) == ("warning", "catalog.yaml")
    assert unset["line"]
    assert "no policy permits mail.send" in told


def test_a_check_holds_the_policies_against_their_digests(tmp_path: Path) -> None:
    """Where the configuration names a file of digests, a policy file that it does not list fails the check."""
    world = World(tmp_path, settings={"policy": {"directory": "policies", "digests_file": "policies/SHA256SUMS"}})
    content = (world.folder / "policies" / "crm.cedar").read_bytes()
    sums = world.folder / "policies" / "SHA256SUMS"
    sums.write_text(f"{hashlib.sha256(content).hexdigest()}  crm.cedar\n")
    assert check(world).status == 0
    sums.write_text(f"{hashlib.sha256(b'').hexdigest()}  crm.cedar\n")
    assert check(world).status == 1
