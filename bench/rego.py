"""Rules in Rego in process: a decision among guardrails and rules about single agents, 5 to 1,000 of them."""

import statistics
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from authz.core.decision import Allow, conclude
from authz.policy.files import policy_files
from authz.policy.rego import RegoPolicy
from authz.policy.rego_input import facts_input
from authz.policy.rego_source import load_rego
from bench.row import Row, median_us
from tests.policy.examples import ARGUMENTS, GROUPS, query
from tests.policy.rego_examples import GUARDRAILS

AGENTS = (5, 100, 1_000)
BOUND_US = 100
ROUNDS = 7
CALLS = 400


def rows() -> Iterator[Row]:
    """`rego_uncached_us`."""
    question, policies = query(), [_policy(agents) for agents in AGENTS]
    if not all(isinstance(conclude(policy.decide(question)), Allow) for policy in policies):
        raise ValueError("this hop is allowed by all of them")
    rounds = [[median_us(partial(policy.decide, question), calls=CALLS) for policy in policies] for _ in range(ROUNDS)]
    medians = [statistics.median(figures) for figures in zip(*rounds, strict=True)]
    listed = ", ".join(f"{figure:,.0f}" for figure in medians)
    how = (
        "question, evaluation and verdict of one hop by guardrails and rules about so many single agents: "
        f"{', '.join(map(str, AGENTS))}; in us: {listed}. The row is the first"
    )
    yield Row("rego_uncached_us", medians[0], "us", BOUND_US, how)


def _policy(agents: int) -> RegoPolicy:
    """The guardrails, and rules about other agents."""
    rule = '\nforbids contains "agent-{0}" if {{\n    input.agent.id == "{1}-{0}"\n    input.time.utc_hour == {2}\n}}\n'
    others = "".join(rule.format(number, "spiffe://example.org/other", number % 24) for number in range(agents))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "guardrails.rego").write_text(GUARDRAILS)
        rules = others.split("\n\n")
        for first in range(0, len(rules), 300):
            text = "package authz\n\n" + "\n\n".join(rules[first : first + 300]) + "\n"
            (Path(folder) / f"agents-{first}.rego").write_text(text)
        return load_rego(policy_files(Path(folder)), "data.authz.decision", facts_input(GROUPS, ARGUMENTS), frozenset())
