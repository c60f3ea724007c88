"""The task store: in go the settings, out comes the one store that they name, and what it needs to be kept true."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from authz.config import TaskSettings, ValkeySettings
from authz.core.errors import Place, Problem, Unusable
from authz.core.memory import Memory
from authz.ports import TaskKeeper, TaskNews, TaskReader, Tasks
from authz.tasks.sqlite import SqliteTasks


class TaskStore(Tasks, TaskKeeper, TaskReader, TaskNews, Protocol):
    """All that a task store does."""

    async def purge(self, expired_before_unix_seconds: float) -> int:
        """Delete some tasks that expired before then; returns how many. Raises Unavailable."""
        ...


@asynccontextmanager
async def open_store(settings: TaskSettings, memory: Memory) -> AsyncIterator[TaskStore]:
    """The store, and the memory kept true while it is open; raises Unusable or Unavailable where it cannot be begun."""
    if settings.valkey is not None:
        async with _valkey(settings.valkey, memory) as store:
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
async def _valkey(settings: ValkeySettings, memory: Memory) -> AsyncIterator[TaskStore]:
    # Only where it is configured: the client takes a while to import.
    from authz.tasks.valkey import ValkeyTasks  # noqa: PLC0415

    store = ValkeyTasks(
        settings.url,
        memory,
        prefix=settings.key_prefix,
        timeout_seconds=settings.timeout_seconds,
        user=settings.user,
        password=_password(settings),
    )
    try:
        await store.poll()
        following = asyncio.create_task(store.follow())
        try:
            yield store
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
    finally:
        await store.close()


def _password(settings: ValkeySettings) -> str | None:
    if settings.password_file is None:
        return None
    try:
        return settings.password_file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        what = f"the password cannot be read: {type(error).__name__}"
        raise Unusable(
            Problem(Place(settings.password_file), what, "Give a text file with the password alone.")
        ) from None
