"""Blocks: policies of one scope and one effect, what they can observe, and the rows that Cedar has filled.

A row maps what a block can see of a query to its satisfied policies. It needs no lifetime: ages and clocks are
compared anew at each look-up, and the entities are fixed with the policy set. A row with an error is never kept.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import cedarpy
from cedarpy import pst

from authz.core.query import Query
from authz.policy.fields import Fields, Place
from authz.policy.keys import Above, Key, key_of, needed
from authz.policy.observations import Observation, observations, places
from authz.policy.scopes import Scope, scopes_of

MAX_ROWS = 4096
"""A table is emptied when it has as many: a policy that reads a free text by value could fill it."""
_MAX_OBSERVED = 12
"""A block that observes more is split, because its rows would rarely repeat."""

_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Written:
    """A policy as its author wrote it, and what was found out about it. Its tree is not kept: it is heavy."""

    id: str
    effect: str
    text: str
    scopes: tuple[Scope, ...]
    observed: frozenset[Observation]
    step_up: str = ""  # the kind of approval that lifts it

    @classmethod
    def of(cls, policy: pst.Template, text: str, fields: Fields) -> "Written":
        """The policy of this text, which has an @id; raises NotObservable."""
        return cls(
            policy.annotations["id"],
            policy.effect,
            text,
            tuple(scopes_of(policy)),
            observations(policy, fields),
            policy.annotations.get("step_up", ""),
        )


@dataclass(slots=True, eq=False)
class Block:
    """Some policies that are asked together, and what they have answered."""

    policies: tuple[Written, ...]
    key: Key
    places: tuple[Place, ...]  # in the context
    rows: dict[Hashable, frozenset[str]] = field(default_factory=dict)
    evictions: int = 0

    @property
    def permits(self) -> bool:
        """Whether they permit; else they forbid."""
        return self.policies[0].effect == "permit"

    def keep(self, key: Hashable, satisfied: frozenset[str]) -> None:
        """Remember what Cedar said."""
        if len(self.rows) >= MAX_ROWS:
            self.evictions += len(self.rows)
            self.rows.clear()
        self.rows[key] = satisfied

    def handle(self) -> cedarpy.PolicySet:
        """The policies for Cedar, each as a `forbid` whatever its effect.

        Cedar leaves permits unnamed where a forbid is satisfied; so asked, it names all that are satisfied, and its
        own decision can never be an allow.
        """
        parsed = cedarpy.policies_to_pst("\n".join(each.text for each in self.policies)).static_policies
        static = {policy.annotations["id"]: policy for policy in parsed.values()}
        forbids = pst.FrozenMap({id: replace(policy, id=id, effect="forbid") for id, policy in static.items()})
        if len(forbids) != len(self.policies):
            raise ValueError("a policy was lost between its text and Cedar")
        return cedarpy.PolicySet.from_pst(pst.PolicySet(pst.FrozenMap(), forbids, ()))


def make_blocks(policies: Iterable[Written], fields: Fields, above: Above) -> dict[Scope, tuple[Block, ...]]:
    """All policies by scope, in blocks of one effect."""
    together: defaultdict[tuple[Scope, str], list[Written]] = defaultdict(list)
    for policy in policies:
        for scope in policy.scopes:
            together[scope, policy.effect].append(policy)
    found: defaultdict[Scope, tuple[Block, ...]] = defaultdict(tuple)
    shared: dict[frozenset[Observation], Key] = {}
    for (scope, _), some in together.items():
        for part in _parts(some):
            observed = frozenset[Observation]().union(*(policy.observed for policy in part))
            if observed not in shared:
                shared[observed] = key_of(observed, fields, above)
            read = tuple(sorted(set(places(observed))))
            found[scope] += (Block(tuple(part), shared[observed], read),)
    return dict(found)


def _parts(policies: list[Written]) -> Iterator[list[Written]]:
    part: list[Written] = []
    observed: frozenset[Observation] = frozenset()
    for policy in policies:
        wider = observed | policy.observed
        if part and len(needed(wider)) > _MAX_OBSERVED:
            yield part
            part, wider = [], policy.observed
        part.append(policy)
        observed = wider
    yield part


def ask(
    block: Block, handle: cedarpy.PolicySet, query: Query, entities: cedarpy.Entities, fields: Fields
) -> tuple[frozenset[str], tuple[str, ...]]:
    """Cedar's answer: the block's satisfied policies, and the errors."""
    operation = query.operation
    request = {
        "principal": {"type": "Agent", "id": query.agent.uri},
        "action": {"type": "Action", "id": operation.action},
        "resource": {"type": "Tool", "id": operation.resource},
        "context": fields.context(query, block.places),
    }
    result = cedarpy.is_authorized(request, handle, entities)
    errors = tuple(sorted(result.diagnostics.errors))
    if result.decision is not cedarpy.Decision.Deny:
        return _NONE, errors or (f"Cedar answered {result.decision.value}",)
    return frozenset(result.diagnostics.reasons), errors
