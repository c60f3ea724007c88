"""Rules in Rego that decide in the server's pipeline, and change while checks go on."""

import asyncio
import hashlib
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from authz.core.decision import Allow
from authz.core.errors import Unusable
from authz.core.query import Query
from authz.core.record import Record
from authz.wiring.knowledge import read
from authz.wiring.rules import Reload, Rules, look_at
from authz.wiring.shadow import Shadowing
from tests.support.rego import DENIES, RULES, rego_world
from tests.support.world import Running, World


@contextmanager
def running(world: World) -> Iterator[Running]:
    """The real pipeline."""
    found = world.pipeline()
    try:
        yield found
    finally:
        found.close()


@dataclass
class Reloading:
    """A pipeline whose rules follow their files, looked at by hand."""

    world: World
    running: Running
    rules: Rules
    reload: Reload
    hop: bytes

    @property
    def file(self) -> Path:
        """The one file of rules."""
        return self.world.folder / "rules" / "crm.rego"

    def is_allowed(self) -> bool:
        """Whether the hop is."""
        return isinstance(self.running.decide(self.hop).decision, Allow)

    def look(self, times: int = 2) -> None:
        """Look at the files."""
        for _ in range(times):
            asyncio.run(self.reload.look())


@pytest.fixture
def reloading(tmp_path: Path) -> Iterator[Reloading]:
    """With these rules in force."""
    with reloads(rego_world(tmp_path)) as found:
        yield found


@contextmanager
def reloads(world: World) -> Iterator[Reloading]:
    """With the files of this world in force."""
    knowledge = read(world.config_file)
    rules = Rules(knowledge.catalog, knowledge.policy)
    with running(world) as found:
        found.pipeline = replace(found.pipeline, catalog=rules, policy=rules)
        reload = Reload(knowledge.settings, rules, look_at(knowledge.settings))
        yield Reloading(world, found, rules, reload, world.check(world.start_task().id))


def decided(world: World) -> Record:
    """A hop, decided."""
    with running(world) as found:
        return found.decide(world.check(world.start_task().id))


def test_rules_decide_hops_in_the_story(tmp_path: Path) -> None:
    """A hop that the rules allow is allowed, by the policies that they name and the version of their files."""
    world = rego_world(tmp_path)
    record = decided(world)
    assert isinstance(record.decision, Allow)
    assert record.decision.policies == {"support-works-on-contacts"}
    assert record.verdict is not None
    assert record.verdict.version == read(world.config_file).policy.version


def test_a_group_that_is_left_denies(tmp_path: Path) -> None:
    """The groups of the configuration are what rules see."""
    assert not isinstance(decided(rego_world(tmp_path, groups={})).decision, Allow)


def test_a_change_is_taken_into_use_and_a_bad_one_is_not(reloading: Reloading) -> None:
    """Rules that deny take their place at the second look; a file that cannot be used changes nothing and is told."""
    assert reloading.is_allowed()
    reloading.file.write_text(DENIES)
    reloading.look(1)
    assert reloading.is_allowed()
    reloading.look()
    assert not reloading.is_allowed()
    assert reloading.reload.loads == 1
    reloading.file.write_text(RULES.replace('"support" in', "typo in"))
    reloading.look()
    assert not reloading.is_allowed()
    assert "nothing gives typo a value" in reloading.reload.trouble
    reloading.file.write_text(RULES)
    reloading.look()
    assert reloading.is_allowed()
    assert not reloading.reload.trouble


def test_data_are_part_of_the_rules(reloading: Reloading) -> None:
    """A data.json that changes is a change; one that is taken away, and that the rules read, is refused."""
    data = reloading.file.with_name("data.json")
    before = reloading.rules.version
    data.write_text('{"limits": {"egress": 0}}')
    reloading.look()
    assert reloading.rules.version != before
    data.unlink()
    reloading.look()
    assert "nothing is at data.limits" in reloading.reload.trouble
    assert reloading.is_allowed()


