"""Query in, Verdict out: the blocks whose scope the query matches, each answered from its table or by Cedar.

The verdict is the one that Cedar would give if it evaluated the whole set anew, errors included. What follows from it
is decided in `authz.core.decision`, for all engines alike.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Self

import cedarpy
from cachetools import LRUCache

from authz.core.decision import Verdict
from authz.core.hop import Operation
from authz.core.query import Query
from authz.policy.blocks import Block, Written, ask, make_blocks
from authz.policy.fields import Fields
from authz.policy.observations import Uid
from authz.policy.schema import Vocabulary
from authz.policy.scopes import Scope, ScopeKey, matching

_NOTHING: frozenset[str] = frozenset()
_MAX_HANDLES = 512
"""Blocks whose policies Cedar holds parsed; the others are parsed again when a row of theirs is missing."""
_MAX_AGENTS = 10_000
_MAX_JOINED = 1_000
_FREED_AT_ONCE = 100

_Rows = tuple[frozenset[str], ...]


@dataclass(slots=True, eq=False)
class _Route:
    """What agents of one kind meet at one operation: its blocks, and their rows joined to verdicts."""

    operation: Operation
    blocks: tuple[Block, ...]
    verdicts: dict[_Rows, Verdict] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True, eq=False)
class CedarPolicy:
    """A policy set, the catalog it was loaded for, and what it has answered. `of` is the way to make one.

    For one thread. Its tables are its own: a new policy set is a new object, so no key holds a version.
    """

    version: str
    policies: tuple[Written, ...]
    vocabulary: Vocabulary
    fields: Fields
    entities: cedarpy.Entities
    remembers: bool
    hits: int = 0
    misses: int = 0
    _blocks: dict[Scope, tuple[Block, ...]]
    _named: tuple[frozenset[ScopeKey], ...]  # the keys that some policy stands under, by position
    _step_up: dict[str, str]
    _routes: dict[frozenset[ScopeKey], dict[tuple[str, str], _Route]] = field(default_factory=dict)
    _agents: dict[str, dict[tuple[str, str], _Route]] = field(default_factory=dict)
    _handles: LRUCache[Block, cedarpy.PolicySet] = field(default_factory=lambda: LRUCache(_MAX_HANDLES))

    @classmethod
    def of(cls, policies: Iterable[Written], vocabulary: Vocabulary, version: str, *, remembers: bool = True) -> Self:
        """The engine for these policies; raises NotAVocabulary. Where it does not remember, Cedar is always asked."""
        ours, fields = tuple(policies), vocabulary.fields()
        blocks = make_blocks(ours, fields, vocabulary.above)
        return cls(
            version=version,
            policies=ours,
            vocabulary=vocabulary,
            fields=fields,
            entities=vocabulary.entities(),
            remembers=remembers,
            _blocks=blocks,
            _named=tuple(frozenset(scope[position] for scope in blocks) for position in range(3)),
            _step_up={policy.id: policy.step_up for policy in ours if policy.step_up},
        )

    @property
    def ids(self) -> frozenset[str]:
        """The names of the policies."""
        return frozenset(policy.id for policy in self.policies)

    @property
    def rows(self) -> int:
        """How many rows the tables hold."""
        return sum(len(block.rows) for blocks in list(self._blocks.values()) for block in blocks)

    @property
    def evictions(self) -> int:
        """How many rows were dropped to make room."""
        return sum(block.evictions for blocks in list(self._blocks.values()) for block in blocks)

    def make_ready(self) -> Iterator[None]:
        """It is ready for any thread."""
        return iter(())

    def leave(self) -> None:
        """Nothing of it belongs to a thread."""

    @property
    def counts(self) -> dict[str, int]:
        """Answers from memory and by asking Cedar; rows that are remembered, and those that made room for others."""
        found = {"cache.hits": self.hits, "cache.misses": self.misses}
        return {**found, "cache.rows": self.rows, "cache.evictions": self.evictions}

    def let_go(self, breathe: Callable[[], None]) -> None:
        """Free what it holds a little at a time, once nobody asks it any more: all at once would stop all threads."""
        policies, self.policies = list(self.policies), ()
        self._agents.clear()
        self._routes.clear()
        while self._blocks:
            for _ in range(min(_FREED_AT_ONCE, len(self._blocks))):
                self._blocks.popitem()
            breathe()
        while policies:
            del policies[-_FREED_AT_ONCE:]
            breathe()

    def decide(self, query: Query) -> Verdict:
        """The satisfied policies; whatever goes wrong is an error in the verdict, and is asked again the next time."""
        try:
            return self._decide(query)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  a panic in Cedar is no Exception, and must deny too
            return self._failed(f"{type(error).__name__}: {error}")

    def _decide(self, query: Query) -> Verdict:
        operation = query.operation
        routes = self._agents.get(query.agent.uri)
        if routes is None:
            routes = self._routes_of(query.agent.uri)
        route = routes.get((operation.action, operation.resource))
        if route is None:
            if operation not in self.vocabulary.operations:
                # To Cedar an unknown tool lies in no dataset, so what forbids the dataset would not forbid it.
                return self._failed(f"the policies were loaded for a catalog without {operation.action!r} as asked")
            route = self._route(query, routes)
        elif route.operation is not operation and route.operation != operation:
            return self._failed(f"the policies were loaded for a catalog without {operation.action!r} as asked")
        fault = query.fault() or (self.fields.mistyped(query) if query.arguments else "")
        if fault:
            return self._failed(f"no policy can be asked: {fault}")
        rows = []
        if self.remembers:
            for block in route.blocks:
                row = block.rows.get(block.key(query))
                if row is None:
                    break
                rows.append(row)
            else:
                verdict = route.verdicts.get(tuple(rows))
                if verdict is not None:
                    self.hits += 1
                    return verdict
        return self._ask(query, route, rows)

    def _ask(self, query: Query, route: _Route, rows: list[frozenset[str]]) -> Verdict:
        """The verdict, of these first rows and what Cedar says of the blocks after them."""
        missed, errors = False, set[str]()
        for block in route.blocks[len(rows) :]:
            key = block.key(query)
            row = block.rows.get(key) if self.remembers else None
            if row is None:
                missed = True
                row, failed = ask(block, self._handle(block), query, self.entities, self.fields)
                errors.update(failed)
                if self.remembers and not failed:
                    block.keep(key, row)
            rows.append(row)
        self.hits, self.misses = self.hits + (not missed), self.misses + missed
        if errors:
            return self._joined(route, rows, tuple(sorted(errors)))
        remembered = self._joined(route, rows, (), from_cache=self.remembers)
        if len(route.verdicts) >= _MAX_JOINED:
            route.verdicts.clear()
        route.verdicts[tuple(rows)] = remembered
        return self._joined(route, rows, ()) if missed else remembered

    def _joined(
        self, route: _Route, rows: list[frozenset[str]], errors: tuple[str, ...], *, from_cache: bool = False
    ) -> Verdict:
        pairs = list(zip(route.blocks, rows, strict=True))
        permits = _NOTHING.union(*(row for block, row in pairs if block.permits))
        forbids = _NOTHING.union(*(row for block, row in pairs if not block.permits))
        liftable = {id: kind for id, kind in self._step_up.items() if id in forbids} if self._step_up else {}
        return Verdict(permits, forbids, errors, self.version, from_cache, liftable)

    def _routes_of(self, uri: str) -> dict[tuple[str, str], _Route]:
        """The routes of the agent's kind: agents that no policy tells apart share them."""
        kind = self._kind(0, ("Agent", uri))
        if len(self._agents) >= _MAX_AGENTS:
            self._agents.clear()
        routes = self._agents[uri] = self._routes.setdefault(kind, {})
        return routes

    def _route(self, query: Query, routes: dict[tuple[str, str], _Route]) -> _Route:
        operation = query.operation
        route = _Route(operation, self.blocks(query))
        routes[operation.action, operation.resource] = route
        return route

    def blocks(self, query: Query) -> tuple[Block, ...]:
        """The blocks whose scope the query matches."""
        action, resource = query.operation.action, query.operation.resource
        agents = self._kind(0, ("Agent", query.agent.uri))
        actions, tools = self._kind(1, ("Action", action)), self._kind(2, ("Tool", resource))
        scopes = (
            (agent, action, tool) for agent in sorted(agents) for action in sorted(actions) for tool in sorted(tools)
        )
        return tuple(block for scope in scopes for block in self._blocks.get(scope, ()))

    def _kind(self, position: int, uid: Uid) -> frozenset[ScopeKey]:
        """All that the policies can tell of an entity by their scopes."""
        return frozenset(self._named[position].intersection(matching(uid, self.vocabulary.above(uid))))

    def _handle(self, block: Block) -> cedarpy.PolicySet:
        handle = self._handles.get(block)
        if handle is None:
            handle = self._handles[block] = block.handle()
        return handle

    def _failed(self, *errors: str) -> Verdict:
        return Verdict(_NOTHING, _NOTHING, errors, self.version)
