"""A candidate policy set beside the live one: what is told of it, and that it answers nobody."""

import asyncio
import logging
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from authz.core.decision import Allow
from authz.core.record import Record
from authz.wiring.gauges import shadow_gauges
from authz.wiring.knowledge import read
from authz.wiring.rules import Reload, Rules, look_at
from authz.wiring.shadow import MAX_TOLD, MAX_WAITING, Pair, Shadowing
from tests.support.otlp import Receiver, grpc_receiver, plain
from tests.support.servers import free_port, serve, until
from tests.support.world import POLICIES, Running, World

FORBIDS = POLICIES + '@id("no-reading")\nforbid (principal, action in Action::"read", resource);\n'
ERRS = POLICIES + (
    '@id("errs")\nforbid (principal, action, resource)\nwhen { (context.sensitivity + 1) * 9223372036854775807 > 0 };\n'
)
ASKS = POLICIES + '@id("asks")\n@step_up("KIND")\nforbid (principal, action in Action::"read", resource);\n'
OWNER, REVIEWER = ASKS.replace("KIND", "owner"), ASKS.replace("KIND", "reviewer")


@dataclass
class Shadowed:
    """Live policies and a candidate beside them, driven by hand."""

    world: World
    running: Running
    live_reload: Reload
    shadowing: Shadowing
    hop: bytes

    @classmethod
    def of(cls, folder: Path, candidate: str, live: str = POLICIES) -> "Shadowed":
        """With these policies; the candidate is loaded where it can be."""
        (folder / "next").mkdir()
        (folder / "next" / "crm.cedar").write_text(candidate)
        world = World(folder, settings={"policy": {"directory": "policies", "shadow_directory": "next"}})
        (folder / "policies" / "crm.cedar").write_text(live)
        knowledge = read(world.config_file)
        rules = Rules(knowledge.catalog, knowledge.policy)
        reload = Reload(knowledge.settings, rules, look_at(knowledge.settings))
        (shadowing,) = Shadowing.of(knowledge.settings, rules, reload)
        shadowed = cls(world, world.pipeline(), reload, shadowing, world.check(world.start_task().id))
        shadowed.look()
        return shadowed

    @property
    def candidate(self) -> Path:
        """The candidate's one file."""
        return self.world.folder / "next" / "crm.cedar"

    def look(self) -> None:
        """Look at the candidate's files, which are whole."""
        asyncio.run(self.shadowing.reload.look(is_whole=True))

    def compare(self, *records: Record) -> None:
        """Tell of these records, and let the candidate be asked until nothing waits."""
        for record in records:
            self.shadowing.shadow.checked(record, 0.001)
        self.shadowing.shadow.ask(seconds=60)

    def gauges(self) -> dict[str, float]:
        """What the metrics tell, by name; of several values the sum."""
        return {
            gauge.name: sum(value for value, _ in gauge.read())
            for gauge in shadow_gauges(self.shadowing.shadow, self.shadowing.reload)
        }


@pytest.mark.parametrize(
    ("sets", "pair", "lines"),
    [
        ((POLICIES, POLICIES), Pair("allow", "allow"), 0),
        ((POLICIES, FORBIDS), Pair("allow", "deny"), 1),
        ((FORBIDS, POLICIES), Pair("deny", "allow"), 1),
        ((POLICIES, ERRS), Pair("allow", "error"), 1),
        ((POLICIES, OWNER), Pair("allow", "step_up"), 1),
        ((OWNER, REVIEWER), Pair("step_up", "step_up"), 1),
        ((FORBIDS, FORBIDS.replace("no-reading", "renamed")), Pair("deny", "deny"), 0),
    ],
)
def test_each_hop_is_counted_by_both_answers_and_a_difference_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, sets: tuple[str, str], pair: Pair, lines: int
) -> None:
    """However often it is met. Approvals of other kinds are a difference, other policies behind one answer are not."""
    live, candidate = sets
    shadowed = Shadowed.of(tmp_path, candidate, live)
    with caplog.at_level(logging.WARNING, "authz.shadow"):
        shadowed.compare(*(shadowed.running.decide(shadowed.hop) for _ in range(3)))
    assert dict(shadowed.shadowing.shadow.compared) == {pair: 3}
    assert len(caplog.records) == lines
    if lines:
        assert "crm.contact.read" in caplog.text


