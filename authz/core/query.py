"""Query: the one question that policies are asked. What is not in it, no policy can see."""

from dataclasses import dataclass
from typing import Self

from authz.core.errand import Errand
from authz.core.hop import ActionClass, Hop, Sensitivity
from authz.core.identity import Identity
from authz.core.spiffe import SpiffeId

_HOUR_SECONDS = 3600
_DAY_SECONDS = 24 * _HOUR_SECONDS
_EPOCH_WEEKDAY = 4  # 1970-01-01 was a Thursday


@dataclass(frozen=True, slots=True)
class Query:
    """May this agent, on such a task, do this action on this resource? Equal queries have equal answers.

    It holds no id and no clock finer than the hour, because values that never repeat would make every answer new.
    """

    agent: SpiffeId
    action: str
    classes: frozenset[ActionClass]
    resource: str
    service: str
    dataset: str
    sensitivity: Sensitivity
    purpose: str
    owner: str
    ceiling: Sensitivity
    utc_hour: int  # 0-23
    utc_weekday: int  # 1 Monday to 7 Sunday, as in ISO 8601

    @classmethod
    def about(cls, identity: Identity, errand: Errand, hop: Hop, unix_seconds: float) -> Self:
        """The question that this hop poses."""
        operation, task, seconds = hop.operation, errand.task, int(unix_seconds)
        return cls(
            agent=identity.spiffe_id,
            action=operation.action,
            classes=operation.classes,
            resource=operation.resource,
            service=operation.service,
            dataset=operation.dataset,
            sensitivity=operation.sensitivity,
            purpose=task.purpose,
            owner=task.owner,
            ceiling=task.ceiling,
            utc_hour=seconds % _DAY_SECONDS // _HOUR_SECONDS,
            utc_weekday=(seconds // _DAY_SECONDS + _EPOCH_WEEKDAY - 1) % 7 + 1,
        )
