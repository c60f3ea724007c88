"""The tools, where the policies are rules in Rego."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from authz.core.hop import Sensitivity
from authz.core.record import Record
from authz.core.task import Grant
from authz.observe.audit_line import line
from tests.support.commands import Ended, authz
from tests.support.rego import DENIES, RULES, rego_world, write_rules
from tests.support.world import SUPPORT, World

GRANTS = (Grant.parse("read,write,delete,egress:crm"),)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """With the rules in force."""
    return rego_world(tmp_path)


def audited(world: World, *messages: bytes) -> list[Record]:
    """These hops, decided and written to the audit log."""
    running = world.pipeline()
    records = [running.decide(message) for message in messages]
    running.close()
    with (world.folder / "audit.jsonl").open("ab") as log:
        log.writelines(line(record, 0.001) for record in records)
    return records


def hops(world: World) -> list[Record]:
    """A hop that is allowed, one that is denied, and one that needs an approval."""
    task = world.start_task(grants=GRANTS, ceiling=Sensitivity.CONFIDENTIAL)
    return audited(
        world,
        world.check(task.id),
        world.check(task.id, method="POST", path="/exports"),
        world.check(task.id, method="DELETE"),
    )


def candidate(world: World, text: str) -> Path:
    """A folder with this file and the data."""
    folder = world.folder / "candidate"
    folder.mkdir(exist_ok=True)
    (folder / "crm.rego").write_text(text)
    (folder / "data.json").write_text('{"limits": {"egress": 1}}')
    return folder


def table(world: World, *cases: dict[str, Any], **document: Any) -> Path:  # noqa: ANN401  a document
    """A table of cases about the world's rules."""
    file = world.folder / "rules.test.yaml"
    file.write_text(yaml.safe_dump({"config": "authz.yaml", "cases": list(cases), **document}))
    return file


READ = {"name": "reads", "agent": SUPPORT, "action": "crm.contact.read", "expect": "allow"}
DELETE = {
    "name": "deletes",
    "agent": SUPPORT,
    "action": "crm.contact.delete",
    "expect": "step_up",
    "step_up": ["owner"],
}


def test_a_configuration_with_rules_is_checked(world: World) -> None:
    """`authz config check` says how many rules there are, their version, and which of them decides."""
    ended = authz("config", "check", "--config", world.config_file)
    assert ended.status == 0, ended.err
    assert "policies       5, version " in ended.out
    assert "decided by the rule data.authz.decision, in Rego" in ended.out


def test_rules_are_checked_with_and_without_a_configuration(world: World) -> None:
    """Sound rules pass; a wrong name fails with file, line and hint, and what nobody asks is a warning."""
    assert authz("policy", "check", "--config", world.config_file).status == 0
    folder = candidate(world, RULES.replace("input.agent.groups", "input.agent.grups"))
    ended = authz("policy", "check", "--policy", folder, "--catalog", world.folder / "catalog.yaml")
    assert ended.status == 1
    assert f"{folder / 'crm.rego'}:11:18: error: no question has input.agent.grups" in ended.out
    folder = candidate(world, RULES + "\nunused if input.task.depth > 1\n")
    ended = authz("policy", "check", "--policy", folder, "--config", world.config_file, "--strict")
    assert ended.status == 1
    assert "warning: nothing that decides depends on data.authz.unused" in ended.out


def test_another_rule_can_be_asked(world: World) -> None:
    """`--rule` names the rule that decides, for a check without a configuration."""
    catalog = world.folder / "catalog.yaml"
    folder = candidate(world, RULES.replace("package authz", "package other"))
    assert authz("policy", "check", "--policy", folder, "--catalog", catalog).status == 1
    ended = authz("policy", "check", "--policy", folder, "--catalog", catalog, "--rule", "data.other.decision")
    assert ended.status == 0, ended.out


def test_tables_try_rules(world: World) -> None:
    """Cases are decided by the rules; which of them some case led to the end is counted."""
    ended = authz("policy", "test", table(world, READ, DELETE))
    assert ended.status == 0, ended.out
    assert "2 of 2 cases as expected, 4 of 5 policies fired" in ended.out
    assert "fires in no case: data.authz.forbids:15" in ended.out
    ended = authz("policy", "test", table(world, {**READ, "expect": "deny"}))
    assert ended.status == 1
    assert "expected deny, got allow" in ended.out


def test_a_table_can_name_rules_and_their_rule(world: World) -> None:
    """Without a configuration: a catalog, rules, groups, and the rule that decides."""
    folder = candidate(world, RULES.replace("package authz", "package other"))
    file = world.folder / "own.test.yaml"
    groups = {"support": [SUPPORT]}
    document = {"catalog": "catalog.yaml", "policies": [folder.name], "rule": "data.other.decision", "groups": groups}
    file.write_text(yaml.safe_dump({**document, "cases": [READ, DELETE]}))
    ended = authz("policy", "test", file)
    assert ended.status == 0, ended.out


def test_recorded_hops_are_replayed_against_rules(world: World) -> None:
    """The rules that answered change nothing; a candidate that denies makes what was allowed narrower."""
    hops(world)
    log = world.folder / "audit.jsonl"
    ended = authz("replay", "--config", world.config_file, log)
    assert ended.status == 0, ended.out
    assert "3 hops replayed: 0 wider, 0 narrower" in ended.out
    ended = authz("replay", "--config", world.config_file, "--policy", candidate(world, DENIES), "--json", log)
    assert ended.status == 1
    assert json.loads(ended.out)["counts"]["narrower"] == 2


def test_what_the_log_does_not_hold_is_not_guessed(world: World) -> None:
    """Rules that read a parameter whose value was not logged, or all of the question, cannot be replayed."""
    hops(world)
    for condition, place in (
        ("input.parameters.contact_id == `42`", "input.parameters.contact_id"),
        ("input.parameters[`contact_id`] == `42`", "input.parameters.contact_id"),
        ("count(input) > 1", "input"),
    ):
        text = RULES + f'\nforbids contains "x" if {condition}\n'
        ended = authz(
            *("replay", "--config", world.config_file, "--policy", candidate(world, text)),
            world.folder / "audit.jsonl",
        )
        assert f"the rules read {place}, whose value the log does not hold; name 'contact_id'" in ended.out, ended.out


def explained(world: World, record: Record) -> Ended:
    """`authz explain` of a decision of the log."""
    log = world.folder / "audit.jsonl"
    return authz(*("explain", "--config", world.config_file, "--audit", log, "--decision", record.arrival.decision_id))


def test_a_decision_is_explained_by_the_values_of_rules(world: World) -> None:
    """The rules' values are told, and how far each that stopped was followed."""
    _, denied, _ = hops(world)
    ended = explained(world, denied)
    assert ended.status == 0, ended.err
    assert 'data.authz.forbids is ["no-egress-above-internal"]' in ended.out
    assert "data.authz.approvals" in ended.out
    assert "stopped, at the latest at line" in ended.out


def test_beside_an_opa_rego_files_can_be_asked_in_process(tmp_path: Path) -> None:
    """Where OPA decides, the tools refuse its folder, and take Rego files that are named."""
    opa = {"engine": "opa", "directory": "policies", "opa": {"url": "http://127.0.0.1:8181/v1/data/authz/decision"}}
    world = World(tmp_path, settings={"policy": opa})
    ended = authz("policy", "check", "--config", world.config_file)
    assert ended.status == 2
    assert "--policy" in ended.err
    assert authz("policy", "check", "--config", world.config_file, "--policy", write_rules(tmp_path)).status == 0
