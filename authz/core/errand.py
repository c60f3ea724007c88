"""Errand: a task together with the tasks that it was delegated from, and the rules that hold along the whole chain.

What is delegated can only be narrower: a hop must be covered by the task and by every task above it, and the end,
suspension or expiry of one above is that of all below.
"""

from dataclasses import dataclass

from authz.core.acts import Ask, Proceed
from authz.core.approval import MAX_REQUESTS, AccessRequest, Approval
from authz.core.errors import Refused
from authz.core.facts import WORST_FACTS, Facts
from authz.core.hop import Operation
from authz.core.identity import Identity
from authz.core.ids import hop_key
from authz.core.reasons import Reason
from authz.core.task import Task

_STEPS_IN_IDLE_TIME = 8


@dataclass(frozen=True, slots=True)
class Errand:
    """`chain` begins with the task that the hop names and ends with the one that a person or service started."""

    chain: tuple[Task, ...]
    is_recorded: bool = True  # False: all that is known of it is a token, so nothing can be kept

    @property
    def facts(self) -> Facts:
        """What the session has done; the worst that can be where nothing could be kept."""
        return self.root.facts if self.is_recorded else WORST_FACTS

    @property
    def task(self) -> Task:
        """The task that the hop names."""
        return self.chain[0]

    @property
    def root(self) -> Task:
        """The task that was started. The session is its: what one task of the tree has seen, all may have been told."""
        return self.chain[-1]

    def must_name(self, identity: Identity) -> None:
        """The caller is an agent of the task itself; those of the tasks above have their own. Raises Refused."""
        self.task.must_name(identity)

    def must_be_live(self, unix_seconds: float) -> None:
        """Every task of the chain is live, and the session did not rest for too long; raises Refused."""
        for task in self.chain:
            task.must_be_live(unix_seconds)
        root = self.root
        if root.idle_seconds is not None:
            idle = unix_seconds - max(root.active_unix_seconds, root.starts_unix_seconds)
            if idle >= root.idle_seconds:
                raise Refused(Reason.TASK_IDLE, f"{root.id} rested {idle:.0f} s; it may {root.idle_seconds:g} s")

    def must_cover(self, operation: Operation) -> None:
        """Every task of the chain covers the operation; raises Refused."""
        for task in self.chain:
            task.must_cover(operation)

    def must_afford(self, message: bytes) -> None:
        """Every budget along the chain has something left for the hop of this check; raises Refused."""
        for task in self.chain:
            if task.budget_hops is not None:
                task.must_afford(hop_key(message))

    def approvals_for(self, request: AccessRequest, message: bytes, unix_seconds: float) -> tuple[Approval, ...]:
        """The approvals that let the hop of this check go on; empty where any lacks. Raises Refused on a no."""
        return self.task.approvals_for(request, hop_key(message), unix_seconds)

    def asking(self, request: AccessRequest) -> Ask | None:
        """What must be kept so that people can approve; None where it is, or where there is no record to keep it by."""
        if request.digest in self.task.asked or not self.is_recorded:
            return None
        if len(self.task.asked) >= MAX_REQUESTS:
            raise Refused(Reason.ACCESS_REQUESTS_EXHAUSTED, f"{self.task.id} has {len(self.task.asked)}")
        return Ask(request)

    def proceeding(
        self, operation: Operation, approvals: tuple[Approval, ...], message: bytes, unix_seconds: float
    ) -> Proceed | None:
        """What must be kept before the hop of this check may go on; None where nothing is new, which is usual."""
        learned = Facts.of(operation)
        active = self._activity(unix_seconds)
        if not self.is_recorded:
            return None
        spends = frozenset(task.id for task in self.chain if task.budget_hops is not None)
        if self.root.facts.covers(learned) and active <= self.root.active_unix_seconds and not spends and not approvals:
            return None
        spent = frozenset(each.id for each in approvals)
        return Proceed(self.task.id, hop_key(message), learned, active, spends, spent)

    def _activity(self, unix_seconds: float) -> float:
        """The moment, rounded down so that a busy session is written eight times in its idle time, not at each hop.

        It may be taken for idle early by one step, never late.
        """
        idle = self.root.idle_seconds
        if idle is None:
            return 0.0
        step = idle / _STEPS_IN_IDLE_TIME
        return unix_seconds // step * step
