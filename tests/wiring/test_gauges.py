"""What the metrics tell of trust, read from the parts that a configuration makes."""

from dataclasses import replace
from pathlib import Path

import pytest

from authz.wiring.gauges import rules_gauges, trust_gauges
from authz.wiring.knowledge import read
from authz.wiring.rules import Reload, Rules, look_at
from authz.wiring.trust import Trust
from tests.support.world import Running, World


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    """Bundle and SVID from files."""
    return read(World.guarded(tmp_path).config_file).trust


def readings(trust: Trust) -> dict[str, dict[str, float]]:
    """Every gauge, by the source that it is of."""
    return {
        gauge.name: {attributes.get("authz.trust.source", ""): value for value, attributes in gauge.read()}
        for gauge in trust_gauges(trust)
    }


def test_sources_that_are_in_force_are_up(trust: Trust) -> None:
    """Right after the start each source is up, has refused nothing, and our SVID has time left."""
    told = readings(trust)
    assert told["authz.trust.source.up"] == {"trust bundles": 1, "our own SVID": 1}
    assert told["authz.trust.source.refusals"] == {"trust bundles": 0, "our own SVID": 0}
    assert told["authz.trust.domains"] == {"": 1}
    assert 0 < told["authz.svid.remaining"][""] <= 86_400


def test_a_source_that_went_bad_is_down(trust: Trust, tmp_path: Path) -> None:
    """A bundle file that became rubbish is refused and seen, while the last good bundle counts on."""
    (tmp_path / "bundle.pem").write_text("rubbish")
    trust.look()
    told = readings(trust)
    assert told["authz.trust.source.up"] == {"trust bundles": 0, "our own SVID": 1}
    assert told["authz.trust.source.refusals"] == {"trust bundles": 1, "our own SVID": 0}
    assert told["authz.trust.domains"] == {"": 1}


def test_the_metrics_tell_what_the_cache_is_worth(tmp_path: Path) -> None:
    """Equal questions are one miss and then hits; a policy set that replaces another begins anew."""
    world = World(tmp_path)
    knowledge = read(world.config_file)
    rules = Rules(knowledge.catalog, knowledge.policy)
    reload = Reload(knowledge.settings, rules, look_at(knowledge.settings))
    running = world.pipeline()
    message = world.check(world.start_task().id)
    pipeline = Running(replace(running.pipeline, catalog=rules, policy=rules), running.store)
    for _ in range(5):
        pipeline.decide(message)
    running.close()
    gauges = {gauge.name: gauge for gauge in rules_gauges(rules, reload)}

    def told() -> dict[str, float]:
        names = ("hits", "misses", "rows", "evictions")
        return {name: next(iter(gauges[f"authz.policy.cache.{name}"].read()))[0] for name in names}

    first = told()
    assert first["hits"] + first["misses"] == 5
    assert first["misses"] in {1, 2}, "the first hop teaches the session what the second is asked about"
    assert first["rows"] >= 1
    assert first["evictions"] == 0
    assert list(gauges["authz.policy.slow"].read()) == []
    rules.replace(knowledge.catalog, read(world.config_file).policy)
    assert told()["hits"] == told()["misses"] == 0
