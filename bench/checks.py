"""One check in this process: decode, certificate seen before, task in memory, route, policies, encode."""

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

from authz.core.outcome import Answer
from authz.pipeline import Pipeline
from authz.policy.cedar import CedarPolicy
from bench.row import Row, median_us
from tests.support.world import World, arrival_now

CACHED_BOUND_US = 150
UNCACHED_BOUND_US = 600


def rows() -> Iterator[Row]:
    """`check_cached_us` and `check_uncached_us`."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        running = world.pipeline()
        message = world.check(world.start_task().id)
        for _ in range(2):  # the first teaches the session what it reads, which every process then reads anew
            running.decide(message)
        engine = running.pipeline.policy
        if not isinstance(engine, CedarPolicy):
            raise TypeError("the wiring has another engine")
        fresh = CedarPolicy.of(engine.policies, engine.vocabulary, engine.version, remembers=False)
        uncached = dataclasses.replace(running.pipeline, policy=fresh)

        def check(pipeline: Pipeline) -> None:
            running.store.peek()
            if not isinstance(pipeline.check(arrival_now(), message), Answer):
                raise TypeError("a check that lacks something is no measure")

        cached_us = median_us(lambda: check(running.pipeline), calls=10_000)
        uncached_us = median_us(lambda: check(uncached), calls=2_000)
        running.close()
    how = "in process, median of batches of 20; with the look at the store, without audit and transport"
    yield Row("check_cached_us", cached_us, "us", CACHED_BOUND_US, how)
    yield Row("check_uncached_us", uncached_us, "us", UNCACHED_BOUND_US, how)
