"""The follower: one connection of its own polls the stream of changes into memory. In goes a URL, out comes `as_of_ns`.

A blocking read or a push would be quicker when all is well, but neither tells silence from a dead path.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from authz.core.errors import Unavailable
from authz.core.memory import Memory

POLL_SECONDS = 0.010
ROLE_SECONDS = 1.0
"""How often a connection that stays open is asked whether it still leads to the primary."""
BACK_OFF_SECONDS = 0.2
CHANGES_AT_ONCE = 1_000
SCHEMA_VERSION = 1
OLDEST_MAJOR_VERSION = 7

_NOBODY = ("", "")
_log = logging.getLogger("authz.tasks")


class Follower:
    """Keeps the memory true to the stream. A change of the store's incarnation, or a gap, forgets everything."""

    def __init__(
        self, url: str, memory: Memory, prefix: str, timeout_seconds: float, login: Mapping[str, str | None]
    ) -> None:
        self._url = url
        self._login = login
        self._memory = memory
        self._prefix = prefix
        self._timeout_seconds = timeout_seconds
        self._client: Redis | None = None
        self._incarnation = _NOBODY
        self._cursor = 0
        self._next_role_seconds = 0.0
        self._is_failing = False

    async def follow(self) -> None:
        """Poll until cancelled; what goes wrong is told once, and knowledge ages until it is well again."""
        while True:
            began = time.monotonic()
            try:
                await self.poll()
                self._is_failing = False
                await asyncio.sleep(max(0.0, began + POLL_SECONDS - time.monotonic()))
            except Unavailable as error:
                if not self._is_failing:
                    _log.error("%s; checks are denied once what is known is too old", error)
                self._is_failing = True
                await asyncio.sleep(BACK_OFF_SECONDS)

    async def poll(self) -> None:
        """Apply all changes made so far; raises Unavailable, and begins anew with the next poll."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._poll()
        except (RedisError, OSError, TimeoutError, ValueError, KeyError, IndexError) as error:
            await self.close()
            raise Unavailable(f"the task store cannot be followed: {type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Drop the connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _poll(self) -> None:
        client = self._client or await self._connect()
        if time.monotonic() >= self._next_role_seconds:
            await self._must_lead(client)
        while True:
            # Before the poll is sent: whatever was acknowledged by then is in its reply, or in an earlier one.
            sent_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            stream = self._prefix + "ch"
            reply: Any = await client.xread({stream: f"{self._cursor}-0"}, count=CHANGES_AT_ONCE)
            entries = _entries(reply)
            for entry_id, fields in entries:
                self._apply(int(entry_id.partition(b"-")[0]), fields[b"t"].decode())
            if len(entries) < CHANGES_AT_ONCE:
                self._memory.as_of_ns = sent_ns
                return

    def _apply(self, seq: int, task_id: str) -> None:
        if seq == self._cursor + 1:
            self._memory.forget(task_id)
        else:
            self._memory.flush()
        self._cursor = seq

    async def _connect(self) -> Redis:
        client = Redis.from_url(
            self._url,
            single_connection_client=True,
            socket_timeout=self._timeout_seconds,
            socket_connect_timeout=self._timeout_seconds,
            retry=Retry(NoBackoff(), 0),
            username=self._login["username"],
            password=self._login["password"],
        )
        self._client = client
        await self._must_lead(client)
        server: Any = await client.info("server")
        replication: Any = await client.info("replication")
        memory: Any = await client.info("memory")
        _must_be_fit(server, memory)
        # Kept by the first who comes, and told from then on.
        await client.set(self._prefix + "version", SCHEMA_VERSION, nx=True)
        version = int(await client.get(self._prefix + "version") or 0)
        if version > SCHEMA_VERSION:
            raise ValueError(f"it has schema version {version}; this program knows versions up to {SCHEMA_VERSION}")
        seq = int(await client.get(self._prefix + "seq") or 0)
        incarnation = (str(server["run_id"]), str(replication["master_replid"]))
        if incarnation != self._incarnation or seq < self._cursor:
            self._memory.flush()
            self._cursor = seq
            self._incarnation = incarnation
        return client

    async def _must_lead(self, client: Redis) -> None:
        role: Any = await client.role()
        if role[0] not in (b"master", "master"):
            raise ValueError("the server is not the primary")
        self._next_role_seconds = time.monotonic() + ROLE_SECONDS


def _must_be_fit(server: Mapping[str, Any], memory: Mapping[str, Any]) -> None:
    version = str(server["redis_version"])
    if int(version.partition(".")[0]) < OLDEST_MAJOR_VERSION:
        raise ValueError(f"the server is of version {version}; run Valkey, or Redis {OLDEST_MAJOR_VERSION} or later")
    if memory["maxmemory_policy"] != "noeviction":
        policy = memory["maxmemory_policy"]
        raise ValueError(f"the server may drop keys; set maxmemory-policy to noeviction (it is {policy})")


def _entries(reply: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:  # noqa: ANN401  differs by protocol version
    """The entries of the one stream. RESP3 answers with a map, and nests them once more."""
    if not reply:
        return []
    if isinstance(reply, dict):
        [entries] = reply.values()
        return list(entries[0]) if entries and isinstance(entries[0], list) else list(entries)
    [(_, entries)] = reply
    return list(entries)
