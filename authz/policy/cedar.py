"""Query in, Verdict out: Cedar evaluates every policy of the set.

Each policy is handed to Cedar as a `forbid`, whatever its effect. Cedar leaves permits unnamed where a forbid is
satisfied; so asked, it names all that are satisfied, and its own decision can never be an allow. Which of them
permit is remembered here, and what follows from that is decided in `authz.core.decision`, for all engines alike.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

import cedarpy
from cedarpy import pst

from authz.core.decision import Verdict
from authz.core.hop import Operation
from authz.core.query import Query
from authz.policy.schema import Vocabulary

_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CedarPolicy:
    """A policy set and the catalog it was loaded for. `of` is the way to make one."""

    version: str
    operations: frozenset[Operation]
    ids: frozenset[str]
    permits: frozenset[str]  # ids; every other policy forbids
    all_as_forbids: cedarpy.PolicySet
    entities: cedarpy.Entities

    @classmethod
    def of(cls, policies: Iterable[pst.Template], vocabulary: Vocabulary, version: str) -> Self:
        """The engine for these policies, whose ids are those that verdicts name; raises NotAVocabulary."""
        ours = tuple(policies)
        static = pst.FrozenMap({policy.id: replace(policy, effect="forbid") for policy in ours})
        return cls(
            version=version,
            # As a query can say them: it holds neither of the two marks.
            operations=frozenset(
                replace(each, is_privileged=False, brings_untrusted_input=False) for each in vocabulary.operations
            ),
            ids=frozenset(policy.id for policy in ours),
            permits=frozenset(policy.id for policy in ours if policy.effect == "permit"),
            all_as_forbids=cedarpy.PolicySet.from_pst(pst.PolicySet(pst.FrozenMap(), static, ()), release_gil=True),
            entities=vocabulary.entities(),
        )

    def decide(self, query: Query) -> Verdict:
        """The satisfied policies; whatever goes wrong is an error in the verdict."""
        try:
            return self._ask(query)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  a panic in Cedar is no Exception, and must deny too
            return self._failed(f"{type(error).__name__}: {error}")

    def _ask(self, query: Query) -> Verdict:
        if _operation(query) not in self.operations:
            # To Cedar an unknown tool lies in no dataset, so a policy that forbids the dataset would not forbid it.
            return self._failed(f"the policies were loaded for a catalog without {query.action!r} as asked")
        result = cedarpy.is_authorized(_request(query), self.all_as_forbids, self.entities)
        errors = tuple(sorted(result.diagnostics.errors))
        if result.decision is not cedarpy.Decision.Deny:
            return self._failed(*(errors or (f"Cedar answered {result.decision.value}",)))
        satisfied = frozenset(result.diagnostics.reasons)
        return Verdict(satisfied & self.permits, satisfied - self.permits, errors, self.version)

    def _failed(self, *errors: str) -> Verdict:
        return Verdict(_NOTHING, _NOTHING, errors, self.version)


def _operation(query: Query) -> Operation:
    return Operation(query.action, query.classes, query.resource, query.service, query.dataset, query.sensitivity)


def _request(query: Query) -> dict[str, object]:
    """The request as `schema.cedarschema` describes it. Cedar is not given the schema again: a Query has its types."""
    context = {
        "task": {"purpose": query.purpose, "owner": query.owner, "ceiling": query.ceiling},
        "classes": sorted(map(str, query.classes)),
        "dataset": query.dataset,
        "sensitivity": query.sensitivity,
        "utc_hour": query.utc_hour,
        "utc_weekday": query.utc_weekday,
    }
    return {
        "principal": {"type": "Agent", "id": query.agent.uri},
        "action": {"type": "Action", "id": query.action},
        "resource": {"type": "Tool", "id": query.resource},
        "context": json.dumps(context),
    }
