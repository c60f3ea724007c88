"""Policies alone: a decision that Cedar makes of what applies, among 10 to 10,000 policies; and one from the tables."""

import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import cedarpy

from authz.core.decision import Allow, conclude
from authz.core.hop import Operation
from authz.core.query import Query
from authz.policy.cedar import CedarPolicy
from authz.policy.files import policy_files
from authz.policy.source import load_policies
from bench.row import Row, median_us
from tests.policy.examples import COMPANY, GET_CONTACT, OPERATIONS, SUPPORT, query

COUNTS = (10, 100, 1_000, 10_000)
GROWTH_BOUND = 1.5
CACHED_BOUND_US = 5
ROUNDS = 15
SLICED_CALLS = 400
WHOLE_CALLS = 20
CACHED_CALLS = 40_000


@dataclass(frozen=True)
class _Asked:
    """A policy set to be asked, by what applies and as a whole, without any memory."""

    sliced: Callable[[], object]
    whole: Callable[[], object]


def rows() -> Iterator[Row]:
    """`uncached_10000_over_10_policies` and `decision_cached_us`."""
    question, asked = query(), list[_Asked]()
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as folder:
            policy = _policies(Path(folder), count)
        asked.append(_asked(policy, question))
    # In turns, so that whatever else this machine does meets all sizes alike.
    rounds = [[median_us(each.sliced, calls=SLICED_CALLS) for each in asked] for _ in range(ROUNDS)]
    sliced = [statistics.median(figures) for figures in zip(*rounds, strict=True)]
    whole = [median_us(each.whole, calls=WHOLE_CALLS) for each in asked]
    growth = statistics.median(figures[-1] / figures[0] for figures in rounds)
    how = (
        f"one hop, answered by Cedar of the policies that apply to it, among {', '.join(map(str, COUNTS))}; in us: "
        f"sliced {_listed(sliced)}; the whole set at once {_listed(whole)}"
    )
    yield Row("uncached_10000_over_10_policies", growth, "ratio", GROWTH_BOUND, how)
    policy.decide(question)
    policy.decide(question)
    cached_us = median_us(lambda: policy.decide(question), calls=CACHED_CALLS)
    if not policy.decide(question).from_cache:
        raise ValueError("the decision was not found in the tables")
    how = f"key and look-up among {COUNTS[-1]} policies, for a query that is made already; median of batches of 20"
    yield Row("decision_cached_us", cached_us, "us", CACHED_BOUND_US, how)


def _policies(folder: Path, count: int) -> CedarPolicy:
    """So many policies: those of a company, and else about single agents and single tools, each of which there is."""
    tools = tuple(_tool(index) for index in range(count // 2))
    written = COMPANY + "".join(islice(_about_one(tools), count - COMPANY.count("@id")))
    (folder / "0.cedar").write_text(written)
    return load_policies(policy_files(folder), (*OPERATIONS, *tools))


def _about_one(tools: tuple[Operation, ...]) -> Iterator[str]:
    for index, tool in enumerate(tools):
        hour = f"when {{ context.utc_hour == {index % 24} }};\n"
        yield f'@id("agent-{index}")\nforbid (principal == Agent::"{SUPPORT}-{index}", action, resource)\n{hour}'
        yield f'@id("tool-{index}")\nforbid (principal, action == Action::"{tool.action}", resource)\n{hour}'


def _tool(index: int) -> Operation:
    return replace(GET_CONTACT, action=f"crm.tool-{index}.get", resource=f"GET crm.example.org/{index}")


def _asked(policy: CedarPolicy, question: Query) -> _Asked:
    """The hop's question for it; as a whole with the places that the policies which apply read."""
    fresh = CedarPolicy.of(policy.policies, policy.vocabulary, policy.version, remembers=False)
    everything = cedarpy.PolicySet.from_str("\n".join(each.text for each in policy.policies))
    places = sorted({place for block in policy.blocks(question) for place in block.places})
    request = {
        "principal": {"type": "Agent", "id": question.agent.uri},
        "action": {"type": "Action", "id": question.operation.action},
        "resource": {"type": "Tool", "id": question.operation.resource},
        "context": policy.fields.context(question, places),
    }
    is_allowed = cedarpy.is_authorized(request, everything, policy.entities).decision is cedarpy.Decision.Allow
    if not is_allowed or not isinstance(conclude(fresh.decide(question)), Allow):
        raise ValueError("this hop is allowed, by the policies that apply and by the whole set")
    return _Asked(lambda: fresh.decide(question), lambda: cedarpy.is_authorized(request, everything, policy.entities))


def _listed(figures: list[float]) -> str:
    return ", ".join(f"{figure:,.0f}" for figure in figures)
