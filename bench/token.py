"""What it costs to read a task from a Txn-Token: one that was seen before, and one that never was."""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path

from authz.core.hop import Sensitivity
from authz.core.ids import uuid7
from authz.core.record import Arrival
from authz.core.request import Request
from authz.core.spiffe import SpiffeId
from authz.core.task import Grant, Task, TaskState
from authz.tasks.token import HEADER, TokenCarrier, TokenIssuer, TokenTerms
from authz.tasks.token_keys import TokenKeys
from bench.row import Row, median_us

SEEN_BOUND_US = 10
NEW_BOUND_US = 500
TOKENS = 300
LOOK_UPS = 3_000
_TERMS = TokenTerms("example.org", 300)


def rows() -> Iterator[Row]:
    """`token_seen_us` and `token_new_us`."""
    now = time.time()
    with tempfile.TemporaryDirectory() as folder:
        keys = TokenKeys(Path(folder) / "keys.json")
        keys.rotate(publish_ahead_seconds=0, honoured_seconds=0)
        issuer = TokenIssuer(keys, _TERMS)
        tokens = [issuer.issue(_task(now), "spiffe://example.org/ns/desk", now) for _ in range(TOKENS)]
        carrier = TokenCarrier(keys, _TERMS, cache_entries=TOKENS)
        new_us = _read_each(carrier, tokens, TOKENS)
        # Each hop decodes its headers into texts of its own, whose hashes nobody has computed yet.
        seen_us = _read_each(carrier, [token.encode().decode() for token in tokens], LOOK_UPS)
    size = sum(map(len, tokens)) // TOKENS
    how = f"in process, median of batches of 20 over {LOOK_UPS} hops with {TOKENS} tokens of {size} B (ES256)"
    yield Row("token_seen_us", seen_us, "us", SEEN_BOUND_US, how)
    yield Row("token_new_us", new_us, "us", NEW_BOUND_US, f"the same, {TOKENS} tokens each read once")


def _read_each(carrier: TokenCarrier, tokens: Sequence[str], hops: int) -> float:
    arrival = Arrival(time.time(), 0, "")
    requests = cycle([Request("GET", "crm.test", "/", {HEADER: (token,)}, "", "", "") for token in tokens])
    return median_us(lambda: carrier.read(next(requests), arrival), calls=hops)


def _task(now: float) -> Task:
    return Task(
        id=uuid7(now, os.urandom(10)),
        owner="alice@example.com",
        purpose="answer a customer's question",
        agents=frozenset({SpiffeId.parse("spiffe://example.org/agent/support")}),
        grants=(Grant.parse("read:crm.contacts"), Grant.parse("egress:mail")),
        ceiling=Sensitivity.INTERNAL,
        starts_unix_seconds=now,
        expires_unix_seconds=now + 600,
        state=TaskState.ACTIVE,
        transaction=uuid7(now, os.urandom(10)),
    )
