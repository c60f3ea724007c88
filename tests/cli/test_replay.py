"""`authz replay`: what a candidate policy set would change about hops that were answered."""

import asyncio
import json
import shutil
import tempfile
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.core.acts import Proceed, Put
from authz.core.approval import Approval
from authz.core.facts import Facts
from authz.core.hop import ActionClass, Sensitivity
from authz.core.outcome import Needs
from authz.core.record import Record
from authz.core.task import Grant
from authz.observe.audit_line import FIELDS, line
from authz.observe.audit_read import Answered, read_answers
from authz.wiring.policy_sets import Named, parts_of
from authz.wiring.replay import Replay
from tests.support.commands import Ended, authz
from tests.support.servers import free_port, serve
from tests.support.world import POLICIES, RESEARCH, SUPPORT, Running, World, arrival_now, make_task

PLANTED = """\
@id("support-works-on-contacts")
permit (principal == Agent::"spiffe://example.org/agent/support", action, resource in Dataset::"crm");

@id("research-reads")
permit (principal == Agent::"spiffe://example.org/agent/research", action in Action::"read", resource);

@id("no-egress-above-internal")
forbid (principal, action in Action::"egress", resource) when { context.sensitivity > 2 };
"""
"""POLICIES with a slip: 2 for 1, so that confidential data may leave."""

CANDIDATES = {
    "the same": POLICIES,
    "planted": PLANTED,
    "nothing": '@id("x") forbid (principal, action, resource);',
    "step-up": POLICIES + '@id("ask") @step_up("owner") forbid (principal, action in Action::"write", resource);',
    "session": POLICIES + '@id("s") forbid (principal, action, resource) when { context.session.high_water >= 1 };',
    "seen": POLICIES
    + '@id("s") forbid (principal, action, resource) when { context.session.datasets.contains("crm.notes") };',
    "ages": POLICIES + '@id("a") forbid (principal, action, resource) when { context.task.remaining_seconds < 1800 };',
    "depth": POLICIES + '@id("d") forbid (principal, action, resource) when { context.task.depth > 0 };',
    "ceiling": POLICIES + '@id("c") forbid (principal, action, resource) when { context.task.ceiling < 2 };',
    "purpose": POLICIES
    + '@id("p") forbid (principal, action, resource) unless { context.task.purpose like "answer*" };',
}


