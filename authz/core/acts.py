"""Acts: all that changes a task. A store does each of them whole or not at all, and acknowledges only what is kept.

Doing an act again changes nothing more, so a lost acknowledgement may be answered by a second try.
"""

from dataclasses import dataclass, field

from authz.core.approval import AccessRequest, Approval
from authz.core.facts import NO_FACTS, Facts
from authz.core.task import Task


class NoSuchTask(LookupError):
    """The store keeps no task of this id."""


class Conflict(ValueError):
    """The store's state does not allow the act, and nothing was changed; the message says what stands against it."""


@dataclass(frozen=True, slots=True)
class Put:
    """Keep a new task. Conflict where its id or its transaction is taken, or where its parent is not live."""

    task: Task


@dataclass(frozen=True, slots=True)
class End:
    """End a task, and with it all that it delegated."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Suspend:
    """Stop a task, and with it all that it delegated, until it is resumed."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Resume:
    """Let a suspended task go on."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Keep what an agent was stopped at, for those who may approve it. Conflict where a task has too many."""

    request: AccessRequest


@dataclass(frozen=True, slots=True)
class Approve:
    """Keep an approval. Conflict where the task has no access request of that digest."""

    task_id: str
    approval: Approval


@dataclass(frozen=True, slots=True)
class Reject:
    """Say no to an access request, and void the approvals made for it. Conflict where there is no such request."""

    task_id: str
    digest: str


@dataclass(frozen=True, slots=True)
class Proceed:
    """What an allowed hop leaves behind; the hop may go on once it is acknowledged.

    Conflict where a budget is used up or an approval was spent by another hop, which a hop cannot know from memory.
    The store tells hops apart by `hop_key`: the same hop, checked again, spends nothing more.
    """

    task_id: str
    hop_key: str
    facts: Facts = NO_FACTS  # what the session learns by it
    active_unix_seconds: float = 0.0  # the session's last activity, rounded down
    spends: frozenset[str] = field(default_factory=frozenset)  # tasks of the chain that pay for the hop
    approvals: frozenset[str] = field(default_factory=frozenset)


Act = Put | End | Suspend | Resume | Ask | Approve | Reject | Proceed
