"""The shared task store: Valkey or Redis, for many replicas on many machines.

Implements Tasks, TaskKeeper, TaskReader and TaskNews. Every act is one script, which also appends to a stream of
changes whose sequence has no gaps. `follow` polls that stream: the reply to a poll is at once the news and the proof
that there is no other, so `memory.as_of_ns` is the moment at which the last full poll was sent, on our own clock. A
path that is slow, broken or silent delays it and does nothing else: checks are denied once it is too old.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from authz.core.acts import Act, Conflict, NoSuchTask
from authz.core.errors import Unavailable
from authz.core.memory import Memory
from authz.core.outcome import Want
from authz.core.task import Task
from authz.core.view import News, TaskView
from authz.tasks import valkey_scripts as scripts
from authz.tasks.records import NotARecord
from authz.tasks.requests import read_request
from authz.tasks.sqlite_acts import must_be_an_id
from authz.tasks.valkey_acts import call_of, touched_by
from authz.tasks.valkey_follower import Follower
from authz.tasks.valkey_rows import READS, request_documents, stored_task

TIMEOUT_SECONDS = 1.0
MAX_CONNECTIONS = 8
MAX_WAITING = 256
"""How many acts may wait for the store. Beyond, checks are denied at once instead of piling up."""
MAX_READINGS = 3
"""How often a read is repeated that changes overtook. Then the check finds nothing, and asks again."""
PURGED_AT_ONCE = 50
CHANGES_TOLD_AT_ONCE = 1_000

_log = logging.getLogger("authz.tasks")


class ValkeyTasks:
    """One process's view of the store. All of it belongs to one event loop."""

    def __init__(  # noqa: PLR0913  where it is, and what to know of it
        self,
        url: str,
        memory: Memory,
        *,
        prefix: str = "{authz}",
        timeout_seconds: float = TIMEOUT_SECONDS,
        user: str | None = None,
        password: str | None = None,
    ) -> None:
        """Nothing is asked before the first poll. The prefix is a hash tag, so that a script's keys stay together."""
        self._memory = memory
        self._prefix = prefix
        self._timeout_seconds = timeout_seconds
        self._waiting = 0
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=timeout_seconds,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            retry=Retry(NoBackoff(), 0),
            username=user,
            password=password,
        )
        self._client = Redis.from_pool(pool)
        self._follower = Follower(url, memory, prefix, timeout_seconds, {"username": user, "password": password})

    def peek(self) -> None:
        """Nothing to do: `follow` has brought in all that is known for nothing."""

    async def poll(self) -> None:
        """Apply every change so far, and move the memory's `as_of_ns`; raises Unavailable."""
        await self._follower.poll()

    async def follow(self) -> None:
        """Poll until cancelled."""
        await self._follower.follow()

    async def fetch(self, wants: frozenset[Want]) -> None:
        """Read tasks into memory; what changes meanwhile is read again. See `ports.Tasks`."""
        lacking = sorted({want.task_id for want in wants})
        for _ in range(MAX_READINGS):
            reading = self._memory.begin()
            try:
                as_of_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
                found = await self._read(lacking)
                for task_id, replies in zip(lacking, found, strict=True):
                    if reading.stands(task_id):
                        self._land(task_id, replies, as_of_ns)
                lacking = [task_id for task_id in lacking if not reading.stands(task_id)]
            finally:
                self._memory.finish(reading)
            if not lacking:
                return

    async def do(self, act: Act) -> None:
        """Do an act; see `ports.TaskKeeper`. Raises NotARecord where what is to be kept could not be read back."""
        script, arguments = call_of(act)
        if self._waiting >= MAX_WAITING:
            raise Unavailable(f"the task store: {self._waiting} changes wait to be written")
        self._waiting += 1
        try:
            outcome, *details = await self._run(script, arguments)
        finally:
            self._waiting -= 1
        if outcome == "ok":
            self._forget(details)
            return
        self._forget(touched_by(act))
        raise NoSuchTask(details[0]) if outcome == "none" else Conflict(details[0])

    async def get(self, task_id: str) -> TaskView:
        """The task; raises Unavailable, also where its record cannot be read, and NoSuchTask."""
        must_be_an_id(task_id)
        [replies] = await self._read([task_id])
        try:
            stored = stored_task(task_id, replies)
            if stored is None:
                raise NoSuchTask(task_id)
            return TaskView(stored.task(), tuple(map(read_request, request_documents(replies[2]))))
        except NotARecord as error:
            raise Unavailable(f"the record of the task {task_id} cannot be read: {error}") from error

    async def list(self, after: str, most: int) -> Sequence[Task]:
        """Tasks whose records can be read, by id. Raises Unavailable."""
        beginning = f"({after}" if after else "-"
        ids = await self._ask("ZRANGEBYLEX", self._prefix + "ids", beginning, "+", "LIMIT", 0, most)
        names = [task_id.decode() for task_id in ids]
        tasks = []
        for task_id, replies in zip(names, await self._read(names), strict=True):
            try:
                stored = stored_task(task_id, replies)
                if stored is not None:
                    tasks.append(stored.task())
            except NotARecord as error:
                _log.warning("left out: the record of the task %s cannot be read: %s", task_id, error)
        return tasks

    async def since(self, place: str) -> News:
        """What changed since; see `ports.TaskNews`."""
        newest = int(await self._ask("GET", self._prefix + "seq") or 0)
        if not place:
            return News(str(newest))
        entries = await self._ask("XRANGE", self._prefix + "ch", f"({place}-0", "+", "COUNT", CHANGES_TOLD_AT_ONCE)
        if not entries:
            return News(str(newest), is_everything=newest != int(place))
        first, last = (int(entries[index][0].partition(b"-")[0]) for index in (0, -1))
        changed = dict.fromkeys(fields[b"t"].decode() for _, fields in entries)
        return News(str(last), tuple(changed), is_everything=first != int(place) + 1)

    async def purge(self, expired_before_unix_seconds: float) -> int:
        """Delete tasks that expired before then, a few at a time; returns how many. Raises Unavailable."""
        _, *purged = await self._run(scripts.PURGE, [int(expired_before_unix_seconds * 1000), PURGED_AT_ONCE])
        self._forget(purged)
        return len(purged)

    async def close(self) -> None:
        """Let go of all connections."""
        await self._follower.close()
        await self._client.aclose()

    def _forget(self, task_ids: Sequence[str] | set[str]) -> None:
        for task_id in task_ids:
            self._memory.forget(task_id)

    def _land(self, task_id: str, replies: Sequence[Any], as_of_ns: int) -> None:
        try:
            stored = stored_task(task_id, replies)
            if stored is None:
                self._memory.put_absent(task_id, as_of_ns)
            else:
                self._memory.put(stored.task(), as_of_ns)
        except NotARecord as error:
            self._memory.put_malformed(task_id, str(error))

    async def _read(self, task_ids: Sequence[str]) -> Sequence[Sequence[Any]]:
        """The replies to READS for each task, in one round trip and of one moment."""
        if not task_ids:
            return []
        pipeline = self._client.pipeline(transaction=True)
        # A connection may survive the server's demotion, and a replica's word may be old.
        pipeline.role()
        for task_id in task_ids:
            for command, beginning in READS:
                pipeline.execute_command(command, f"{self._prefix}{beginning}{task_id}")
        role, *replies = await self._within_time(pipeline.execute())
        if role[0] not in (b"master", "master"):
            raise Unavailable("the task store: the server is not the primary")
        return [replies[start : start + len(READS)] for start in range(0, len(replies), len(READS))]

    async def _run(self, script: str, arguments: Sequence[str | bytes | int]) -> Sequence[str]:
        registered = self._client.register_script(script)
        reply = await self._within_time(registered(keys=[self._prefix], args=arguments))
        return [each.decode() for each in reply]

    async def _ask(self, *command: str | int) -> Any:  # noqa: ANN401  what the store replies
        return await self._within_time(self._client.execute_command(*command))  # type: ignore[no-untyped-call]  # the library's

    async def _within_time(self, asking: Any) -> Any:  # noqa: ANN401  what the store replies
        try:
            return await asyncio.wait_for(asking, self._timeout_seconds)
        except (RedisError, OSError, TimeoutError) as error:
            # Whatever broke this connection has most likely broken those that rest: each would fail one check more.
            await self._client.connection_pool.disconnect(inuse_connections=False)
            raise Unavailable(f"the task store: {type(error).__name__}: {error}") from error