def test_a_file_of_digests_is_held_against_all_files(tmp_path: Path) -> None:
    """Where the settings name one, a start and a reload take the files as they are listed, data.json among them."""
    digests = tmp_path / "SHA256SUMS"
    digests.write_text("")
    world = rego_world(tmp_path, digests_file="SHA256SUMS")
    with pytest.raises(Unusable, match=r"data\.json: is not listed"):
        read(world.config_file)
    for name in ("crm.rego", "data.json"):
        content = (tmp_path / "rules" / name).read_bytes()
        with digests.open("a") as file:
            file.write(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
    with reloads(world) as reloading:
        assert reloading.is_allowed()
        reloading.file.write_text(DENIES)
        reloading.look()
        assert "is not the file that" in reloading.reload.trouble
        assert reloading.is_allowed()


def test_no_corruption_of_a_file_allows_what_was_denied(tmp_path: Path) -> None:
    """Files that were cut or changed at random are refused, or never allow a hop that the whole files deny."""
    world = rego_world(tmp_path, groups={})  # so the hop is denied
    choose = random.Random(4)  # noqa: S311  the same ones each time
    with reloads(world) as reloading:
        for _ in range(25):
            text = RULES.encode()
            cut = text[: choose.randrange(len(text))]
            reloading.file.write_bytes(cut)
            reloading.look()
            assert not reloading.is_allowed(), cut


def test_checks_go_on_while_many_rules_are_loaded(reloading: Reloading) -> None:
    """While a set of 1,000 rules is loaded, no check waits for as long as that takes, nor for half of it."""
    many = "\n\n".join(
        f'forbids contains "agent-{number}" if {{\n    input.agent.id == "spiffe://example.org/agent/{number}"\n'
        f"    input.time.utc_hour == {number % 24}\n}}"
        for number in range(1000)
    )
    lines = many.split("\n\n")
    for number in range(0, len(lines), 200):
        part = "package authz\n\n" + "\n\n".join(lines[number : number + 200]) + "\n"
        reloading.file.with_name(f"many-{number}.rego").write_text(part)

    record = reloading.running.decide(reloading.hop)
    assert record.identity
    assert record.errand
    assert record.hop
    query = Query.about(record.identity, record.errand, record.hop, record.arrival.unix_seconds)

    async def checking() -> float:
        loading = asyncio.create_task(reloading.reload.look(is_whole=True))
        longest, first = 0.0, time.perf_counter()
        while not loading.done():
            began = time.perf_counter()
            assert reloading.rules.decide(query).permits
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - began)
        await loading
        return longest / (time.perf_counter() - first)

    longest = asyncio.run(checking())
    assert reloading.reload.loads == 1, reloading.reload.trouble
    assert longest < 0.5, longest


def test_a_candidate_in_rego_is_compared(tmp_path: Path) -> None:
    """Where rules in Rego decide, the candidate is in Rego too, and what it would change is counted."""
    world = rego_world(tmp_path, shadow_directory="candidate")
    (tmp_path / "candidate").mkdir()
    (tmp_path / "candidate" / "crm.rego").write_text(DENIES)
    with reloads(world) as reloading:
        (shadowing,) = Shadowing.of(read(world.config_file).settings, reloading.rules, reloading.reload)
        asyncio.run(shadowing.reload.look(is_whole=True))
        assert shadowing.shadow.version
        shadowing.shadow.checked(reloading.running.decide(reloading.hop), 0.0)
        shadowing.shadow.ask(1.0)
        assert dict(shadowing.shadow.compared) == {("allow", "deny"): 1}


@pytest.mark.parametrize(
    ("policy", "cause"),
    [
        ({"engine": "cedar", "directory": "policies", "rego": {"rule": "data.a.b"}}, "goes with policy.engine: rego"),
        ({"rego": {"rule": "authz/decision"}}, "write the path of one rule"),
        ({"rego": {"rule": "data.authz.nowhere"}}, "the rule data.authz.nowhere is not there"),
        ({"directory": "policies"}, "is in Cedar"),
    ],
)
def test_settings_that_mean_nothing_are_refused(tmp_path: Path, policy: dict[str, object], cause: str) -> None:
    """A rule for another engine, one that is spelt wrong or is not there, and a folder in another language."""
    with pytest.raises(Unusable, match=cause):
        read(rego_world(tmp_path, **policy).config_file)
