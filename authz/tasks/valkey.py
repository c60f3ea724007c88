"""The shared task store: a Valkey or Redis server, followed by any number of replicas of ours.

Implements Tasks, TaskKeeper, TaskReader and TaskNews. Every act is a script that runs whole and adds what it changed
to a stream; a follower forgets what the stream names. A change that another replica made is known here one poll later;
what a hop may not know so late is read from the primary.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from authz.core.acts import Act, Conflict, NoSuchTask
from authz.core.errors import Unavailable
from authz.core.memory import Memory
from authz.core.outcome import TaskWant
from authz.core.task import Task
from authz.core.view import News, TaskView
from authz.tasks.ids import must_be_an_id
from authz.tasks.records import NotARecord
from authz.tasks.requests import read_request
from authz.tasks.valkey_acts import Call, calls_of, purge_call
from authz.tasks.valkey_connection import PrimaryReach, Proof
from authz.tasks.valkey_follower import CHANGES_APPLIED_AT_ONCE, TROUBLE, Follower, NotFollowed, Promises
from authz.tasks.valkey_rows import Found, Keys, behind, read_found
from authz.tasks.valkey_scripts import READ

CHANGES_KEPT = 100_000
"""How many changes the stream holds, about. Who falls further behind forgets everything and reads anew."""
MAX_WAITING = 256
"""How many uses may wait for the server. Beyond, checks are denied at once instead of piling up."""
PURGED_AT_ONCE = 50

_log = logging.getLogger("authz.tasks")


class ValkeyTasks:
    """One process's view of the server. It belongs to one event loop."""

    def __init__(self, reach: PrimaryReach, memory: Memory, keys: Keys, promises: Promises, label: str) -> None:
        """`label` names the servers in messages. Nothing is connected yet."""
        self._memory, self._keys, self._promises, self._label = memory, keys, promises, label
        self._follower = Follower(reach, memory, keys, promises, label)
        self._waiting = 0

    async def connect(self) -> None:
        """Look whether the server can be used; raises Unusable. One that does not answer is waited for by `follow`."""
        try:
            await self._follower.connect()
        except TROUBLE as error:
            told = str(error) or type(error).__name__
            _log.error("the task store %s does not answer yet; checks are denied until it does: %s", self._label, told)

    async def poll(self) -> None:
        """Apply every change so far, and move the memory's `as_of_ns`; raises Unavailable or Unusable."""
        try:
            await self._follower.poll()
        except (*TROUBLE, NotFollowed) as error:
            raise Unavailable(f"the task store {self._label}: {error or type(error).__name__}") from error

    async def follow(self) -> None:
        """Poll until cancelled; what goes wrong is told once, and knowledge ages until it is well again."""
        await self._follower.run()

    def peek(self) -> None:
        """Nothing: the follower applies changes as they come, and moves `as_of_ns`; see `ports.Tasks`."""

    async def fetch(self, wants: frozenset[TaskWant]) -> None:
        """Read tasks from the primary into memory; see `ports.Tasks`. What changes meanwhile is not remembered."""
        task_ids = sorted({want.task_id for want in wants})
        reading = self._memory.begin()
        try:
            as_of_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            found = await self._read(task_ids)
            for task_id, each in zip(task_ids, found, strict=True):
                if reading.stands(task_id):
                    self._remember(task_id, each, as_of_ns)
        finally:
            self._memory.finish(reading)

    async def do(self, act: Act) -> None:
        """Do an act; see `ports.TaskKeeper`. Raises NotARecord where what is to be kept could not be read back."""
        call = calls_of(act, self._keys)
        try:
            await self._change(call)
        finally:
            # The stream will tell us too, but a check that comes sooner must know; after a Conflict as well.
            for task_id in call.touches:
                self._memory.forget(task_id)

    async def get(self, task_id: str) -> TaskView:
        """The task; raises Unavailable, also where its record cannot be read, and NoSuchTask."""
        must_be_an_id(task_id)
        [found] = await self._read([task_id])
        if found is None:
            raise NoSuchTask(task_id)
        try:
            return TaskView(found.task(task_id).task(), tuple(map(read_request, found.request_documents())))
        except (NotARecord, ValueError) as error:
            raise Unavailable(f"the record of the task {task_id} cannot be read: {error}") from error

    async def list(self, after: str, most: int) -> Sequence[Task]:
        """Tasks whose records can be read, by id; the others are named in the log. Raises Unavailable."""
        tasks = list[Task]()
        while not tasks:
            bounds = behind(after)
            ids = await self._use(partial(_ids, key=self._keys.ids, bounds=bounds, most=most))
            task_ids = [id.decode() for id in ids]
            if not task_ids:
                break
            for task_id, found in zip(task_ids, await self._read(task_ids), strict=True):
                try:
                    tasks.extend([] if found is None else [found.task(task_id).task()])
                except NotARecord as error:
                    _log.warning("left out: the record of the task %s cannot be read: %s", task_id, error)
            after = task_ids[-1]
        return tasks

    async def since(self, place: str) -> News:
        """What changed since; see `ports.TaskNews`."""
        if not place:
            return News(str(int(await self._use(lambda client: client.get(self._keys.counter)) or 0)))
        entries = await self._use(
            lambda client: client.xrange(self._keys.changes, f"({place}-0", "+", CHANGES_APPLIED_AT_ONCE)
        )
        if not entries:
            count = int(await self._use(lambda client: client.get(self._keys.counter)) or 0)
            return News(str(count) if count < int(place) else place, is_everything=count < int(place))
        first, last = (int(id.partition(b"-")[0]) for id in (entries[0][0], entries[-1][0]))
        task_ids = tuple(dict.fromkeys(fields.get(b"t", b"").decode() for _, fields in entries))
        return News(str(last), task_ids, is_everything=first != int(place) + 1 or "" in task_ids)

    async def purge(self, expired_before_unix_seconds: float) -> int:
        """Delete tasks that expired before then, a few at a time; returns how many. Raises Unavailable."""
        before_ms = int(expired_before_unix_seconds * 1000)
        ids = await self._use(
            lambda client: client.zrangebyscore(self._keys.expiries, "-inf", f"({before_ms}", 0, PURGED_AT_ONCE)
        )
        task_ids = [id.decode() for id in ids]
        found = await self._read(task_ids) if task_ids else []
        transactions = [each.facts.get(b"txn", b"").decode() if each else "" for each in found]
        call = purge_call(self._keys, before_ms, task_ids, transactions)
        return len(await self._change(call)) if task_ids else 0

    async def close(self) -> None:
        """Let go of the server."""
        await self._follower.close()

    async def _change(self, call: Call) -> Sequence[str]:
        """The tasks that the script changed; raises NoSuchTask, Conflict or Unavailable."""
        least = self._promises.min_replicas
        reply, followed = await self._use(
            lambda client: _evaluate(
                client, call.script, call.keys, [CHANGES_KEPT, *call.arguments], self._follower.proof
            )
        )
        outcome, *told = (each.decode() for each in reply)
        if outcome == "none":
            raise NoSuchTask(call.about)
        if outcome == "conflict":
            raise Conflict(*told)
        if followed < least:
            raise Unavailable(
                f"{call.about} is changed at the primary of {self._label}, but only {followed} of {least} replicas know"
            )
        return told

    async def _read(self, task_ids: Sequence[str]) -> Sequence[Found | None]:
        least = self._promises.min_replicas
        reply, followed = await self._use(
            lambda client: _evaluate(client, READ, self._keys.read(task_ids), [], self._follower.proof)
        )
        if followed < least:
            raise Unavailable(f"{followed} replicas follow the primary of {self._label}; {least} must")
        return [read_found(each) for each in reply]

    def _remember(self, task_id: str, found: Found | None, as_of_ns: int) -> None:
        if found is None:
            self._memory.put_absent(task_id, as_of_ns)
            return
        try:
            self._memory.put(found.task(task_id).task(), as_of_ns)
        except NotARecord as error:
            self._memory.put_malformed(task_id, str(error))

    async def _use(self, use: Any) -> Any:  # noqa: ANN401  from a client to what its command returns
        """What the command returns; raises Unavailable."""
        client = self._follower.primary
        if client is None:
            raise Unavailable(f"the task store {self._label} does not answer")
        if self._waiting >= MAX_WAITING:
            raise Unavailable(f"the task store {self._label}: {self._waiting} uses wait for it")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._promises.timeout_seconds):
                return await use(client)
        except TROUBLE as error:
            told = str(error) or type(error).__name__
            raise Unavailable(f"the task store {self._label}: {told}") from error
        finally:
            self._waiting -= 1


async def _ids(client: Redis, key: str, bounds: tuple[str, str], most: int) -> Any:  # noqa: ANN401  as above
    return await client.zrangebylex(key, *bounds, 0, most)


async def _evaluate(
    client: Redis, script: str, keys: Sequence[str], arguments: Sequence[str | bytes | int], proof: Proof
) -> tuple[Any, int]:
    """The script's reply, and how many replicas know of it where any must; raises as the client does.

    The role is asked last: what a server that is the primary still said before, it said as the primary.
    """
    digest = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
    for _ in range(2):
        pipe = client.pipeline(transaction=False)
        pipe.evalsha(digest, len(keys), *keys, *arguments)
        if proof.min_replicas:
            proof.ask_in(pipe)  # for a script may have written nothing
        pipe.execute_command("ROLE")
        reply, *followed, role = await pipe.execute(raise_on_error=False)
        if isinstance(reply, NoScriptError):
            await client.script_load(script)
            continue
        for each in (reply, *followed, role):
            if isinstance(each, Exception):
                raise each
        if role[0] != b"master":
            raise Unavailable("it is the primary no more")
        return reply, followed[-1] if followed else 0
    raise Unavailable("it does not keep scripts")
