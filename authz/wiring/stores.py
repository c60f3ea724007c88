"""The task store: in go the settings, out comes the one store that they name, and what it needs to be kept true."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from authz.config import TaskSettings, ValkeySettings
from authz.core.memory import Memory
from authz.ports import TaskKeeper, TaskNews, TaskReader, Tasks
from authz.tasks.sqlite import SqliteTasks

_CANCEL_AGAIN_SECONDS = 0.1


class TaskStore(Tasks, TaskKeeper, TaskReader, TaskNews, Protocol):
    """All that a task store does."""

    async def purge(self, expired_before_unix_seconds: float) -> int:
        """Delete some tasks that expired before then; returns how many. Raises Unavailable."""
        ...


@asynccontextmanager
async def open_store(settings: TaskSettings, memory: Memory) -> AsyncIterator[TaskStore]:
    """The store, and the memory kept true while it is open; raises Unusable or Unavailable where it cannot be begun."""
    if settings.valkey is not None:
        async with _valkey(settings.valkey, settings.max_staleness_seconds, memory) as store:
            yield store
    elif settings.sqlite_file is not None:
        embedded = SqliteTasks(settings.sqlite_file, memory)
        try:
            yield embedded
        finally:
            await embedded.close()
    else:
        raise ValueError("the configuration names no task store")


@asynccontextmanager
async def _valkey(settings: ValkeySettings, max_staleness_seconds: float, memory: Memory) -> AsyncIterator[TaskStore]:
    # Only where it is configured: the client takes a while to import.
    from authz.tasks.valkey import ValkeyTasks  # noqa: PLC0415
    from authz.tasks.valkey_connection import Access, PrimaryReach, Servers  # noqa: PLC0415
    from authz.tasks.valkey_follower import Promises  # noqa: PLC0415
    from authz.tasks.valkey_rows import Keys  # noqa: PLC0415

    tls = settings.tls
    access = Access(
        user=settings.user,
        password_file=settings.password_file,
        authorities_file=tls.authorities_file if tls else None,
        certificate_file=tls.certificate_file if tls else None,
        private_key_file=tls.private_key_file if tls else None,
    )
    servers = Servers(
        addresses=tuple(map(_host_and_port, settings.servers)),
        kind=settings.kind,
        sentinel_name=settings.sentinel_name or "",
        database=settings.database,
        access=access,
        timeout_seconds=settings.timeout_seconds,
    )
    promises = Promises(
        poll_seconds=min(settings.poll_seconds, max(max_staleness_seconds / 4, 0.001)),
        timeout_seconds=settings.timeout_seconds,
        min_replicas=settings.min_replicas,
    )
    store = ValkeyTasks(PrimaryReach(servers), memory, Keys(settings.prefix), promises, ", ".join(settings.servers))
    try:
        await store.connect()
        following = asyncio.create_task(store.follow())
        try:
            yield store
        finally:
            await _end(following)
    finally:
        await store.close()


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel it until it ends: with Python 3.11 a cancellation can get lost in what the client library waits on.

    See python/cpython issue 86296: `wait_for` returns what came at that very moment, and forgets that it was cancelled.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_CANCEL_AGAIN_SECONDS)


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
