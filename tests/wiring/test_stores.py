"""The store that a configuration names, as a server has it: followed all along."""

import asyncio
import contextlib
import os
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from authz.config import TaskSettings
from authz.core.acts import End, Put
from authz.core.errors import Unavailable
from authz.core.memory import Memory
from authz.core.outcome import Know, Lacks
from authz.core.task import Task
from authz.wiring.stores import TaskStore, open_store
from tests.tasks.nodes import make_task
from tests.tasks.shared_stores import server_port

ENDS = 200
DECLARED_STALENESS_SECONDS = 1.0


def _settings(port: int) -> TaskSettings:
    valkey = {"servers": (f"127.0.0.1:{port}",), "prefix": f"{{wiring-{os.getpid()}}}"}
    return TaskSettings.model_validate({"valkey": valkey})


async def _seconds_until_forgotten(memory: Memory, task_id: str) -> float:
    began = time.monotonic()
    with contextlib.suppress(Lacks):
        while time.monotonic() < began + 10 * DECLARED_STALENESS_SECONDS:
            memory.find(task_id)
            await asyncio.sleep(0.001)
    return time.monotonic() - began


async def _known(store: TaskStore, memory: Memory, task: Task) -> None:
    """The replica remembers the task; news of its beginning may come in between, and it reads again, as checks do."""
    for _ in range(10):
        await store.fetch(frozenset({Know(task.id)}))
        with contextlib.suppress(Lacks):
            assert memory.find(task.id) == task
            return
    pytest.fail("the task was never remembered")


async def _delays(settings: TaskSettings) -> list[float]:
    here, there = Memory(1000), Memory(1000)
    delays = []
    async with open_store(settings, here) as one, open_store(settings, there) as other:
        for _ in range(ENDS):
            task = make_task()
            await one.do(Put(task))
            await _known(other, there, task)
            await one.do(End(task.id))
            delays.append(await _seconds_until_forgotten(there, task.id))
    return delays


def test_replicas_forget_an_ended_task_within_the_declared_staleness() -> None:
    """Of two hundred tasks ended through one replica, the other remembers none as live for longer."""
    delays = asyncio.run(_delays(_settings(server_port("valkey"))))
    assert max(delays) < DECLARED_STALENESS_SECONDS, sorted(delays)[-5:]


def test_a_server_that_is_not_there_yet_is_waited_for() -> None:
    """A store that cannot be reached stops no start: what needs it is refused, at once and with a message."""

    async def asking() -> None:
        async with open_store(_settings(1), Memory(1)) as store:
            await store.fetch(frozenset({Know("0190aaaa")}))

    with pytest.raises(Unavailable, match="task store"):
        asyncio.run(asking())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"sqlite_file": "tasks.db", "valkey": {"servers": ["localhost:6379"]}},
        {"valkey": {"servers": ["user:secret@localhost:6379"]}},
        {"valkey": {"servers": ["redis://localhost:6379/0"]}},
        {"valkey": {"servers": ["localhost:6379"], "prefix": "no-tag"}},
        {"valkey": {"servers": ["one:6379", "two:6379"]}},
        {"valkey": {"servers": ["one:26379"], "kind": "sentinel"}},
        {"valkey": {"servers": ["one:6379"], "sentinel_name": "tasks"}},
        {"valkey": {"servers": ["one:6379"], "kind": "cluster", "database": 1}},
    ],
    ids=[
        *("none", "both", "a password in the text", "a URL", "no hash tag", "two primaries"),
        *("a sentinel without a name", "a name without a sentinel", "a cluster's second database"),
    ],
)
def test_the_settings_name_one_store_that_can_be_used(settings: dict[str, object]) -> None:
    """Anything else is refused, not guessed."""
    with pytest.raises(ValidationError):
        TaskSettings.model_validate(settings, context={"folder": Path()})
