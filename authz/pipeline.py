"""The story of one check, from the bytes that Envoy sent to the bytes that it gets back.

    CheckRequest bytes -> Request -> Identity -> Task -> Hop -> rules -> Verdict -> Decision -> CheckResponse bytes

A check is a pure function: it does no I/O, awaits nothing and reads no clock. What it lacks it says, as `Needs`;
the server fetches that and runs the check again from the top. The decision starts as a denial, and only the last
step of a story without a single refusal replaces it by an allow.
"""

from dataclasses import dataclass, replace

from authz.core.acts import Act
from authz.core.approval import AccessRequest, Approval
from authz.core.decision import Allow, Decision, Deny, StepUp, Verdict, conclude
from authz.core.errand import Errand
from authz.core.errors import Refused
from authz.core.hop import Hop
from authz.core.identity import Asker, Identity
from authz.core.memory import Memory
from authz.core.outcome import Answer, Lacks, Needs, Want
from authz.core.query import Query
from authz.core.reasons import Reason
from authz.core.record import Arrival, Record
from authz.core.request import Request
from authz.core.token import Ticket
from authz.ports import Carrier, Catalog, Decode, Door, Encode, Policy, Verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """The steps and what they stand on."""

    door: Door
    decode: Decode
    verifier: Verifier
    carrier: Carrier
    memory: Memory
    catalog: Catalog
    policy: Policy
    encode: Encode
    max_staleness_ns: int

    def check(self, arrival: Arrival, message: bytes) -> Answer | Needs:
        """Decide one hop, or say what must be known first."""
        asker: Asker | None = None
        request: Request | None = None
        identity: Identity | None = None
        ticket: Ticket | None = None
        errand: Errand | None = None
        hop: Hop | None = None
        verdict: Verdict | None = None
        decision: Decision = Deny(Reason.INTERNAL_ERROR, "no decision was reached")
        fault: BaseException | None = None
        asked: AccessRequest | None = None
        approvals: tuple[Approval, ...] = ()
        provided: Act | None = None
        wants: frozenset[Want] = frozenset()
        now = arrival.unix_seconds
        try:
            # 0. Who asks?
            asker = self.door.admit(arrival)
            # 1. What does it say?
            request = self.decode(message)
            # 2. Who calls?
            identity = self.verifier.verify(request, asker, arrival)
            # 3. On whose errand?
            ticket = self.carrier.read(request, arrival)
            ticket.must_be_presented_by(identity)
            errand = self.memory.errand_of(ticket)
            errand.must_name(identity)
            # 4. What is attempted?
            hop = self.catalog.classify(request)
            # 5. Does the errand still stand, and does it cover this?
            self.memory.must_be_fresh(errand, arrival.boot_ns, 0 if hop.operation.is_harmful else self.max_staleness_ns)
            errand.must_be_live(now)
            errand.must_cover(hop.operation)
            errand.must_afford(message)
            # 6. What do the policies say?
            verdict = self.policy.decide(Query.about(identity, errand, hop, now, request))
            decision = conclude(verdict)
            # 7. Did someone approve what needs an approval?
            if isinstance(decision, StepUp):
                asked = AccessRequest.of(errand.task.id, identity, hop, decision.kinds)
                approvals = errand.approvals_for(asked, message, now)
                decision = Allow(verdict.permits) if approvals else decision
            # 8. What must be kept before this is said?
            if isinstance(decision, Allow):
                provided = errand.proceeding(hop.operation, approvals, message, now)
            elif asked is not None:
                provided = errand.asking(asked)
        except Lacks as lacks:
            wants = lacks.wants
        except Refused as refused:
            decision = Deny(refused.reason, refused.detail)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  a defect denies too; a panic in native code is no Exception
            decision, fault = Deny(Reason.INTERNAL_ERROR, f"{type(error).__name__}: {error}"), error
        record = Record(
            arrival, asker, request, identity, ticket, errand, hop, verdict, decision, fault, asked, approvals
        )
        # 9. Say so.
        return Needs(wants, record) if wants else Answer(self.encode(record), record, provided)

    def refuse(self, record: Record, reason: Reason, detail: str) -> Answer:
        """Deny a check whose story could not be brought to its end, keeping what was found so far."""
        denied = replace(record, decision=Deny(reason, detail))
        return Answer(self.encode(denied), denied)
