"""A world whose hops rules in Rego decide."""

import json
from collections.abc import Mapping
from pathlib import Path

from tests.support.world import SUPPORT, World

RULES = """package authz

default decision := {"allow": false}

decision := {"allow": true, "policies": permits, "step_up": approvals} if {
    count(permits) > 0
    count(forbids) == 0
}

permits contains "support-works-on-contacts" if {
    "support" in input.agent.groups
    startswith(input.operation.dataset, "crm.contacts")
}

forbids contains "no-egress-above-internal" if {
    "egress" in input.operation.classes
    input.operation.sensitivity > data.limits.egress
}

approvals contains "owner" if "delete" in input.operation.classes
"""
DATA = {"limits": {"egress": 1}}
DENIES = 'package authz\n\ndefault decision := {"allow": false}\n'


def policy(**changes: object) -> Mapping[str, object]:
    """The section of the configuration."""
    return {"engine": "rego", "directory": "rules", "groups": {"support": [SUPPORT]}, **changes}


def write_rules(folder: Path, *more: str) -> Path:
    """The folder `rules` with RULES and DATA, and these files too."""
    rules = folder / "rules"
    rules.mkdir(exist_ok=True)
    (rules / "crm.rego").write_text(RULES)
    (rules / "data.json").write_text(json.dumps(DATA))
    for number, text in enumerate(more):
        (rules / f"more-{number}.rego").write_text(text)
    return rules


def rego_world(folder: Path, **changes: object) -> World:
    """A world with these rules; changes are of the section `policy`."""
    write_rules(folder)
    return World(folder, settings={"policy": policy(**changes)})
