"""A policy set that loads in, what its author most likely did not mean out: each with its place and a hint.

Loading refuses what is wrong by its types. This finds what is right by them and still does nothing, or too much: a
policy that no entry of the catalog meets, one that another makes meaningless, a condition that can never be as it must.
Whether a condition can hold is asked of Cedar, for each entry of the catalog or at the ends of a number's range.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from authz.core.errors import Place
from authz.core.hop import ActionClass, Operation
from authz.policy.accounts import Source, key_text
from authz.policy.blocks import Written
from authz.policy.cedar import CedarPolicy
from authz.policy.conditions import Asker
from authz.policy.fields import Place as PlaceInQuery
from authz.policy.observations import Observation
from authz.policy.ranges import RANGES, some_query
from authz.policy.schema import quoted
from authz.policy.scopes import ScopeKey, matching

_ANYBODY: frozenset[ScopeKey] = frozenset({("any",), ("is", "Agent")})
_OF_THE_ENTRY = frozenset(
    {("action",), ("resource",)}
    | {("context", name) for name in ("classes", "dataset", "sensitivity", "privileged", "brings_untrusted_input")}
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to look at; an error is almost surely not meant."""

    level: str  # error or warning
    place: Place
    what: str
    hint: str
    policy: str = ""  # its @id


def lint(policy: CedarPolicy, where: Mapping[str, Source]) -> list[Finding]:
    """All findings, by place. `where` tells where each policy stands."""
    look = _Look(policy, where)
    found = [finding for written in policy.policies for finding in look.at(written)]
    return sorted(found, key=lambda each: (str(each.place.file), each.place.line, each.what))


def unpermitted(policy: CedarPolicy, operations: Iterable[Operation]) -> list[str]:
    """The actions of these operations that no policy can permit, sorted."""
    look = _Look(policy, {})
    open_to = {each for written in policy.policies if written.effect == "permit" for each in look.reached(written)}
    return sorted({operation.action for operation in operations if operation not in open_to})


