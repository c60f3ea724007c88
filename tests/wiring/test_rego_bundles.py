"""Bundles of rules in Rego: the same archive, signature and story as Cedar's, with data beside the rules."""

import json
from pathlib import Path

import pytest

from authz.core.decision import Allow
from authz.core.errors import Unusable
from authz.core.spiffe import SpiffeId
from authz.wiring.bundling import Order, make, make_key
from tests.support.world import POLICIES, RESEARCH, SUPPORT, World

RULES = 'package authz\n\nimport data.readers\n\ndecision := {"allow": true} if input.agent.id in readers\n'


def test_rules_in_rego_and_their_data_are_bundled_alike(tmp_path: Path) -> None:
    """With policy.engine: rego a signed bundle of rules and data decides; one of Cedar is refused by that engine."""
    rego, cedar = tmp_path / "rego", tmp_path / "cedar"
    for folder in (rego, cedar):
        folder.mkdir()
    (rego / "decision.rego").write_text(RULES)
    (rego / "data.json").write_text(json.dumps({"readers": [SUPPORT]}))
    (cedar / "crm.cedar").write_text(POLICIES)
    bundle = {"file": "bundle.tar.gz", "public_keys_file": "keys.json"}
    make_key(tmp_path / "signing.jwk", tmp_path / "keys.json")
    world = World(tmp_path, settings={"policy": {"engine": "rego", "bundle": bundle}})

    def publish(folder: Path) -> None:
        make(Order(folder, tmp_path / "signing.jwk"), tmp_path / "bundle.tar.gz", None)

    publish(rego)
    running = world.pipeline()
    try:
        record = running.decide(world.check(world.start_task().id))
        assert isinstance(record.decision, Allow), record.decision
        other = SpiffeId.parse(RESEARCH)
        message = world.check(world.start_task(agents=frozenset({other})).id, agent=RESEARCH)
        assert not isinstance(running.decide(message).decision, Allow)
    finally:
        running.close()
    publish(cedar)
    with pytest.raises(Unusable, match="is in Cedar, and Rego decides here"):
        world.pipeline()