@dataclass(frozen=True)
class Checked:
    """A check and what came of it."""

    message: bytes
    record: Record


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A configuration with a task store."""
    return World(tmp_path_factory.mktemp("replay"))


def decide(running: Running, message: bytes, at: float | None = None) -> Record:
    """As the server decides, but nothing is kept, so that the session stays as it is."""
    arrival = arrival_now(at)
    for _ in range(5):
        running.store.peek()
        outcome = running.pipeline.check(arrival, message)
        if not isinstance(outcome, Needs):
            return outcome.record
        asyncio.run(running.store.fetch(outcome.of_tasks))
    raise AssertionError("the check was never decided")


def messages(world: World) -> Iterator[bytes]:
    """Hops of several agents, on tasks of several kinds and pasts."""
    grants = (Grant.parse("read,write,delete,egress:crm"),)
    seen = Facts(frozenset({"crm.notes.read"}), frozenset({ActionClass.READ}), frozenset({"crm.notes"}), Sensitivity(2))
    plain = make_task(grants=grants, ceiling=Sensitivity.CONFIDENTIAL)
    child = replace(plain, id=f"{plain.id}.0001", ceiling=Sensitivity.INTERNAL)
    late = make_task(grants=grants, expires_unix_seconds=plain.starts_unix_seconds + 900, purpose="tidy up")
    read_much = make_task(grants=grants, ceiling=Sensitivity.CONFIDENTIAL)
    for task in (plain, child, late, read_much):
        world.do(Put(task))
    world.do(Proceed(read_much.id, "another hop", seen, 0.0, frozenset(), frozenset()))
    for task in (plain, child, late, read_much):
        yield world.check(task.id)
        yield world.check(task.id, method="PUT")
        yield world.check(task.id, method="DELETE")
        yield world.check(task.id, method="POST", path="/exports")
        yield world.check(task.id, path="/payroll/7")
    yield world.check(plain.id, agent=RESEARCH)
    yield world.check(None)


@pytest.fixture(scope="module")
def checked(world: World) -> list[Checked]:
    """The hops, decided by the policies that are in force."""
    running = world.pipeline()
    found = [Checked(message, decide(running, message)) for message in messages(world)]
    running.close()
    assert {type(each.record.decision).__name__ for each in found} == {"Allow", "Deny"}
    return found


@pytest.fixture(scope="module")
def audit(world: World, checked: list[Checked]) -> Path:
    """Their audit log."""
    file = world.folder / "recorded.jsonl"
    file.write_bytes(b"".join(line(each.record, 0.001) for each in checked))
    return file


def candidate(world: World, text: str) -> Path:
    """A folder of one policy file."""
    folder = world.folder / "candidate"
    folder.mkdir(exist_ok=True)
    (folder / "crm.cedar").write_text(text)
    return folder


def run(world: World, audit: Path, text: str, *options: str) -> Ended:
    """`authz replay` of the log against a candidate."""
    return authz("replay", "--config", world.config_file, "--policy", candidate(world, text), *options, audit)


def test_policies_that_did_not_change_change_nothing(world: World, audit: Path) -> None:
    """Replayed against the policies that answered, every hop is answered as it was; status 0."""
    ended = run(world, audit, POLICIES)
    assert ended.status == 0, ended.out
    assert "0 wider, 0 narrower, 0 denied for another reason" in ended.out
    assert "0 cannot be replayed, 0 lines are no records" in ended.out


def test_a_planted_slip_is_caught(world: World, audit: Path) -> None:
    """A forbid that became weaker is told with the hops that it would let through, and ends with status 1."""
    ended = run(world, audit, PLANTED)
    assert ended.status == 1
    assert "deny policy_forbids -> allow" in ended.out
    assert f"crm.export by {SUPPORT}" in ended.out
    assert "no-egress-above-internal -> support-works-on-contacts" in ended.out
    assert run(world, audit, PLANTED, "--fail-on", "narrower").status == 0
    assert run(world, audit, PLANTED, "--fail-on", "wider").status == 1


@pytest.mark.parametrize("name", CANDIDATES)
def test_a_replayed_hop_is_decided_as_the_server_would_decide_it(
    world: World, checked: list[Checked], audit: Path, name: str
) -> None:
    """For each hop the replay says what the server would say of the same check at that time, under the candidate."""
    folder = candidate(world, CANDIDATES[name])
    replayed = list(Replay(parts_of(Named(world.config_file, policies=(folder,))).read()).of_file(audit))
    (world.folder / name).mkdir()
    other = World(world.folder / name, world.ca)
    (other.folder / "policies" / "crm.cedar").write_text(CANDIDATES[name])
    shutil.copy(world.database, other.database)
    running = other.pipeline()
    for each, told in zip(checked, replayed, strict=True):
        expected = decide(running, each.message, each.record.arrival.unix_seconds).decision
        if told.change == "unaffected":
            assert expected == each.record.decision
            continue
        assert told.after is not None, told.why
        assert told.after.decision == expected.word
        assert told.after.policies == tuple(sorted(expected.policies))
    running.close()


def test_an_approved_hop_stays_allowed_while_the_same_approval_is_asked_for(
    world: World, checked: list[Checked]
) -> None:
    """What an approval let go on goes on under policies that ask for it; not under policies that ask for another."""
    record = checked[1].record
    approval = Approval("id", "digest", "owner", "alice", record.arrival.unix_seconds + 60)
    file = world.folder / "approved.jsonl"
    file.write_bytes(line(replace(record, approvals=(approval,)), 0.001))
    assert run(world, file, CANDIDATES["step-up"]).status == 0
    ended = run(world, file, CANDIDATES["step-up"].replace('"owner"', '"security"'))
    assert ended.status == 1
    assert "allow -> step_up (security)" in ended.out


def test_what_the_log_does_not_hold_is_not_guessed(world: World, checked: list[Checked]) -> None:
    """A hop whose parameter a policy reads is told apart, with the policy and the remedy; named values are replayed."""
    record = checked[0].record
    reads = POLICIES + '@id("vip") forbid (principal, action, resource) when { context.parameters.contact_id == "42" };'
    guarded = reads.replace(
        "context.parameters.contact_id ==", "context.parameters has contact_id && context.parameters.contact_id =="
    )
    file = world.folder / "values.jsonl"
    file.write_bytes(line(record, 0.001))
    ended = run(world, file, guarded, "--complete")
    assert ended.status == 1
    assert "vip reads context.parameters.contact_id, whose value the log does not hold" in ended.out
    assert "name 'contact_id' in audit.values" in ended.out
    file.write_bytes(line(record, 0.001, frozenset({"contact_id"})))
    ended = run(world, file, guarded)
    assert "allow -> deny policy_forbids" in ended.out


def test_that_a_value_is_there_can_be_replayed_without_it(world: World, checked: list[Checked]) -> None:
    """A policy that only asks whether a parameter is present needs no value."""
    file = world.folder / "present.jsonl"
    file.write_bytes(line(checked[0].record, 0.001))
    text = POLICIES + '@id("any") forbid (principal, action, resource) when { context.parameters has contact_id };'
    assert "allow -> deny policy_forbids" in run(world, file, text).out


def test_an_entry_that_is_another_now_is_not_replayed(world: World, checked: list[Checked]) -> None:
    """Where the catalog's entry went or changed, the hop is told apart rather than judged by what it is not."""
    file, catalog = world.folder / "one.jsonl", world.folder / "other-catalog.yaml"
    file.write_bytes(line(checked[0].record, 0.001))
    text = (world.folder / "catalog.yaml").read_text()
    for changed, told in (
        (text.replace("/contacts/{contact_id}", "/people/{contact_id}"), "the catalog has no crm.contact.read as"),
        (text.replace("sensitivity: internal", "sensitivity: public"), "is of another sensitivity now"),
        (
            text.replace(
                "{action: crm.contact.read,",
                "{action: crm.contact.read, arguments: {who: {at: /path/contact_id, kind: text}},",
            ),
            "has arguments now that it had not: who",
        ),
    ):
        catalog.write_text(changed)
        ended = run(world, file, POLICIES, "--catalog", str(catalog))
        assert told in ended.out
        assert ended.status == 1  # nothing was replayed


