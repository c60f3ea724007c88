"""Player: planned hops in, what came of each out, judged.

A hop is as expected if its answer is, and if its tool got it exactly once, or never; for a call from tool to tool also
if the audit record shows both hops in one trace, on one task, each by its own agent and asked by its own Envoy.
"""

import contextlib
import json
import secrets
import time
from dataclasses import dataclass
from http import HTTPStatus

from authz.core.reasons import Reason
from authz.demo.agents import Answered, Headers, NoAnswer, Outcome, TlsFailure
from authz.demo.credentials import spiffe_id
from authz.demo.hops import (
    MALFORMED_TASK,
    NO_SUCH_TASK,
    NO_TASK,
    TASK_TWICE,
    TLS,
    Event,
    PlannedHop,
)
from authz.demo.mesh import Door, Mesh

_JWT_HEADER = "x-jwt-svid"  # as authz.yaml has it
_NO_SUCH_ID = "01900000-0000-7000-8000-000000000000"
_MALFORMED_ID = "../../etc/passwd"
_BRIEF_SECONDS = 1.0
_OUTAGES = frozenset(reason.id for reason in Reason if reason.http_status == HTTPStatus.SERVICE_UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class PlayedHop:
    """A planned hop with what came of it; `faults` says what was not as expected, and is empty where all was."""

    planned: PlannedHop
    outcome: Outcome
    tries: int
    faults: tuple[str, ...]

    @property
    def status(self) -> int | str:
        """The HTTP status, TLS, or nothing."""
        match self.outcome:
            case Answered(status=status):
                return status
            case TlsFailure():
                return TLS
            case NoAnswer():
                return "-"

    @property
    def reason(self) -> str:
        """The reason id of a denial by authz, or why there was no answer: of an alert, what it says."""
        if isinstance(self.outcome, Answered):
            return self.outcome.reason
        return self.outcome.why.rpartition(" alert ")[2]


class Player:
    """Plays hops on a running mesh, with the tasks of the story."""

    def __init__(self, mesh: Mesh) -> None:
        """The mesh has the story's tasks, started by now."""
        self._mesh = mesh
        self._started = time.monotonic()
        # Of the last hop that was not relayed: its trace, its caller and tool, and how many were relayed before it.
        self._trace_id, self._caller, self._tool, self._relayed = "", "", "", 0
        self._counted = {name: len(tool.received) for name, tool in mesh.tools.items()}

    def bring_about(self, event: Event) -> None:
        """Make happen what happens between two hops."""
        match event:
            case Event.BRIEF_EXPIRES:
                time.sleep(max(0.0, self._started + _BRIEF_SECONDS - time.monotonic()))
            case Event.ERRAND_ENDS:
                self._mesh.end_task("errand")
            case Event.OLD_AUTHORITY_LEAVES:
                self._mesh.remove_old_authority()
            case Event.AUTHZ_DIES:
                self._mesh.authz.kill()

    def play(self, hop: PlannedHop, door: Door) -> PlayedHop:
        """Play one hop, patiently unless an outage is what is expected."""
        if hop.relayed:
            relayed = self._mesh.relayed[self._relayed :]
            return self._judge(hop, relayed[-1] if relayed else NoAnswer("was never called", 0), 1)
        self._trace_id, self._relayed = secrets.token_hex(16), len(self._mesh.relayed)
        self._caller, self._tool = hop.who, hop.tool
        traceparent = ("traceparent", f"00-{self._trace_id}-{secrets.token_hex(8)}-01")
        headers = [*self._task_headers(hop.task), traceparent, *hop.headers]
        if hop.jwt_svid_of:
            headers.append((_JWT_HEADER, self._mesh.jwt_svid(hop.jwt_svid_of)))
        caller, remote = self._mesh.caller(hop.who), self._mesh.remote(hop.tool, door)
        request = (remote, hop.method, hop.path, headers, hop.body)
        if hop.status == HTTPStatus.SERVICE_UNAVAILABLE and not hop.reason:
            return self._judge(hop, caller.call(*request), 1)
        return self._judge(hop, *caller.call_patiently(*request, awaited_reason=hop.reason))

    def _task_headers(self, task: str) -> Headers:
        ids = self._mesh.task_ids
        special = {
            NO_TASK: [],
            TASK_TWICE: [ids["lookup"], _NO_SUCH_ID],
            NO_SUCH_TASK: [_NO_SUCH_ID],
            MALFORMED_TASK: [_MALFORMED_ID],
        }
        return [("x-task-id", id) for id in (special[task] if task in special else [ids[task]])]

    def _judge(self, hop: PlannedHop, outcome: Outcome, tries: int) -> PlayedHop:
        played = PlayedHop(hop, outcome, tries, ())
        faults: list[str] = []
        reason = played.reason if isinstance(outcome, Answered) else hop.reason
        if (played.status, reason) != (hop.status, hop.reason):
            faults.append(f"expected {hop.status} {hop.reason}".rstrip())
        faults += self._arrival_faults(hop)
        faults += _answer_faults(hop, outcome)
        if hop.relayed:
            faults += self._trace_faults(hop)
        return PlayedHop(hop, outcome, tries, tuple(faults))

    def _arrival_faults(self, hop: PlannedHop) -> list[str]:
        received = self._mesh.tools[hop.tool].received
        arrived, expected = len(received) - self._counted[hop.tool], int(hop.reaches_tool)
        self._counted[hop.tool] = len(received)
        if arrived != expected:
            return [f"{hop.tool} got it {arrived} times instead of {expected}"]
        if hop.reaches_as and received[-1].target != hop.reaches_as:
            return [f"{hop.tool} got it as {received[-1].target} instead of {hop.reaches_as}"]
        return []

    def _trace_faults(self, hop: PlannedHop) -> list[str]:
        """The audit record must hold the hop before and this one, in this order, in the trace that was begun there."""
        # A check may have been repeated because its answer came late, so lines may be; the hops are what counts.
        trace = [line for line in self._mesh.authz.audit_lines() if line["trace_id"] == self._trace_id]
        lines = [line for line in trace if line["reason"] not in _OUTAGES]
        told = ((line["agent"], line["asker"], line["task"], line["decision"]) for line in lines)
        found = list(dict.fromkeys(told))
        task_id = self._mesh.task_ids[hop.task]
        before = (spiffe_id(self._caller), spiffe_id(self._tool), task_id, "allow")
        decision = "allow" if hop.reaches_tool else "deny"
        expected = [before, (spiffe_id(hop.who), spiffe_id(hop.tool), task_id, decision)]
        return [] if found == expected else [f"the audit record of the trace is {found}, expected {expected}"]


def _answer_faults(hop: PlannedHop, outcome: Outcome) -> list[str]:
    """An answer to a JSON-RPC message has its id, and an error exactly where it was denied."""
    if hop.jsonrpc_id is None or not isinstance(outcome, Answered):
        return []
    with contextlib.suppress(ValueError):
        told = json.loads(outcome.body)
        if (told.get("jsonrpc"), told.get("id"), "error" in told) == ("2.0", hop.jsonrpc_id, bool(hop.reason)):
            return []
    return ["the answer is not one to the JSON-RPC message"]
