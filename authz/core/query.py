"""Query: the one question that policies are asked. What is not in it, no policy can see."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from authz.core.errand import Errand
from authz.core.facts import NO_FACTS, Facts
from authz.core.hop import Argument, Hop, Operation, Sensitivity
from authz.core.identity import Identity
from authz.core.request import Request
from authz.core.spiffe import SpiffeId

_HOUR_SECONDS = 3600
_DAY_SECONDS = 24 * _HOUR_SECONDS
_EPOCH_WEEKDAY = 4  # 1970-01-01 was a Thursday
_MOST = 2**63 - 1  # of a Long in Cedar, and of an integer that every JSON parser keeps


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """May this agent, on such a task, with such a past, do this operation with these arguments?

    Equal queries have equal answers. It holds no id of a task or a hop, so no policy can be about one alone.
    """

    agent: SpiffeId
    operation: Operation
    purpose: str
    owner: str
    ceiling: Sensitivity
    depth: int  # of delegation
    age_seconds: int  # since the task's time began
    remaining_seconds: int  # until it is over
    utc_hour: int  # 0-23
    utc_weekday: int  # 1 Monday to 7 Sunday, as in ISO 8601
    facts: Facts = NO_FACTS  # what the task's session did before this hop
    arguments: Mapping[str, Argument] = field(default_factory=dict, hash=False)
    parameters: Mapping[str, str] = field(default_factory=dict, hash=False)
    request: Request | None = field(default=None, hash=False)  # as Envoy described it; none where there was none

    @classmethod
    def about(
        cls, identity: Identity, errand: Errand, hop: Hop, unix_seconds: float, request: Request | None = None
    ) -> Self:
        """The question that this hop poses."""
        task, seconds = errand.task, int(unix_seconds)
        return cls(
            agent=identity.spiffe_id,
            operation=hop.operation,
            purpose=task.purpose,
            owner=task.owner,
            ceiling=task.ceiling,
            depth=task.depth,
            age_seconds=int(unix_seconds - task.starts_unix_seconds),
            remaining_seconds=int(task.expires_unix_seconds - unix_seconds),
            utc_hour=seconds % _DAY_SECONDS // _HOUR_SECONDS,
            utc_weekday=(seconds // _DAY_SECONDS + _EPOCH_WEEKDAY - 1) % 7 + 1,
            facts=errand.facts,
            arguments=hop.arguments,
            parameters=hop.parameters,
            request=request,
        )

    def fault(self) -> str:
        """Why no engine can be asked this as it is; empty where each can.

        Seen here and once, because an engine sees only what its policies read: whatever else were wrong with the
        question, a remembered answer would hide it.
        """
        if not _are_texts(self.purpose, self.owner):
            return "the task's purpose or owner is no Unicode text"
        for number in (self.depth, self.age_seconds, self.remaining_seconds, self.utc_hour, self.utc_weekday):
            if not -_MOST <= number <= _MOST:
                return "a number is beyond 64 bits"
        return _fault_of_inputs(self.arguments, self.parameters) if self.arguments or self.parameters else ""


def _fault_of_inputs(arguments: Mapping[str, Argument], parameters: Mapping[str, str]) -> str:
    for name, value in arguments.items():
        if isinstance(value, str | frozenset):
            if not _are_texts(*([value] if isinstance(value, str) else value)):
                return f"the argument {name!r} is no Unicode text"
        elif not -_MOST <= value <= _MOST:
            return f"the argument {name!r} is beyond 64 bits"
    for name, text in parameters.items():
        if not _are_texts(text):
            return f"the parameter {name!r} is no Unicode text"
    return ""


def _are_texts(*texts: str) -> bool:
    """Whether UTF-8 can carry them: lone surrogates cannot be."""
    try:
        for text in texts:
            if not text.isascii():
                text.encode()
    except UnicodeEncodeError:
        return False
    return True