class _Look:
    def __init__(self, policy: CedarPolicy, where: Mapping[str, Source]) -> None:
        self._policy, self._where = policy, where
        self._vocabulary, self._asker = policy.vocabulary, Asker(policy.vocabulary)
        self._kinds = {
            each: (self._kinds_of("Action", each.action), self._kinds_of("Tool", each.resource))
            for each in sorted(self._vocabulary.operations, key=lambda each: (each.action, each.resource))
        }
        self._pairs: dict[tuple[ScopeKey, ScopeKey], frozenset[Operation]] = {}
        self._conditions = {id: source.conditions for id, source in where.items()}
        self._unconditional = [
            each for each in policy.policies if each.effect == "forbid" and not each.step_up and self._has_none(each)
        ]

    def at(self, written: Written) -> Iterator[Finding]:
        reached = self.reached(written)
        if not reached:
            yield self._warning(
                written,
                f"it applies to no entry of the catalog: none is {self._entries(written)}",
                "Correct the scope, or add the entry to the catalog.",
            )
        empty = self._empty_groups(written)
        if empty:
            what = f"it applies to no agent: {', '.join(empty)} is empty in the configuration"
            yield self._warning(written, what, "Name the group's agents, or leave it if it is to be filled later.")
        yield from self._too_wide(written)
        if reached:
            yield from self._shadowed(written, reached)
            yield from self._never(written, reached)
        yield from self._unknown_members(written)

    def reached(self, written: Written) -> frozenset[Operation]:
        """The operations that the scope matches, for some agent."""
        return frozenset[Operation]().union(*(self._pair(scope[1], scope[2]) for scope in written.scopes))

    def _pair(self, action: ScopeKey, tool: ScopeKey) -> frozenset[Operation]:
        pair = (action, tool)
        if pair not in self._pairs:
            matched = (each for each, (one, other) in self._kinds.items() if action in one and tool in other)
            self._pairs[pair] = frozenset(matched)
        return self._pairs[pair]

    def _kinds_of(self, kind: str, id: str) -> frozenset[ScopeKey]:
        return frozenset(matching((kind, id), self._vocabulary.above((kind, id))))

    def _has_none(self, written: Written) -> bool:
        return not self._conditions.get(written.id, [])

    def _entries(self, written: Written) -> str:
        parts = []
        for position, name in ((1, "action"), (2, "resource")):
            keys = dict.fromkeys(scope[position] for scope in written.scopes)
            texts = [key_text(name, key) for key in keys if key != ("any",)]
            parts += [" or ".join(texts)] if texts else []
        return " and ".join(parts) or "action in []"

    def _empty_groups(self, written: Written) -> list[str]:
        keys = {scope[0] for scope in written.scopes}
        groups = [key[-1] for key in keys if key[0] in ("in", "is in") and key[-2] == "AgentGroup"]
        empty = [f"AgentGroup::{quoted(name)}" for name in groups if not self._vocabulary.groups.get(name)]
        return empty if keys and len(empty) == len(keys) else []

    def _too_wide(self, written: Written) -> Iterator[Finding]:
        if written.effect != "permit" or not self._has_none(written):
            return
        if all(scope[0] in _ANYBODY for scope in written.scopes):
            everything = all(
                scope[1] == ("any",) and scope[2] in {("any",), ("is", "Tool")} for scope in written.scopes
            )
            level = "error" if everything else "warning"
            what = "it permits everything to everybody" if everything else "it permits this to every agent"
            yield self._finding(level, written, what, "Name the agents or a group of them, or add a condition.")

    def _shadowed(self, written: Written, reached: frozenset[Operation]) -> Iterator[Finding]:
        for forbid in self._unconditional:
            if forbid.id == written.id or not self._covers(forbid, written) or not reached <= self.reached(forbid):
                continue
            by = f"{forbid.id} ({self._where[forbid.id].place})"
            if written.effect == "permit":
                yield self._warning(
                    written,
                    f"it never counts: {by} forbids all that it permits",
                    "Remove one, unless one is there for a time.",
                )
            elif written.step_up:
                what = f"no approval ever lifts it: {by} forbids the same, and is not lifted"
                yield self._warning(written, what, "Narrow the forbid without @step_up.")
            elif forbid not in self._twins(written) or forbid.id < written.id:
                yield self._warning(
                    written,
                    f"it adds nothing: {by} forbids all that it forbids",
                    "Remove one, unless one is there for a time.",
                )
            return

    def _twins(self, written: Written) -> list[Written]:
        """Forbids without a condition that say exactly the same."""
        if written not in self._unconditional:
            return []
        mine = self.reached(written)
        return [each for each in self._unconditional if self._covers(written, each) and self.reached(each) <= mine]

    def _covers(self, wider: Written, narrower: Written) -> bool:
        """Whether every agent that the one is about is one that the other is about."""
        keys = {scope[0] for scope in wider.scopes}
        return all(self._is_among(scope[0], keys) for scope in narrower.scopes)

    def _is_among(self, key: ScopeKey, keys: set[ScopeKey]) -> bool:
        if key in keys or keys & _ANYBODY:
            return True
        return key[0] == "==" and not self._kinds_of(key[1], key[2]).isdisjoint(keys)

    def _never(self, written: Written, reached: frozenset[Operation]) -> Iterator[Finding]:
        for condition in self._conditions.get(written.id, []):
            places = frozenset(self._asker.reads(condition))
            if places and places <= _OF_THE_ENTRY:
                if not any(self._asker.ask(condition, some_query(each)).is_met for each in reached):
                    what = f"it never fires: for no entry that it applies to is it so that {condition}"
                    yield self._warning(written, what, "Correct the condition, or the catalog.")
                continue
            known = RANGES.get(next(iter(places))) if len(places) == 1 else None
            if known is None or (known.is_long and not self._asker.is_one_comparison(condition)):
                continue
            if not any(self._asker.ask(condition, each).is_met for each in known.queries(condition, reached)):
                what = f"it never fires: {known.name} is {known.lowest} to {known.highest}, and so never {condition}"
                yield self._warning(written, what, "Correct the number.")

    def _unknown_members(self, written: Written) -> Iterator[Finding]:
        names = self._vocabulary.names()
        classes = frozenset(map(str, ActionClass))
        known: Mapping[PlaceInQuery, tuple[str, frozenset[str]]] = {
            ("context", "session", "actions"): ("action", names["Action"] - classes),
            ("context", "session", "classes"): ("action class", classes),
            ("context", "session", "datasets"): ("dataset", names["Dataset"]),
            ("context", "classes"): ("action class", classes),
        }
        for place, members in sorted(_members(written.observed), key=str):
            kind, there = known.get(place, ("", members))
            for name in sorted(members - there):
                what = f"no {kind} is called {quoted(name)}, so {'.'.join(place)} never holds it"
                yield self._warning(written, what, "Correct the name, or add it to the catalog.")

    def _warning(self, written: Written, what: str, hint: str) -> Finding:
        return self._finding("warning", written, what, hint)

    def _finding(self, level: str, written: Written, what: str, hint: str) -> Finding:
        return Finding(level, self._where[written.id].place, what, hint, written.id)


def _members(observed: Iterable[Observation]) -> Iterator[tuple[PlaceInQuery, frozenset[str]]]:
    """The texts that are looked for in sets, by the place of the set."""
    for word, place, *rest in observed:
        if not isinstance(place, tuple) or not rest:
            continue
        if word == "holds" and isinstance(rest[0], str):
            yield place, frozenset({rest[0]})
        elif word in ("contains_all", "contains_any") and isinstance(rest[0], frozenset):
            yield place, rest[0]
