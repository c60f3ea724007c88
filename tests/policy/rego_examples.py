"""Rules in Rego as operators would write them, for the catalog of `examples`, and how they are loaded in tests."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from authz.core.errors import Place
from authz.policy.files import policy_files
from authz.policy.rego import RegoPolicy, RegoRule
from authz.policy.rego_input import RegoInput, facts_input
from authz.policy.rego_source import load_rego
from tests.policy.examples import ARGUMENTS, GROUPS

DECISION = "data.authz.decision"
WORDS: RegoInput = facts_input(GROUPS, ARGUMENTS)
NOTHING: Mapping[str, Any] = {}
GUARDED = frozenset({"x-task-id"})

GUARDRAILS = """
package authz

default decision := {"allow": false}

decision := {"allow": true, "policies": permits, "step_up": approvals} if {
    count(permits) > 0
    count(forbids) == 0
}

decision := {"allow": false, "policies": forbids} if count(forbids) > 0

permits contains "front-office-works-on-the-crm" if {
    "front-office" in input.agent.groups
    startswith(input.operation.dataset, "crm")
}

permits contains "support-sends" if {
    input.agent.path == "/ns/agents/sa/support"
    "egress" in input.operation.classes
}

forbids contains "no-egress-of-confidential-data" if {
    "egress" in input.operation.classes
    input.operation.sensitivity >= 2
}

forbids contains "within-the-ceiling" if input.operation.sensitivity > input.task.ceiling

approvals contains "owner" if {
    "write" in input.operation.classes
    not in_working_hours
}

in_working_hours if {
    input.time.utc_weekday <= 5
    input.time.utc_hour >= 8
    input.time.utc_hour < 18
}
"""
"""What `examples.COMPANY` says in Cedar, but that writes at night need an approval."""

DATA: dict[str, Any] = {
    "limits": {"crm": 1000, "mail": 5, "payroll": 0},
    "blocked": ["spiffe://example.org/ns/agents/sa/mallory"],
    "roles": {"/ns/agents/sa/support": ["read", "write"], "/ns/agents/sa/billing": ["read", "financial"]},
}

SETS: Mapping[str, str] = {
    "guardrails": GUARDRAILS,
    "plain": "package authz\n\ndecision if input.operation.sensitivity < 2\n",
    "false by default": "package authz\n\ndefault decision := false\n\ndecision if input.task.depth == 0\n",
    "roles in data": """
package authz

default decision := false

decision if {
    some class in data.roles[input.agent.path]
    class in input.operation.classes
    not input.agent.id in data.blocked
}
""",
    "limits in data": """
package authz

import data.limits

decision := {"allow": within, "policies": ["limits"]}

default within := false

within if {
    amount := object.get(input.arguments, "amount", 0)
    amount <= limits[input.operation.service]
}
""",
    "denials with words": """
package authz

decision := {"allow": count(deny) == 0}

deny contains sprintf("%s is not for %s", [input.operation.action, input.agent.path]) if {
    input.operation.dataset == "payroll.salaries"
    input.agent.path != "/ns/agents/sa/billing"
}

deny contains "strangers wrote what the session has read" if {
    input.session.untrusted_input
    "egress" in input.operation.classes
}
""",
    "recipients": """
package authz

default decision := {"allow": false}

decision := {"allow": true, "step_up": kinds} if input.operation.service in {"mail", "crm"}

kinds contains "recipient" if {
    to := input.arguments.to
    not endswith(to, "@example.org")
}

kinds contains "tags" if {
    some tag in input.arguments.tags
    not tag in {"a", "alice"}
}
""",
    "every": """
package authz

default decision := false

decision if {
    every dataset in input.session.datasets {
        startswith(dataset, "crm")
    }
    every class in input.operation.classes {
        class != "delete"
    }
}
""",
    "else": """
package authz

decision := {"allow": true, "policies": ["night"]} if {
    input.time.utc_hour < 6
} else := {"allow": false, "policies": ["morning"]} if {
    input.time.utc_hour < 12
} else := {"allow": true}
""",
    "functions": """
package authz

default decision := false

decision if level(input.operation.sensitivity) <= level(input.task.ceiling)

level(sensitivity) := 0 if sensitivity == 0

level(sensitivity) := 1 if {
    sensitivity > 0
    sensitivity < 3
}

level(3) := 2
""",
    "comprehensions": """
package authz

decision := {"allow": count(foreign) == 0, "policies": [name | some name in sort(foreign)]}

foreign := {dataset |
    some dataset in input.session.datasets
    not startswith(dataset, split(input.operation.dataset, ".")[0])
}
""",
    "numbers": """
package authz

default decision := false

decision if {
    input.task.age_seconds * 2 <= input.task.remaining_seconds + 3600
    abs(input.time.utc_hour - 12) < 7
    round(input.task.depth / 2) % 2 == 0
}
""",
    "objects of rules": """
package authz

decision := {"allow": verdicts[input.agent.path]}

verdicts[path] := ok if {
    some path, classes in data.roles
    ok := count({class | some class in classes} & {class | some class in input.operation.classes}) > 0
}
""",
    "patterns": """
package authz

default decision := true

decision := false if regex.match(`^crm\\.contacts?$`, input.operation.dataset)

decision := false if glob.match("mail.*", ["."], input.operation.action)
""",
    "conflicts": """
package authz

decision := true if input.operation.sensitivity < 2

decision := false if input.task.depth > 0
""",
    "several packages": """
package authz

import data.authz.words

default decision := false

decision if words.is_short(input.task.purpose)
""",
}
"""Each is a set, whose rule `data.authz.decision` decides; it may read DATA."""

MORE: Mapping[str, str] = {
    "several packages": "package authz.words\n\nis_short(text) if count(text) < 10\n",
}
"""The second file of a set."""


def texts_of(name: str) -> tuple[str, ...]:
    """The files of one of the SETS."""
    return (SETS[name], *([MORE[name]] if name in MORE else []))


def write(folder: Path, *texts: str, data: Mapping[str, Any] = NOTHING) -> Path:
    """These texts as `0.rego`, `1.rego` and so on of the folder, and the data."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(texts):
        (folder / f"{number}.rego").write_text(text)
    if data:
        (folder / "data.json").write_text(json.dumps(data))
    return folder


def load(folder: Path, *texts: str, data: Mapping[str, Any] = NOTHING) -> RegoPolicy:
    """The rules of these texts, as a server would load them."""
    return load_rego(policy_files(write(folder, *texts, data=data)), DECISION, WORDS, GUARDED)


def unexamined(*texts: str, data: Mapping[str, Any] = NOTHING) -> RegoPolicy:
    """The rules of these texts without a look at them, for tests that make engines by the thousand."""
    return RegoPolicy(
        version="unexamined",
        files=tuple((f"{number}.rego", text) for number, text in enumerate(texts)),
        data=json.dumps(data),
        decision=DECISION,
        rules=(RegoRule(DECISION, Place(Path("0.rego"), 1, 1), 1, is_function=False),),
        reads=(),
        input=WORDS,
        warnings=(),
        guarded=GUARDED,
    )
