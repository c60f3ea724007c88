"""Views: what people are shown of tasks, beyond what a check needs."""

from dataclasses import dataclass

from authz.core.approval import AccessRequest
from authz.core.task import Task


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task, and what its agents were stopped at and asked approvals for, oldest first."""

    task: Task
    requests: tuple[AccessRequest, ...] = ()


@dataclass(frozen=True, slots=True)
class News:
    """The tasks that changed, oldest change first. `is_everything`: others may have changed too."""

    place: str  # where to go on
    task_ids: tuple[str, ...] = ()
    is_everything: bool = False
