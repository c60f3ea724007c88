"""A recorded check, decided as the server would decide it now, or at another time."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

from authz.core.identity import Asker
from authz.core.memory import Memory
from authz.core.outcome import Answer
from authz.core.record import Arrival, Record
from authz.core.spiffe import SpiffeId
from authz.server.checks import arrive
from authz.wire.recorded import RecordedCheck, read_recorded
from authz.wiring.knowledge import Knowledge, make_pipeline
from authz.wiring.stores import open_store

_WORKLOAD_API_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _AssumedAsker:
    """A recording does not hold who asked, so an operator says who to take for it."""

    spiffe_id: SpiffeId | None

    def admit(self, arrival: Arrival) -> Asker:  # noqa: ARG002  the arrival is of the recording, not of an Envoy
        return Asker(self.spiffe_id)


def decide_recorded(
    knowledge: Knowledge, recorded_file: Path, unix_seconds: float | None, asker: SpiffeId | None
) -> Record:
    """How the check in the file is decided, now or at another time. Nothing is audited."""
    return asyncio.run(_decide(knowledge, read_recorded(recorded_file), unix_seconds, asker))


async def _decide(
    knowledge: Knowledge, recorded: RecordedCheck, unix_seconds: float | None, asker: SpiffeId | None
) -> Record:
    memory = Memory(knowledge.settings.tasks.max_remembered)
    pipeline = replace(make_pipeline(knowledge, memory), door=_AssumedAsker(asker))
    async with open_store(knowledge.settings.tasks, memory) as store:
        knowledge.trust.start()
        try:
            await knowledge.trust.wait_for_first(_WORKLOAD_API_SECONDS)
            arrived = arrive(recorded.metadata)
            arrival = arrived if unix_seconds is None else replace(arrived, unix_seconds=unix_seconds)
            store.peek()
            outcome = pipeline.check(arrival, recorded.message)
            if not isinstance(outcome, Answer):
                await store.fetch(outcome.of_tasks)
                outcome = pipeline.check(arrival, recorded.message)
            return outcome.record
        finally:
            await knowledge.trust.stop()
