"""Step-up: what must be approved, by which digest an approval is bound to it, and what an approval is.

An approval counts for one hop of one shape: the same task, agent, action, resource and arguments. It is bound to them
by digest, as in the AuthZEN access request and approval profile, so a swapped or changed hop has no approval.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Self

from authz.core.hop import Hop
from authz.core.identity import Identity

MAX_REQUESTS = 64
"""How many access requests of one task may be kept, so that an agent cannot fill the store by varying its arguments."""


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """What an agent was stopped at, for people who may approve it. Its `digest` names it within its task."""

    task_id: str
    agent: str
    action: str
    resource: str
    parameters: tuple[tuple[str, str], ...]  # of the path, by name
    arguments_digest: str
    kinds: frozenset[str]  # of approvals that were asked for when it was made

    @classmethod
    def of(cls, task_id: str, identity: Identity, hop: Hop, kinds: frozenset[str]) -> Self:
        """The request that this hop amounts to."""
        return cls(
            task_id=task_id,
            agent=identity.spiffe_id.uri,
            action=hop.operation.action,
            resource=hop.operation.resource,
            parameters=tuple(sorted(hop.parameters.items())),
            arguments_digest=hop.arguments_digest,
            kinds=kinds,
        )

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of all but the kinds, as JSON with sorted keys: of texts, that is RFC 8785's form."""
        bound = {
            "action": self.action,
            "agent": self.agent,
            "arguments": self.arguments_digest,
            "parameters": dict(self.parameters),
            "resource": self.resource,
            "task": self.task_id,
        }
        text = json.dumps(bound, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Approval:
    """Someone's word that one hop may go on. It is spent by the first hop that needs it."""

    id: str
    digest: str  # of the access request
    kind: str
    approver: str
    expires_unix_seconds: float
    spent_by: str = ""  # the key of the hop that used it

    def helps(self, digest: str, hop_key: str, unix_seconds: float) -> bool:
        """Whether it lifts this hop's step-up: made for it, in time, and unspent or spent by this very hop."""
        return self.digest == digest and unix_seconds < self.expires_unix_seconds and self.spent_by in ("", hop_key)
