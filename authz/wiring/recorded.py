"""A recorded check, decided as the server would decide it now, or at another time."""

import asyncio
from dataclasses import replace
from pathlib import Path

from authz.core.memory import Memory
from authz.core.outcome import Answer
from authz.core.record import Record
from authz.server.checks import arrive
from authz.tasks.sqlite import SqliteTasks
from authz.wire.recorded import read_recorded
from authz.wiring.knowledge import make_pipeline, read


def decide_recorded(config_file: Path, recorded_file: Path, unix_seconds: float | None) -> Record:
    """How the check in the file is decided, now or at another time. Nothing is audited."""
    knowledge = read(config_file)
    recorded = read_recorded(recorded_file)
    memory = Memory(knowledge.settings.tasks.max_remembered)
    pipeline = make_pipeline(knowledge, memory)
    arrived = arrive(recorded.metadata)
    arrival = arrived if unix_seconds is None else replace(arrived, unix_seconds=unix_seconds)
    store = SqliteTasks(knowledge.settings.tasks.sqlite_file, memory)
    try:
        store.peek()
        outcome = pipeline.check(arrival, recorded.message)
        if not isinstance(outcome, Answer):
            asyncio.run(store.fetch(outcome.wants))
            outcome = pipeline.check(arrival, recorded.message)
        return outcome.record
    finally:
        store.close()
