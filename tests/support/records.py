"""Records for tests of what reads them: a plain one to change, and a strategy that draws every record there can be.

What Envoy passes on is drawn from all texts, lone surrogates and control characters among them; what operators write,
from all texts that UTF-8 can carry; what is proven, from its own grammar.
"""

from dataclasses import replace
from functools import cache
from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from authz.core.decision import Allow, Decision, Deny, StepUp, Verdict
from authz.core.errand import Errand
from authz.core.hop import ActionClass, Hop, Operation, Sensitivity
from authz.core.identity import Asker, Identity, Proof
from authz.core.ids import uuid7
from authz.core.reasons import Reason
from authz.core.record import Arrival, Record
from authz.core.request import Request
from authz.core.spiffe import SpiffeId
from authz.core.task import Grant, Task, TaskState
from authz.core.token import Ticket
from authz.demo.ca import DevelopmentCa

NOW = 1_800_000_000.123456
"""2027-01-15T08:00:00.123456Z: the moment of every record that is not asked for another."""
AGENT = "spiffe://example.org/agent/support"
ENVOY = "spiffe://example.org/envoy"
TRACE_ID, SPAN_ID = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"
QUERY_SECRET = "token=swordfish"  # stands in the query of every record's path
HEADER_SECRET = "Bearer hunter2"  # stands in the headers of every record's request

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
"""For laws about records: what is slow about them is the machine, when others use it too."""


def arrival(**changes: Any) -> Arrival:  # noqa: ANN401  the fields have many types
    """A check that Envoy traced and sampled, or as changed."""
    plain = Arrival(NOW, 5_000_000_000, uuid7(NOW, b"0123456789"), TRACEPARENT)
    return replace(plain, **changes)


def request(**changes: Any) -> Request:  # noqa: ANN401  as above
    """A request with secrets wherever a client may put them, or as changed."""
    plain = Request(
        method="GET",
        host="crm.example.org",
        path=f"/contacts/42?{QUERY_SECRET}",
        headers={"authorization": (HEADER_SECRET,), "x-task-id": (task().id,)},
        unverified_principal=AGENT,
        unverified_certificate=_certificate(),
        source_address="10.0.0.7:40000",
    )
    return replace(plain, **changes)


def task(**changes: Any) -> Task:  # noqa: ANN401  as above
    """A live task to read and write contacts, or as changed."""
    plain = Task(
        id="01990000-0000-7000-8000-00000000002a",
        owner="alice@example.org",
        purpose="answer ticket 4711",
        agents=frozenset({SpiffeId.parse(AGENT)}),
        grants=(Grant.parse("read,write:crm.contacts"),),
        ceiling=Sensitivity.INTERNAL,
        starts_unix_seconds=NOW - 60,
        expires_unix_seconds=NOW + 3600,
        state=TaskState.ACTIVE,
        started_by="spiffe://example.org/portal",
    )
    return replace(plain, **changes)


def operation(**changes: Any) -> Operation:  # noqa: ANN401  as above
    """Reading a contact, or as changed."""
    plain = Operation(
        action="crm.contact.read",
        classes=frozenset({ActionClass.READ}),
        resource="GET crm.example.org/contacts/{contact_id}",
        service="crm",
        dataset="crm.contacts",
        sensitivity=Sensitivity.INTERNAL,
    )
    return replace(plain, **changes)


def record(**changes: Any) -> Record:  # noqa: ANN401  as above
    """The record of an allowed hop, told to its end, or as changed."""
    policies = frozenset({"support-works-on-contacts"})
    plain = Record(
        arrival=arrival(),
        asker=Asker(SpiffeId.parse(ENVOY)),
        request=request(),
        identity=Identity(SpiffeId.parse(AGENT), Proof.CERTIFICATE, NOW + 3600),
        ticket=Ticket("0190aaaa-0001"),
        errand=Errand((task(),)),
        hop=Hop(operation(), {"contact_id": "42"}),
        verdict=Verdict(policies, frozenset(), (), "2f6a8c", from_cache=True),
        decision=Allow(policies),
    )
    return replace(plain, **changes)


def denied(reason: Reason, detail: str = "", **changes: Any) -> Record:  # noqa: ANN401  as above
    """The record of a denial."""
    return record(decision=Deny(reason, detail), **changes)


