"""Policies that change under load: how long a check waits at most while 10,000 policies are compiled and swapped in."""

import asyncio
import dataclasses
import gc
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from authz.core.outcome import Answer
from authz.wiring.knowledge import read
from authz.wiring.rules import Reload, Rules, look_at
from bench.row import Row
from tests.support.world import POLICIES, SUPPORT, World, arrival_now

POLICY_COUNT = 10_000
BOUND_MS = 5
RELOADS = 3
MILLISECONDS = 1000
PAUSE_SECONDS = 0.002  # between checks


def policies(count: int, hour: int) -> str:
    """So many policies, most of them about single agents."""
    return POLICIES + "".join(
        f'@id("agent-{index}")\nforbid (principal == Agent::"{SUPPORT}-{index}", action, resource)\n'
        f"when {{ context.utc_hour == {(index + hour) % 24} }};\n"
        for index in range(count)
    )


def rows() -> Iterator[Row]:
    """`reload_longest_check_ms`."""
    with tempfile.TemporaryDirectory() as folder:
        longest, idle, took = zip(*asyncio.run(_reloads(Path(folder))), strict=True)
    how = (
        f"from when a check was due to its answer, one every 2 ms, while {POLICY_COUNT} policies are compiled and "
        f"swapped, which takes {statistics.median(took):.1f} s; median of {RELOADS}, worst {max(longest):.3g}; without "
        f"a reload {statistics.median(idle):.3g}"
    )
    yield Row("reload_longest_check_ms", statistics.median(longest), "ms", BOUND_MS, how)


async def _reloads(folder: Path) -> list[tuple[float, float, float]]:
    """For each: the longest wait in ms with and without it, and the seconds that it took."""
    world = World(folder)
    message = world.check((await asyncio.to_thread(world.start_task)).id)
    running = await asyncio.to_thread(world.pipeline)
    await asyncio.to_thread(running.decide, message)
    knowledge = read(world.config_file)
    rules = Rules(knowledge.catalog, knowledge.policy)
    reload = Reload(knowledge.settings, rules, look_at(knowledge.settings))
    pipeline = dataclasses.replace(running.pipeline, catalog=rules, policy=rules)

    async def longest_ms(until: "asyncio.Task[None]") -> float:
        longest, due = 0.0, time.perf_counter()
        while not until.done():
            if not isinstance(pipeline.check(arrival_now(), message), Answer):
                running.store.peek()
            longest = max(longest, time.perf_counter() - due)
            due = time.perf_counter() + PAUSE_SECONDS
            await asyncio.sleep(PAUSE_SECONDS)
        await until
        return longest * MILLISECONDS

    found = []
    for hour in range(RELOADS):
        (folder / "policies" / "crm.cedar").write_text(policies(POLICY_COUNT, hour))
        gc.collect()
        start = time.perf_counter()
        loaded = await longest_ms(asyncio.create_task(reload.look(is_whole=True)))
        took = time.perf_counter() - start
        idle = await longest_ms(asyncio.create_task(asyncio.sleep(took)))
        found.append((loaded, idle, took))
    if reload.loads != RELOADS:
        raise ValueError(reload.trouble)
    await running.store.close()
    return found
