"""Query in, the inner policy's Verdict out, remembered.

What is remembered needs no lifetime, because equal queries have equal answers. A new policy set is a new policy, with
a cache of its own.
"""

from dataclasses import dataclass, field, replace

from cachetools import LRUCache

from authz.core.decision import Verdict
from authz.core.query import Query
from authz.ports import Policy


@dataclass(slots=True, eq=False)
class CachedPolicy:
    """A policy that asks `inner` once per query, and keeps the `max_entries` verdicts that were used last.

    For one thread: a look-up changes the order.
    """

    inner: Policy
    max_entries: int
    hits: int = 0
    misses: int = 0
    _kept: LRUCache[Query, Verdict] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.max_entries < 1:
            raise ValueError(f"a cache of {self.max_entries} entries can keep nothing")
        self._kept = LRUCache(self.max_entries)

    def decide(self, query: Query) -> Verdict:
        """The inner policy's verdict, marked where it comes from memory. One with errors is never kept."""
        try:
            verdict = self._kept[query]
        except KeyError:
            self.misses += 1
            verdict = self.inner.decide(query)
            if not verdict.errors:
                self._kept[query] = replace(verdict, from_cache=True)
            return verdict
        self.hits += 1
        return verdict
