"""Follows the changes in a Valkey or Redis server: in goes a stream, out comes a memory that is true and knows its age.

It polls, on a connection of its own. A change that was acknowledged before a poll was sent is in the reply to that poll
or to one before, so once a reply is applied the memory holds every change acknowledged before. The poll is the news
and the heartbeat at once: whatever delays it only lets our knowledge grow old, and old knowledge decides nothing.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from authz.core.errors import Place, Problem, Unavailable, Unusable
from authz.core.memory import NEVER_NS, Memory
from authz.tasks.valkey_connection import MAX_CONNECTIONS, PrimaryReach, Proof, must_serve
from authz.tasks.valkey_rows import Keys
from authz.tasks.valkey_scripts import ALL

SCHEMA_VERSION = 1
CHANGES_APPLIED_AT_ONCE = 1_000
BEAT_SECONDS = 0.25
LONGEST_BACK_OFF_SECONDS = 1.0
_FIRST_BACK_OFF_SECONDS = 0.02
_NS = 1_000_000_000
_log = logging.getLogger("authz.tasks")

TROUBLE = (RedisError, OSError, TimeoutError, Unavailable)
"""What a server or the way to it may raise."""


@dataclass(frozen=True, slots=True)
class Promises:
    """What is asked of the servers, and how often."""

    poll_seconds: float = 0.01
    timeout_seconds: float = 1.0
    min_replicas: int = 0  # that must acknowledge a write before it counts


class NotFollowed(Exception):
    """What the server says does not go on from what we know."""


class Follower:
    """Keeps a memory true.

    `primary` is a client of the server that was followed last, for others to use; `proof` shows them that it leads.
    """

    def __init__(self, reach: PrimaryReach, memory: Memory, keys: Keys, promises: Promises, label: str) -> None:
        """`label` names the servers in messages."""
        self._reach, self._memory, self._keys, self._promises, self._label = reach, memory, keys, promises, label
        self._client: Redis | None = None
        self.primary: Redis | None = None
        self._life: tuple[str, ...] = ()
        self._cursor = 0
        self.proof = Proof(promises.min_replicas, keys.beat(uuid.uuid4().hex), int(promises.timeout_seconds * 500))
        self._beat_ns = NEVER_NS
        self.failures = 0
        self._is_failing = False

    async def connect(self) -> None:
        """Find the primary and take up the stream where we left it, or anew; raises Unusable, or one of TROUBLE."""
        await self._drop()
        timeout_seconds = self._promises.timeout_seconds
        client = self._client = await self._reach.client(self._keys.changes, 1)
        async with asyncio.timeout(timeout_seconds):
            life = (*await must_serve(client, self._label), await self._schema(client))
            count = int(await client.get(self._keys.counter) or 0)
            for script in ALL:
                await client.script_load(script)
        if life != self._life or count < self._cursor:
            # The place is read before all is forgotten: what changes after it is news, what was read before is gone.
            self._life, self._cursor = life, count
            self._memory.flush()
            if self.primary is not None:
                await self.primary.aclose()
            self.primary = None
        if self.primary is None:
            self.primary = await self._reach.client(self._keys.changes, MAX_CONNECTIONS)

    async def run(self) -> None:
        """Follow until cancelled."""
        back_off_seconds = _FIRST_BACK_OFF_SECONDS
        while True:
            try:
                await self.poll()
                back_off_seconds = _FIRST_BACK_OFF_SECONDS
                await asyncio.sleep(self._promises.poll_seconds)
            except (*TROUBLE, Unusable, NotFollowed) as error:
                self._failed(error)
                await asyncio.sleep(back_off_seconds)
                back_off_seconds = min(back_off_seconds * 2, LONGEST_BACK_OFF_SECONDS)

    async def poll(self) -> None:
        """Apply all changes made so far; raises one of TROUBLE, NotFollowed or Unusable, and then begins anew."""
        try:
            if self._client is None:
                await self.connect()
            await self._poll_on()
        except (*TROUBLE, Unusable, NotFollowed):
            await self._drop()
            raise

    async def close(self) -> None:
        """Let go of the servers."""
        await self._drop()
        if self.primary is not None:
            await self.primary.aclose()
            self.primary = None

    async def _poll_on(self) -> None:
        """Poll until nothing is new; raises one of TROUBLE, or NotFollowed."""
        client = self._client
        if client is None:
            raise NotFollowed("no connection")
        while True:
            sent_ns = _now_ns()
            async with asyncio.timeout(self._promises.timeout_seconds):
                await self._beat_if_due(client, sent_ns)
                pipe = client.pipeline(transaction=False)
                pipe.xread({self._keys.changes: f"{self._cursor}-0"}, count=CHANGES_APPLIED_AT_ONCE)
                pipe.get(self._keys.schema)
                pipe.execute_command("ROLE")
                streams, schema, role = await pipe.execute()
            if role[0] != b"master":
                raise NotFollowed(f"{self._label} is the primary no more")
            if _text(schema) != self._life[-1]:
                raise NotFollowed("the tasks are another store's")
            # Replies come as a list, or in RESP3 as a map.
            entries = [entry for stream in _streams(streams) for entry in stream]
            self._apply(entries)
            if len(entries) < CHANGES_APPLIED_AT_ONCE:
                break
        self._memory.as_of_ns = sent_ns if self._promises.min_replicas == 0 else min(sent_ns, self._beat_ns)
        if self._is_failing:
            self._is_failing = False
            _log.info("the task store %s is followed again", self._label)

    def _apply(self, entries: Sequence[tuple[bytes, dict[bytes, bytes]]]) -> None:
        for id, fields in entries:
            place = int(id.partition(b"-")[0])
            if place != self._cursor + 1:
                self._life = ()  # what was missed is not known, so nothing is
                raise NotFollowed(f"the changes after {self._cursor} are gone")
            self._cursor = place
            task_id = fields.get(b"t", b"").decode("ascii", "replace")
            if task_id:
                self._memory.forget(task_id)
            else:
                self._memory.flush()

    async def _beat_if_due(self, client: Redis, now_ns: int) -> None:
        """Prove that those who could be promoted still follow this primary, so that no other is one."""
        least = self._promises.min_replicas
        if least == 0 or now_ns - self._beat_ns < BEAT_SECONDS * _NS:
            return
        pipe = client.pipeline(transaction=False)
        self.proof.ask_in(pipe)
        *_, followed = await pipe.execute()
        if followed < least:
            raise NotFollowed(f"{followed} replicas follow {self._label}; {least} must")
        self._beat_ns = now_ns

    async def _schema(self, client: Redis) -> str:
        """The store's version and name, given to it where it has none; raises Unusable."""
        await client.set(self._keys.schema, f"{SCHEMA_VERSION}:{uuid.uuid4().hex}", nx=True)
        schema = _text(await client.get(self._keys.schema))
        version = schema.partition(":")[0]
        if not version.isdecimal() or int(version) > SCHEMA_VERSION:
            what = f"the task store has schema version {version}; this program knows versions up to {SCHEMA_VERSION}"
            remedy = "Run the version of authz that wrote it, or a later one."
            raise Unusable(Problem(Place(Path(self._label)), what, remedy))
        return schema

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        if not self._is_failing:
            _log.error(
                "the task store %s is not followed; checks are denied once what is known of tasks is too old: %s",
                self._label,
                error if str(error) else type(error).__name__,
            )
        self._is_failing = True


def _streams(reply: object) -> list[Sequence[tuple[bytes, dict[bytes, bytes]]]]:
    if isinstance(reply, dict):
        return [entries for value in reply.values() for entries in value]
    return [entries for _, entries in reply] if isinstance(reply, list) else []


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""


def _now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
