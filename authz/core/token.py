"""What a request says of its task: a look-up key, or a proven Txn-Token (draft-ietf-oauth-transaction-tokens)."""

from dataclasses import dataclass

from authz.core.errors import Refused
from authz.core.identity import Identity
from authz.core.reasons import Reason
from authz.core.spiffe import SpiffeId
from authz.core.task import Task


@dataclass(frozen=True, slots=True)
class TaskToken:
    """A Txn-Token whose signature and claims were verified. Only a verifier makes one.

    It proves what was said when it was issued. Who presents it, and whether the task still stands, it does not prove.
    """

    digest: str  # SHA-256, in hex: all of the token that may be written down
    task: Task  # the task as the token tells it
    agent: SpiffeId | None  # `act.sub`: the one workload that may present it; None for all agents of the task
    requester: str  # `req_wl`: the workload that it was issued to
    key_id: str
    expires_unix_seconds: float

    def must_be_presented_by(self, identity: Identity) -> None:
        """The caller is the agent that the token is bound to; raises Refused."""
        if self.agent is not None and self.agent != identity.spiffe_id:
            raise Refused(Reason.TOKEN_OF_ANOTHER_AGENT, f"the token is {self.agent}'s")

    def must_agree_with(self, task: Task) -> None:
        """The record says the same of the transaction and its owner; raises Refused."""
        if self.task.transaction != task.transaction:
            raise Refused(Reason.TOKEN_OF_ANOTHER_TASK, f"{task.id} is another transaction than the token's")
        if self.task.owner != task.owner:
            raise Refused(Reason.TOKEN_OF_ANOTHER_TASK, f"the owner of {task.id} is not the token's subject")


@dataclass(frozen=True, slots=True)
class Ticket:
    """On whose errand the request says it is: a look-up key, and the token that it came from, if it did."""

    task_id: str
    token: TaskToken | None = None
    stands_alone: bool = False  # whether the token counts where the store has no record of its task

    def must_be_presented_by(self, identity: Identity) -> None:
        """The caller may present it: a look-up key everyone may, a token who it is bound to; raises Refused."""
        if self.token is not None:
            self.token.must_be_presented_by(identity)