def records() -> st.SearchStrategy[Record]:
    """Every record that there can be, as far as its types tell."""
    return st.builds(
        Record,
        arrival=st.builds(
            Arrival,
            unix_seconds=st.floats(0, 4e9),  # to the year 2096
            boot_ns=st.integers(0, 2**62),
            decision_id=st.just(uuid7(NOW, b"0123456789")),
            traceparent=_ANY_TEXT | st.sampled_from(["", TRACEPARENT, TRACEPARENT[:-1] + "0"]),
            tracestate=_ANY_TEXT | st.just("vendor=1"),
            unverified_asker_certificate=_ANY_SHORT_TEXT | st.just(_certificate()),
        ),
        asker=st.none() | st.builds(Asker, st.none() | _SPIFFE_IDS),
        request=st.none() | _requests(_certificate()),
        identity=st.none() | st.builds(Identity, _SPIFFE_IDS, st.sampled_from(Proof), st.just(NOW + 3600)),
        errand=st.none() | _TASKS.map(lambda task: Errand((task,))),
        ticket=st.none(),
        hop=st.none() | _HOPS,
        verdict=st.none() | _VERDICTS,
        decision=_DECISIONS,
        fault=st.none() | st.builds(ValueError, _ANY_TEXT),
    )


@cache
def _certificate() -> str:
    """A certificate as Envoy passes it: URL-encoded PEM."""
    return quote(DevelopmentCa("example.org").mint(AGENT).pem, safe="")


def _repeated(text: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Long texts, which cost the strategy little: short ones find most faults, a few long ones find the bounds."""
    return st.builds(lambda part, times: part * times, text, st.integers(100, 2000))


def _one_of(first: str, rest: str, min_size: int, max_size: int) -> st.SearchStrategy[str]:
    return st.builds(
        lambda head, tail: head + tail, st.sampled_from(first), st.text(rest, min_size=min_size, max_size=max_size)
    )


_LOWER, _DIGITS = "abcdefghijklmnopqrstuvwxyz", "0123456789"
_HOSTILE_CHARACTERS = '\ud800\udbff\udc80\udfff\x00\n\r\x1b\x7f\u202e\u2028"\\?\N{GRINNING FACE}'
_ANY_CHARACTER = st.characters(exclude_categories=()) | st.sampled_from(_HOSTILE_CHARACTERS)
# As lists, because texts are drawn without surrogates whatever their alphabet has.
_ANY_SHORT_TEXT = st.lists(_ANY_CHARACTER, max_size=6).map("".join)
_ANY_TEXT = _ANY_SHORT_TEXT | _repeated(_ANY_SHORT_TEXT)
_OPERATOR_TEXT = st.text(max_size=8) | _repeated(st.text(max_size=3))
_SPIFFE_IDS = st.builds(
    lambda domain, path: SpiffeId.parse(f"spiffe://{domain}/{path}"),
    st.sampled_from(["example.org", "a", "d" * 255]),
    _one_of(_LOWER, _LOWER + _DIGITS + "._-", 0, 12) | st.integers(1, 1700).map(lambda length: "a" * length),
)
_TASKS = st.builds(
    Task,
    id=_one_of(_LOWER + _DIGITS, _LOWER + _DIGITS + ".-", 7, 20) | st.just("a" * 128),
    owner=_OPERATOR_TEXT,
    purpose=_OPERATOR_TEXT,
    agents=st.frozensets(_SPIFFE_IDS, max_size=2),
    grants=st.just((Grant.parse("read:*"),)),
    ceiling=st.sampled_from(Sensitivity),
    starts_unix_seconds=st.just(0.0),
    expires_unix_seconds=st.just(2e9),
    state=st.sampled_from(TaskState),
)
_OPERATIONS = st.builds(
    Operation,
    action=_OPERATOR_TEXT,
    classes=st.frozensets(st.sampled_from(ActionClass)),
    resource=_OPERATOR_TEXT,
    service=st.just("crm"),
    dataset=_OPERATOR_TEXT,
    sensitivity=st.sampled_from(Sensitivity),
)
_POLICY_IDS = st.frozensets(_OPERATOR_TEXT, max_size=2) | st.integers(0, 200).map(
    lambda count: frozenset(f"policy{number}" for number in range(count))
)
_VERDICTS = st.builds(
    Verdict, _POLICY_IDS, st.just(frozenset()), st.tuples() | st.tuples(_OPERATOR_TEXT), _OPERATOR_TEXT, st.booleans()
)
_DECISIONS: st.SearchStrategy[Decision] = (
    st.builds(Allow, _POLICY_IDS)
    | st.builds(Deny, st.sampled_from(Reason), _ANY_TEXT, _POLICY_IDS)
    | st.builds(StepUp, _POLICY_IDS, _POLICY_IDS)
)
_HOPS = st.builds(Hop, _OPERATIONS, st.dictionaries(st.just("contact_id"), _ANY_TEXT))


def _requests(certificate: str) -> st.SearchStrategy[Request]:
    return st.builds(
        Request,
        method=_ANY_TEXT,
        host=_ANY_TEXT,
        path=_ANY_TEXT | _ANY_TEXT.map(lambda path: f"{path}?{QUERY_SECRET}"),
        headers=st.just({"authorization": (HEADER_SECRET,)}),
        unverified_principal=_ANY_TEXT,
        unverified_certificate=st.just(certificate),
        source_address=_ANY_TEXT,
    )
