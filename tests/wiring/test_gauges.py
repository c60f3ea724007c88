"""What the metrics tell of trust, read from the parts that a configuration makes."""

from pathlib import Path

import pytest

from authz.wiring.gauges import trust_gauges
from authz.wiring.knowledge import read
from authz.wiring.trust import Trust
from tests.support.world import World


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
