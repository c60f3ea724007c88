"""Record: one check, told once. Span, metrics, audit line and `authz explain` are small readers of it."""

from dataclasses import dataclass

from authz.core.approval import AccessRequest, Approval
from authz.core.decision import Decision, Verdict
from authz.core.errand import Errand
from authz.core.hop import Hop
from authz.core.identity import Asker, Identity
from authz.core.request import Request
from authz.core.task import Task
from authz.core.token import Ticket


@dataclass(frozen=True, slots=True)
class Arrival:
    """When and how a check reached us: the one `now` of the check, and what its carrier said."""

    unix_seconds: float
    boot_ns: int  # CLOCK_BOOTTIME, for ages: it never steps back and goes on while a machine sleeps
    decision_id: str
    traceparent: str = ""  # of Envoy's client span, from the call's own metadata
    tracestate: str = ""
    unverified_asker_certificate: str = ""  # PEM of the leaf that our TLS peer showed; empty in plain text
    unverified_asker_chain: str = ""  # PEM of that leaf and its intermediates; empty where there are none


@dataclass(frozen=True, slots=True)
class Record:
    """All that one check found out, down to where it ended. What was not reached is None."""

    arrival: Arrival
    asker: Asker | None
    request: Request | None
    identity: Identity | None
    ticket: Ticket | None
    errand: Errand | None
    hop: Hop | None
    verdict: Verdict | None
    decision: Decision
    fault: BaseException | None = None  # a defect of ours, for the log
    access_request: AccessRequest | None = None  # what was asked of people, and perhaps granted
    approvals: tuple[Approval, ...] = ()  # that the hop spends

    @property
    def task(self) -> Task | None:
        """The task that the hop names."""
        return self.errand.task if self.errand else None
