"""Messages of the task service: in goes what a client wrote, out comes a Demand; and tasks as messages, and back.

What a client wrote wrongly becomes NotADemand, with the field and what to write instead.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from authz.api.pb.authz.tasks.v1 import tasks_pb2 as pb
from authz.core.approval import AccessRequest, Approval
from authz.core.demand import Draft
from authz.core.hop import Sensitivity
from authz.core.spiffe import NotASpiffeId, SpiffeId
from authz.core.task import Grant, NotAGrant, Task, TaskState
from authz.core.view import TaskView

_CEILINGS = {str(each): each for each in Sensitivity}
_V = TypeVar("_V")


class NotADemand(ValueError):
    """A field does not hold what it should; the message says which, and what it should hold."""

    def __init__(self, field: str, what: str) -> None:
        super().__init__(f"{field}: {what}")
        self.field = field
        self.what = what


def read_draft(message: pb.Draft, field: str = "draft") -> Draft:
    """What a client wants made; raises NotADemand."""
    if not message.purpose:
        raise NotADemand(f"{field}.purpose", "say what the task is for")
    if not message.HasField("lifetime") or message.lifetime.ToTimedelta().total_seconds() <= 0:
        raise NotADemand(f"{field}.lifetime", "say for how long it may live")
    if message.ceiling not in _CEILINGS:
        raise NotADemand(f"{field}.ceiling", f"write one of {', '.join(_CEILINGS)}")
    return Draft(
        owner=message.owner,
        purpose=message.purpose,
        agents=frozenset(_each(message.agents, f"{field}.agents", SpiffeId.parse)),
        grants=tuple(_each(message.grants, f"{field}.grants", Grant.parse)),
        ceiling=_CEILINGS[message.ceiling],
        lifetime_seconds=message.lifetime.ToTimedelta().total_seconds(),
        starts_unix_seconds=_unix_seconds(message.starts) if message.HasField("starts") else None,
        idle_seconds=message.idle.ToTimedelta().total_seconds() if message.HasField("idle") else None,
        budget_hops=message.budget_hops if message.HasField("budget_hops") else None,
    )


def draft_message(draft: Draft) -> pb.Draft:
    """The message that asks for it."""
    message = pb.Draft(
        owner=draft.owner,
        purpose=draft.purpose,
        agents=sorted(map(str, draft.agents)),
        grants=list(map(str, draft.grants)),
        ceiling=str(draft.ceiling),
        lifetime=duration(draft.lifetime_seconds),
    )
    if draft.starts_unix_seconds is not None:
        message.starts.CopyFrom(_timestamp(draft.starts_unix_seconds))
    if draft.idle_seconds is not None:
        message.idle.CopyFrom(duration(draft.idle_seconds))
    if draft.budget_hops is not None:
        message.budget_hops = draft.budget_hops
    return message


def task_message(task: Task, unix_seconds: float) -> pb.Task:
    """The task as clients see it at that moment."""
    facts = task.facts
    message = pb.Task(
        id=task.id,
        parent_id=task.parent_id,
        owner=task.owner,
        purpose=task.purpose,
        agents=sorted(map(str, task.agents)),
        grants=list(map(str, task.grants)),
        ceiling=str(task.ceiling),
        starts=_timestamp(task.starts_unix_seconds),
        expires=_timestamp(task.expires_unix_seconds),
        state=_state(task, unix_seconds),
        started_by=task.started_by,
        transaction=task.transaction,
        spent_hops=task.spent_hops,
        session=pb.Session(
            actions=sorted(facts.actions),
            classes=sorted(map(str, facts.classes)),
            datasets=sorted(facts.datasets),
            high_water=str(facts.high_water),
            untrusted_input=facts.untrusted_input,
        ),
    )
    if task.idle_seconds is not None:
        message.idle.CopyFrom(duration(task.idle_seconds))
    if task.budget_hops is not None:
        message.budget_hops = task.budget_hops
    return message


def request_messages(view: TaskView) -> list[pb.AccessRequest]:
    """What the task's agents were stopped at, with the answers so far."""
    return [_request_message(request, view.task) for request in view.requests]


def _request_message(request: AccessRequest, task: Task) -> pb.AccessRequest:
    return pb.AccessRequest(
        digest=request.digest,
        agent=request.agent,
        action=request.action,
        resource=request.resource,
        parameters=dict(request.parameters),
        arguments_digest=request.arguments_digest,
        kinds=sorted(request.kinds),
        denied=request.digest in task.rejected,
        approvals=[_approval_message(each) for each in task.approvals if each.digest == request.digest],
    )


def _approval_message(approval: Approval) -> pb.Approval:
    return pb.Approval(
        id=approval.id,
        kind=approval.kind,
        approver=approval.approver,
        expires=_timestamp(approval.expires_unix_seconds),
        spent=bool(approval.spent_by),
    )


def _state(task: Task, unix_seconds: float) -> pb.State:
    if task.state is not TaskState.ACTIVE:
        return pb.State.ENDED
    if unix_seconds >= task.expires_unix_seconds:
        return pb.State.EXPIRED
    return pb.State.SUSPENDED if task.is_suspended else pb.State.ACTIVE


def _each(texts: Iterable[str], field: str, parse: Callable[[str], _V]) -> list[_V]:
    values = list[_V]()
    for number, text in enumerate(texts):
        try:
            values.append(parse(text))
        except (NotASpiffeId, NotAGrant) as error:
            raise NotADemand(f"{field}[{number}]", str(error)) from error
    if not values:
        raise NotADemand(field, "name at least one")
    return values


def _timestamp(unix_seconds: float) -> Timestamp:
    message = Timestamp()
    message.FromMilliseconds(round(unix_seconds * 1000))
    return message


def _unix_seconds(message: Timestamp) -> float:
    return message.ToDatetime(tzinfo=UTC).timestamp()


def moment(message: Timestamp) -> datetime:
    """The instant, in UTC."""
    return message.ToDatetime(tzinfo=UTC)


def duration(seconds: float) -> Duration:
    """The message of a duration."""
    message = Duration()
    message.FromMilliseconds(round(seconds * 1000))
    return message


def seconds_of(message: Duration) -> float:
    """The duration in seconds."""
    return message.ToTimedelta().total_seconds()
