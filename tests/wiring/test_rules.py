"""Policies and catalog that change while checks go on: what is taken into use, when, and what never is."""

import asyncio
import hashlib
import logging
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from authz.core.decision import Allow
from authz.policy.cedar import CedarPolicy
from authz.wiring.gauges import rules_gauges
from authz.wiring.knowledge import read
from authz.wiring.rules import Reload, Rules, look_at
from tests.support.world import CATALOG, POLICIES, Running, World

CORRUPTIONS = int(os.environ.get("AUTHZ_CORRUPTIONS", "150"))
"""How many are tried; 10,000 take some minutes."""
NOTHING_ALLOWED = '@id("nothing")\nforbid (principal, action, resource);\n'


@dataclass
class Reloading:
    """A pipeline whose rules follow their files, looked at by hand."""

    world: World
    running: Running
    rules: Rules
    reload: Reload
    hop: bytes

    @classmethod
    def of(cls, world: World) -> "Reloading":
        """With the files of this world in force."""
        knowledge = read(world.config_file)
        rules = Rules(knowledge.catalog, knowledge.policy)
        running = world.pipeline()
        running.pipeline = replace(running.pipeline, catalog=rules, policy=rules)
        reload = Reload(knowledge.settings, rules, look_at(knowledge.settings))
        return cls(world, running, rules, reload, world.check(world.start_task().id))

    @property
    def policies(self) -> Path:
        """The one policy file."""
        return self.world.folder / "policies" / "crm.cedar"

    def is_allowed(self) -> bool:
        """Whether the hop is."""
        return isinstance(self.running.decide(self.hop).decision, Allow)

    def look(self, times: int = 2, *, is_whole: bool = False) -> None:
        """Look at the files."""
        for _ in range(times):
            asyncio.run(self.reload.look(is_whole=is_whole))

    def gauges(self) -> dict[str, float]:
        """What the metrics tell."""
        return {gauge.name: value for gauge in rules_gauges(self.rules, self.reload) for value, _ in gauge.read()}


@pytest.fixture
def reloading(tmp_path: Path) -> Reloading:
    """A hop that is allowed."""
    made = Reloading.of(World(tmp_path))
    assert made.is_allowed()
    return made


def test_changed_policies_count_once_they_looked_the_same_twice(reloading: Reloading) -> None:
    """A write that is still going on is not read: the first look that sees a change waits for the next."""
    version = reloading.rules.version
    reloading.policies.write_text(NOTHING_ALLOWED)
    reloading.look(1)
    assert reloading.is_allowed()
    reloading.look(1)
    assert not reloading.is_allowed()
    assert reloading.rules.version != version
    record = reloading.running.decide(reloading.hop)
    assert record.verdict is not None
    assert record.verdict.version == reloading.rules.version
    assert reloading.gauges()["authz.policy.loads"] == 1


def test_who_says_that_the_files_are_whole_need_not_wait(reloading: Reloading) -> None:
    """SIGHUP reads what changed at once."""
    reloading.policies.write_text(NOTHING_ALLOWED)
    reloading.look(1, is_whole=True)
    assert not reloading.is_allowed()


def test_a_config_map_is_swapped_whole(tmp_path: Path) -> None:
    """Kubernetes swaps one link; what it led to before and after is never mixed."""
    world = World(tmp_path)
    folder = tmp_path / "policies"
    (folder / "crm.cedar").unlink()
    for name, text in {"..one": POLICIES, "..two": NOTHING_ALLOWED}.items():
        (folder / name).mkdir()
        (folder / name / "crm.cedar").write_text(text)
    (folder / "..data").symlink_to("..one")
    (folder / "crm.cedar").symlink_to("..data/crm.cedar")
    reloading = Reloading.of(world)
    assert reloading.is_allowed()
    (folder / "..next").symlink_to("..two")
    (folder / "..next").rename(folder / "..data")
    reloading.look()
    assert not reloading.is_allowed()


