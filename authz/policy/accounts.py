"""A query and a policy set in, an account of each policy out: whether it fires, and if not, what keeps it from that.

Scopes are matched by the keys that the engine's index uses, conditions are asked of Cedar: nothing is evaluated here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cedarpy

from authz.core.errors import Place
from authz.core.query import Query
from authz.policy.blocks import Written
from authz.policy.cedar import CedarPolicy
from authz.policy.conditions import Asker, Condition, Found, conditions
from authz.policy.files import PolicyFile
from authz.policy.observations import Uid
from authz.policy.schema import quoted
from authz.policy.scopes import Scope, ScopeKey, matching
from authz.policy.statements import Lines, split

POSITIONS = ("principal", "action", "resource")


@dataclass(frozen=True, slots=True)
class Account:
    """One policy, held against one query."""

    id: str
    effect: str
    step_up: str  # the kind of approval that lifts it
    scope_misses: tuple[str, ...]  # such as `principal in AgentGroup::"support"`
    met: tuple[Found, ...]
    unmet: tuple[Found, ...]

    @property
    def fires(self) -> bool:
        """Whether scope and conditions all match."""
        return not self.scope_misses and not self.unmet

    @property
    def distance(self) -> tuple[int, int]:
        """How far it is from firing: by its scope, then by its conditions."""
        return len(self.scope_misses), len(self.unmet)


def accounts(policy: CedarPolicy, query: Query) -> list[Account]:
    """An account of each policy of the set, those that fire and the nearest first."""
    asker, kinds = Asker(policy.vocabulary), scope_kinds(policy, query)
    told = [_account(each, kinds, asker, query) for each in policy.policies]
    return sorted(told, key=lambda account: (account.distance, account.id))


def scope_kinds(policy: CedarPolicy, query: Query) -> tuple[frozenset[ScopeKey], ...]:
    """The scope keys that the query's principal, action and resource match."""
    operation = query.operation
    uids: tuple[Uid, ...] = (
        ("Agent", query.agent.uri),
        ("Action", operation.action),
        ("Tool", operation.resource),
    )
    return tuple(frozenset(matching(uid, policy.vocabulary.above(uid))) for uid in uids)


def _account(written: Written, kinds: tuple[frozenset[ScopeKey], ...], asker: Asker, query: Query) -> Account:
    misses = tuple(_scope_misses(written.scopes, kinds))
    found = [asker.ask(condition, query) for condition in conditions(written.text)]
    return Account(
        written.id,
        written.effect,
        written.step_up,
        misses,
        tuple(each for each in found if each.is_met),
        tuple(each for each in found if not each.is_met),
    )


def _scope_misses(scopes: tuple[Scope, ...], kinds: tuple[frozenset[ScopeKey], ...]) -> Iterator[str]:
    if not scopes:
        yield "action in []"
    for position, name in enumerate(POSITIONS):
        keys = list(dict.fromkeys(scope[position] for scope in scopes))
        if keys and kinds[position].isdisjoint(keys):
            yield " or ".join(key_text(name, key) for key in keys)


def key_text(position: str, key: ScopeKey) -> str:
    """A constraint as it would be written: `action in Action::"read"`."""
    match key:
        case ("==" | "in" as word, kind, id):
            return f"{position} {word} {kind}::{quoted(id)}"
        case ("is", kind):
            return f"{position} is {kind}"
        case ("is in", kind, above, id):
            return f"{position} is {kind} in {above}::{quoted(id)}"
        case _:
            return position


@dataclass(frozen=True, slots=True)
class Source:
    """A policy as it stands in its file."""

    id: str
    place: Place
    text: str

    @property
    def conditions(self) -> list[Condition]:
        """Its conditions."""
        return conditions(self.text)


def sources(files: Iterable[PolicyFile]) -> dict[str, Source]:
    """Where each policy of a set that loads stands, by its id."""
    found: dict[str, Source] = {}
    for file in files:
        text = file.text
        lines = Lines.of(text)
        for statement in split(text):
            (policy,) = cedarpy.policies_to_pst(statement.text).static_policies.values()
            id = policy.annotations["id"]
            found[id] = Source(id, Place(file.path, *lines.position(statement.offset)), statement.text)
    return found