def test_lines_that_are_no_records_are_counted(world: World, audit: Path) -> None:
    """Torn, foreign and overlong lines neither stop the replay nor count as hops."""
    file = world.folder / "torn.jsonl"
    torn = [b'{"time":', b"[]", b'"x"', b"{}", b"\xff\xfe", b"x" * 100_000, b'{"time":"yesterday"}', b"[" * 50_000]
    file.write_bytes(b"\n".join(torn) + b"\n\n" + audit.read_bytes())
    ended = run(world, file, POLICIES, "--json")
    assert ended.status == 0, ended.out
    assert json.loads(ended.out)["counts"]["unreadable"] == len(torn)
    assert run(world, file, POLICIES, "--complete").status == 1


def test_nothing_replayed_is_not_success(world: World) -> None:
    """An empty log, or one of hops that policies did not decide, ends with status 1 and says so."""
    file = world.folder / "empty.jsonl"
    file.write_bytes(b"")
    ended = run(world, file, POLICIES)
    assert ended.status == 1
    assert "nothing was replayed" in ended.out


def test_a_log_of_any_length_takes_little_memory(world: World, audit: Path) -> None:
    """Ten thousand lines more take no more memory."""
    file = world.folder / "long.jsonl"
    one = audit.read_bytes().splitlines(keepends=True)[0]
    file.write_bytes(one * 10_000)
    assert file.stat().st_size > 10_000_000
    tracemalloc.start()
    count = sum(isinstance(each, Answered) for each in read_answers(file))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 10_000
    assert peak < 1_000_000


@given(
    st.binary(max_size=300)
    | st.builds(
        json.dumps,
        st.dictionaries(st.sampled_from(FIELDS), st.none() | st.text() | st.integers() | st.lists(st.text())),
    ).map(str.encode)
)
def test_any_bytes_are_a_record_or_told_apart(content: bytes) -> None:
    """Whatever stands in a log, reading it ends without a fault."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        assert len(list(read_answers(Path(file.name)))) <= content.count(b"\n") + 1


def test_machines_get_json(world: World, audit: Path) -> None:
    """`--json` has the counts, and each kind of change with both sides and its first decision."""
    document = json.loads(run(world, audit, PLANTED, "--json").out)
    assert document["counts"]["wider"] == sum(each["hops"] for each in document["changes"] if each["change"] == "wider")
    (change,) = (each for each in document["changes"] if each["action"] == "crm.export")
    assert change["before"]["policies"] == ["no-egress-above-internal"]
    assert change["after"]["decision"] == "allow"
    assert change["first_decision_id"]


def test_a_candidate_that_does_not_load_is_refused(world: World, audit: Path) -> None:
    """A candidate with an error is told with file, line and remedy; status 2."""
    ended = run(world, audit, "permit (principal, action, resource);")
    assert ended.status == 2
    assert "the policy has no @id" in ended.err


def test_a_running_servers_log_is_replayed_and_explained(tmp_path: Path) -> None:
    """What a server wrote, with the values that `audit.values` names, is enough for the tools beside it."""
    address = f"127.0.0.1:{free_port()}"
    server = {"listen": address, "transport": "plaintext", "drain_seconds": 0, "stop_grace_seconds": 1}
    audit = {"file": "audit.jsonl", "values": ["contact_id"]}
    world = World(tmp_path, settings={"server": server, "audit": audit})
    task = world.start_task()
    with serve(world.config_file, address) as running:
        assert running.check(world.check(task.id)).status.code == 0
    log = world.folder / "audit.jsonl"
    condition = 'context.parameters has contact_id && context.parameters.contact_id == "42"'
    reads = f'@id("vip") forbid (principal, action, resource) when {{ {condition} }};'
    ended = run(world, log, POLICIES + reads, "--json")
    (change,) = json.loads(ended.out)["changes"]
    assert (change["before"]["decision"], change["after"]["policies"]) == ("allow", ["vip"])
    id = change["first_decision_id"]
    told = authz("explain", "--config", world.config_file, "--audit", log, "--decision", id)
    assert "support-works-on-contacts permits it" in told.out