def test_the_log_names_the_policies_behind_a_difference(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Those of both sides, and the check, so that it is found in the audit log."""
    shadowed = Shadowed.of(tmp_path, FORBIDS)
    record = shadowed.running.decide(shadowed.hop)
    shadowed.compare(record)
    for told in ("no-reading", "support-works-on-contacts", record.arrival.decision_id):
        assert told in caplog.text


def test_the_log_has_a_bound(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Differences beyond it are counted and no more, however many pairs of policies there are."""
    count = MAX_TOLD + 20
    many = POLICIES + "".join(
        f'@id("agent-{index}")\nforbid (principal, action, resource) when {{ context.task.purpose == "p{index}" }};\n'
        for index in range(count)
    )
    shadowed = Shadowed.of(tmp_path, many)
    records = []
    for index in range(count):
        task = shadowed.world.start_task(purpose=f"p{index}")
        records.append(shadowed.running.decide(shadowed.world.check(task.id)))
    shadowed.compare(*records)
    assert shadowed.shadowing.shadow.compared[Pair("allow", "deny")] == count
    assert len([line for line in caplog.records if line.name == "authz.shadow"]) == MAX_TOLD


def test_hops_beyond_the_queue_are_left_out_and_counted(tmp_path: Path) -> None:
    """A candidate that cannot keep up costs figures, not memory."""
    shadowed = Shadowed.of(tmp_path, FORBIDS)
    record = shadowed.running.decide(shadowed.hop)
    shadowed.compare(*[record] * (MAX_WAITING + 7))
    assert shadowed.gauges()["authz.policy.shadow.left_out"] == 7
    assert shadowed.gauges()["authz.policy.shadow.compared"] == MAX_WAITING


def test_a_hop_that_met_no_policy_is_not_compared(tmp_path: Path) -> None:
    """What was denied before policies were asked says nothing of them."""
    shadowed = Shadowed.of(tmp_path, FORBIDS)
    shadowed.compare(shadowed.running.decide(shadowed.world.check(None)))
    assert not shadowed.shadowing.shadow.compared


@pytest.mark.parametrize("text", ["", "permit (", '@id("x") permit (principal, action == Action::"none", resource);'])
def test_a_bad_candidate_is_refused_and_the_last_one_is_asked_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    """As a bad live set is, with file and line in the log; a mended one is taken into use and counted from nought."""
    shadowed = Shadowed.of(tmp_path, FORBIDS)
    record = shadowed.running.decide(shadowed.hop)
    shadowed.compare(record)
    shadowed.candidate.write_text(text)
    shadowed.look()
    assert "candidate policies" in caplog.text
    assert "crm.cedar" in caplog.text
    assert shadowed.gauges()["authz.policy.shadow.up"] == 0
    shadowed.compare(record)
    assert shadowed.shadowing.shadow.compared == {Pair("allow", "deny"): 2}
    shadowed.candidate.write_text(POLICIES)
    shadowed.look()
    assert shadowed.gauges()["authz.policy.shadow.up"] == 1
    shadowed.compare(record)
    assert shadowed.shadowing.shadow.compared == {Pair("allow", "allow"): 1}


def test_a_candidate_of_another_catalog_is_not_asked(tmp_path: Path) -> None:
    """Between a change of the catalog and the candidate's own, its answers would be about other operations."""
    shadowed = Shadowed.of(tmp_path, FORBIDS)
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(catalog.read_text() + "\n")
    asyncio.run(shadowed.live_reload.look(is_whole=True))
    record = shadowed.running.decide(shadowed.hop)
    shadowed.compare(record)
    assert not shadowed.shadowing.shadow.compared
    shadowed.look()
    shadowed.compare(record)
    assert shadowed.shadowing.shadow.compared == {Pair("allow", "deny"): 1}


def told(receiver: Receiver) -> dict[tuple[object, object], float]:
    """How many hops, by what both said, as last reported."""
    name = "authz.policy.shadow.compared"
    try:
        points = [(plain(point.attributes), point.as_double) for point in receiver.latest(name).gauge.data_points]
    except IndexError:
        return {}
    return {(at["authz.decision"], at["authz.policy.shadow.decision"]): value for at, value in points}


def test_a_running_server_answers_by_the_live_policies_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the candidate says, fails at or is; what it would change is in the metrics and in the log."""
    address = f"127.0.0.1:{free_port()}"
    (tmp_path / "next").mkdir()
    candidate = tmp_path / "next" / "crm.cedar"
    candidate.write_text("permit (")
    plaintext = {"listen": address, "transport": "plaintext", "drain_seconds": 0, "stop_grace_seconds": 1}
    policy = {"directory": "policies", "shadow_directory": "next"}
    world = World(tmp_path, settings={"server": plaintext, "policy": policy})
    hop = world.check(world.start_task().id)
    with grpc_receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", receiver.endpoint)
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "100")
        with serve(world.config_file, address) as running:
            until(lambda: "candidate policies are not in use" in running.log())

            def take_and_check(text: str, number: int, expected: str) -> None:
                candidate.write_text(text)
                running.process.send_signal(signal.SIGHUP)
                until(lambda: running.log().count("are in use") == number)
                assert [running.check(hop).status.code for _ in range(3)] == [0, 0, 0]
                until(lambda: told(receiver) == {("allow", expected): 3})

            take_and_check(FORBIDS, 1, "deny")
            take_and_check(ERRS, 2, "error")
            take_and_check(POLICIES, 3, "allow")
            assert running.log().count("where allow is in force") == 2
            assert world.last_record()["decision"] == "allow"


def test_the_live_policies_are_asked_first_and_alone(tmp_path: Path) -> None:
    """Nothing is asked of the candidate until the answer has gone out and its turn has come."""
    shadowed = Shadowed.of(tmp_path, FORBIDS)
    record = shadowed.running.decide(shadowed.hop)
    shadowed.shadowing.shadow.checked(record, 0.001)
    assert isinstance(record.decision, Allow)
    assert not shadowed.shadowing.shadow.compared