def test_catalog_and_policies_change_together(reloading: Reloading) -> None:
    """A policy about an action that is new in the catalog loads with it; without it, both stay as they were."""
    catalog = reloading.world.folder / "catalog.yaml"
    name = next(iter(reloading.rules.classes_of))
    renamed = NOTHING_ALLOWED.replace("action,", f'action == Action::"{name}x",')
    reloading.policies.write_text(renamed)
    reloading.look()
    assert f"{name}x" in reloading.reload.trouble
    catalog.write_text(CATALOG.replace(name, f"{name}x"))
    reloading.look()
    assert reloading.reload.trouble == ""
    assert f"{name}x" in reloading.rules.classes_of


@pytest.mark.parametrize(
    "text", ["", "permit (", "// nothing\n", "\x00", '@id("x") permit (principal, action, resource)']
)
def test_a_bad_set_is_refused_and_told_once(reloading: Reloading, caplog: pytest.LogCaptureFixture, text: str) -> None:
    """The last good policies stay, a gauge falls, the log has one line; and when it is mended, all is well."""
    before = reloading.policies.read_text()
    reloading.policies.write_text(text)
    with caplog.at_level(logging.ERROR, "authz.rules"):
        reloading.look(6)
    assert reloading.is_allowed()
    assert len(caplog.records) == 1
    assert "crm.cedar" in caplog.text
    assert reloading.gauges()["authz.policy.up"] == 0
    assert reloading.gauges()["authz.policy.refusals"] == 1
    reloading.policies.write_text(before)
    reloading.look()
    assert reloading.gauges()["authz.policy.up"] == 1


def test_an_emptied_folder_changes_nothing(reloading: Reloading) -> None:
    """Files that are gone are a refused change, not an empty policy set."""
    reloading.policies.unlink()
    reloading.look()
    assert reloading.is_allowed()
    assert "holds no policy file" in reloading.reload.trouble


def corrupted(content: bytes, chance: random.Random) -> bytes:
    """The content, cut short or with one bit flipped."""
    at = chance.randrange(len(content))
    if chance.random() < 0.5:
        return content[:at]
    return content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]) + content[at + 1 :]


def test_half_written_files_change_no_decision(reloading: Reloading) -> None:
    """Whatever a file holds between two looks, cut short or with a bit flipped, is not taken into use."""
    whole, chance = reloading.policies.read_bytes(), random.Random(1)  # noqa: S311  what to break
    for _ in range(CORRUPTIONS):
        reloading.policies.write_bytes(corrupted(whole, chance))
        reloading.look(1)
        assert reloading.is_allowed()
        reloading.policies.write_bytes(whole)
        reloading.look(1)
    assert reloading.reload.loads == 0


def test_with_digests_corrupt_files_change_no_decision_however_long_they_stay(tmp_path: Path) -> None:
    """Even a corrupt file that is valid Cedar is refused, at once and for good, where its digest is known."""
    policy = {"directory": "policies", "digests_file": "SHA256SUMS"}
    whole = POLICIES.encode()
    (tmp_path / "SHA256SUMS").write_text(f"{hashlib.sha256(whole).hexdigest()}  crm.cedar\n")
    reloading, chance = Reloading.of(World(tmp_path, settings={"policy": policy})), random.Random(2)  # noqa: S311  as above
    for _ in range(CORRUPTIONS):
        reloading.policies.write_bytes(corrupted(whole, chance))
        reloading.look(1, is_whole=True)
        assert reloading.is_allowed()
        assert "SHA256SUMS" in reloading.reload.trouble
    assert reloading.reload.loads == 0


def test_policies_that_cannot_be_made_ready_are_refused_like_others(
    reloading: Reloading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails between compiling and the swap is counted and told once, and what is in force stays."""

    def fails(_policy: CedarPolicy) -> Iterator[None]:
        raise RuntimeError("no engine for this thread")

    version = reloading.rules.version
    monkeypatch.setattr(CedarPolicy, "make_ready", fails)
    reloading.policies.write_text(NOTHING_ALLOWED)
    reloading.look(4)
    assert reloading.is_allowed()
    assert reloading.rules.version == version
    assert reloading.reload.refusals == 1
    assert "no engine for this thread" in reloading.reload.trouble
