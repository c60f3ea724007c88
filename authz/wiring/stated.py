"""A hop whose caller, errand and moment are stated rather than proven, decided by the server's own pipeline.

Cases of `authz policy test` and lines of the audit log both become this, so neither has an evaluator of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from authz.core.approval import Approval
from authz.core.hop import Hop, Operation
from authz.core.identity import Asker, Identity, Proof
from authz.core.ids import uuid7
from authz.core.memory import Memory
from authz.core.record import Arrival, Record
from authz.core.request import Request
from authz.core.spiffe import SpiffeId
from authz.core.task import Task
from authz.core.token import Ticket
from authz.pipeline import Pipeline
from authz.ports import Catalog, Policy
from authz.wire.encode import Encoder

_MOST_TASKS = 64
_A_DAY_SECONDS = 86400.0
HALF_SECOND = 0.5
"""For ages and remaining times in whole seconds: put in the middle, they come out whole however a moment is rounded."""
_NOWHERE = Request("", "", "", {}, "", "", "")
_MESSAGE = b"a stated hop"

Operations = Mapping[str, Mapping[str, Operation]]
"""The entries of a catalog, by action and then by resource."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """Who calls, on which errand, when, and what: a request that a catalog must understand, or a hop as it is."""

    agent: SpiffeId
    chain: tuple[Task, ...]  # as in Errand: the task itself first
    unix_seconds: float
    what: Request | Hop
    approved: frozenset[str] = frozenset()  # kinds of approval that were given for this hop


def decide_stated(stated: Stated, catalog: Catalog, policy: Policy) -> Record:
    """How the server would decide the hop."""
    record = _check(stated, catalog, policy)
    if record.access_request is None or not stated.approved:
        return record
    task, until = stated.chain[0], stated.unix_seconds + _A_DAY_SECONDS
    digest = record.access_request.digest
    approvals = (Approval(kind, digest, kind, "stated", until) for kind in sorted(stated.approved))
    approved = replace(task, approvals=tuple(approvals))
    return _check(replace(stated, chain=(approved, *stated.chain[1:])), catalog, policy)


def by_action(operations: tuple[Operation, ...]) -> Operations:
    """The entries by action and resource."""
    found: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        found.setdefault(operation.action, {})[operation.resource] = operation
    return found


def _check(stated: Stated, catalog: Catalog, policy: Policy) -> Record:
    memory = Memory(_MOST_TASKS, as_of_ns=0)
    for task in stated.chain:
        memory.put(task, as_of_ns=0)
    request = stated.what if isinstance(stated.what, Request) else _NOWHERE
    pipeline = Pipeline(
        door=_NoDoor(),
        decode=lambda _: request,
        verifier=_StatedCaller(stated.agent, stated.unix_seconds + _A_DAY_SECONDS),
        carrier=_StatedErrand(stated.chain[0].id),
        memory=memory,
        catalog=_StatedHop(stated.what) if isinstance(stated.what, Hop) else catalog,
        policy=policy,
        encode=Encoder("x-task-id"),
        max_staleness_ns=0,
    )
    arrival = Arrival(stated.unix_seconds, 0, uuid7(stated.unix_seconds, bytes(10)))
    return pipeline.check(arrival, _MESSAGE).record


@dataclass(frozen=True, slots=True)
class _NoDoor:
    def admit(self, arrival: Arrival) -> Asker:  # noqa: ARG002  nobody asks, so everybody may
        return Asker(None)


@dataclass(frozen=True, slots=True)
class _StatedCaller:
    spiffe_id: SpiffeId
    until_unix_seconds: float

    def verify(self, request: Request, asker: Asker, arrival: Arrival) -> Identity:  # noqa: ARG002  it is stated
        return Identity(self.spiffe_id, Proof.CERTIFICATE, self.until_unix_seconds)


@dataclass(frozen=True, slots=True)
class _StatedErrand:
    task_id: str

    def read(self, request: Request, arrival: Arrival) -> Ticket:  # noqa: ARG002  it is stated
        return Ticket(self.task_id)


@dataclass(frozen=True, slots=True)
class _StatedHop:
    hop: Hop

    def classify(self, request: Request) -> Hop:  # noqa: ARG002  it is stated
        return self.hop
