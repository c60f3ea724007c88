"""Query in, the document that Rego policies see out: one for every engine that knows Rego, as docs/opa.md shows it."""

import json
from collections.abc import Callable, Iterable, Mapping

from authz.core.query import Query

Question = Callable[[Query], bytes]
"""The document, in JSON; raises Refused where the request cannot be put into its words."""


def groups_by_agent(groups: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    """The names of each agent's groups, in order."""
    found: dict[str, list[str]] = {}
    for group in sorted(groups):
        for uri in groups[group]:
            found.setdefault(uri, []).append(group)
    return found


class FactsQuestion:
    """Asks about the facts that we know of a hop, which Cedar policies see too."""

    def __init__(self, groups: Mapping[str, tuple[str, ...]]) -> None:
        self._groups_of = groups_by_agent(groups)

    def __call__(self, query: Query) -> bytes:
        """The facts in JSON. Equal questions are equal bytes."""
        facts = facts_of(query, self._groups_of.get(query.agent.uri, ()))
        return json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()


def facts_of(query: Query, groups: Iterable[str]) -> dict[str, object]:
    """The facts of the hop and the groups of its agent."""
    operation, facts = query.operation, query.facts
    return {
        "agent": {
            "id": query.agent.uri,
            "trust_domain": query.agent.trust_domain,
            "path": query.agent.path,
            "groups": sorted(groups),
        },
        "operation": {
            "action": operation.action,
            "classes": sorted(map(str, operation.classes)),
            "resource": operation.resource,
            "service": operation.service,
            "dataset": operation.dataset,
            "sensitivity": int(operation.sensitivity),
            "privileged": operation.is_privileged,
            "brings_untrusted_input": operation.brings_untrusted_input,
        },
        "task": {
            "purpose": query.purpose,
            "owner": query.owner,
            "ceiling": int(query.ceiling),
            "depth": query.depth,
            "age_seconds": query.age_seconds,
            "remaining_seconds": query.remaining_seconds,
        },
        "time": {"utc_hour": query.utc_hour, "utc_weekday": query.utc_weekday},
        "session": {
            "actions": sorted(facts.actions),
            "classes": sorted(map(str, facts.classes)),
            "datasets": sorted(facts.datasets),
            "high_water": int(facts.high_water),
            "untrusted_input": facts.untrusted_input,
        },
        "arguments": {
            name: sorted(value) if isinstance(value, frozenset) else value for name, value in query.arguments.items()
        },
        "parameters": dict(query.parameters),
    }
