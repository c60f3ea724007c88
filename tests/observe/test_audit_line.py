"""What an audit line says, and that it stays one line whatever a client sends."""

import datetime as dt
import hashlib
import json
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from authz.core.decision import Allow, Deny, StepUp, Verdict
from authz.core.errand import Errand
from authz.core.facts import Facts
from authz.core.hop import ActionClass, Argument, Hop, Sensitivity
from authz.core.identity import Asker, Identity, Proof
from authz.core.reasons import Reason
from authz.core.record import Record
from authz.core.spiffe import SpiffeId
from authz.observe.audit_line import FIELDS, MAX_LINE_BYTES, line
from tests.support import records as example
from tests.support.messages import attempt, post, service_of

ROOT = Path(__file__).parents[2]
SMILE = "\N{GRINNING FACE}"  # twelve characters on a line: the most that one can take


def read(record: Record, duration_seconds: float = 0.000123) -> dict[str, Any]:
    """The line, as its reader has it."""
    fields: dict[str, Any] = json.loads(line(record, duration_seconds))
    return fields


def test_the_line_of_an_allowed_hop_tells_all_that_was_found_out() -> None:
    """Every field of an allowed hop is what the check found, in the documented form."""
    expected = {
        "time": "2027-01-15T08:00:00.123456Z",
        "decision_id": example.arrival().decision_id,
        "decision": "allow",
        "reason": None,
        "detail": None,
        "agent": "spiffe://example.org/agent/support",
        "proof": "certificate",
        "asker": "spiffe://example.org/envoy",
        "task": "01990000-0000-7000-8000-00000000002a",
        "owner": "alice@example.org",
        "purpose": "answer ticket 4711",
        "started_by": ["spiffe://example.org/portal"],
        "token": None,
        "action": "crm.contact.read",
        "classes": ["read"],
        "resource": "GET crm.example.org/contacts/{contact_id}",
        "dataset": "crm.contacts",
        "sensitivity": "internal",
        "arguments_digest": None,
        "method": "GET",
        "host": "crm.example.org",
        "path": "/contacts/42",
        "policies": ["support-works-on-contacts"],
        "step_up": [],
        "access_request": None,
        "approved_by": [],
        "policy_version": "2f6a8c",
        "cache_hit": True,
        "question": {
            "ceiling": "internal",
            "age_seconds": 60,
            "remaining_seconds": 3600,
            "session": {
                "actions": [],
                "classes": [],
                "datasets": [],
                "high_water": "public",
                "untrusted_input": False,
            },
            "arguments": {},
            "parameters": {"contact_id": None},
            "approved": [],
        },
        "trace_id": example.TRACE_ID,
        "span_id": example.SPAN_ID,
        "source_address": "10.0.0.7:40000",
        "duration_us": 123,
    }
    assert expected == read(example.record())


def test_the_line_tells_which_arguments_were_decided_on() -> None:
    """Whoever has the arguments can show that they are the ones: the line has the SHA-256 of their RFC 8785 form."""
    arguments: dict[str, Any] = {"to": ["ann@example.org"], "amount": 12.5, "näme": "é"}
    tools = {"send": attempt("crm.send", **{"class": "egress"})}
    catalog = service_of(mcp={"path": "/mcp", "session": attempt("crm.session"), "tools": tools})
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "send", "arguments": arguments}}
    fields = read(example.record(hop=catalog.classify(post("/mcp", call))))
    assert fields["arguments_digest"] == hashlib.sha256(rfc8785.dumps(arguments)).hexdigest()
    assert "ann" not in json.dumps(fields)


def test_what_was_not_reached_is_null() -> None:
    """A check that ended at its first step has a line too, with every field, and null where nothing is known."""
    nothing = dict.fromkeys(("errand", "ticket", "asker", "request", "identity", "hop", "verdict"))
    arrival = example.arrival(traceparent="")
    fields = read(example.denied(Reason.REQUEST_MALFORMED, "not a CheckRequest", arrival=arrival, **nothing), 2.5)
    expected = {
        "time": "2027-01-15T08:00:00.123456Z",
        "decision_id": arrival.decision_id,
        "decision": "deny",
        "reason": "request_malformed",
        "detail": "not a CheckRequest",
        "policies": [],
        "started_by": [],
        "step_up": [],
        "approved_by": [],
        "duration_us": 2_500_000,
    }
    assert dict.fromkeys(FIELDS) | expected == fields


def test_an_asker_without_a_name_is_null() -> None:
    """In plain text nobody knows who asks, and the line says nothing of it."""
    assert read(example.record(asker=Asker(None)))["asker"] is None


def test_the_proof_names_the_mode() -> None:
    """Each kind of proof is told apart on the line."""
    agent = SpiffeId.parse(example.AGENT)
    told = [read(example.record(identity=Identity(agent, proof, 0)))["proof"] for proof in Proof]
    assert told == ["certificate", "attested", "xfcc", "sidecar"]


def test_classes_and_policies_are_sorted() -> None:
    """Lists do not depend on the order of a set."""
    operation = example.operation(classes=frozenset({ActionClass.READ, ActionClass.EGRESS, ActionClass.DELETE}))
    fields = read(example.record(hop=Hop(operation, {}), decision=Allow(frozenset({"b", "c", "a"}))))
    assert fields["classes"] == ["delete", "egress", "read"]
    assert fields["policies"] == ["a", "b", "c"]


def test_the_policies_that_forbade_are_named() -> None:
    """A denial by policy names the policies, not only its reason."""
    decision = Deny(Reason.POLICY_FORBIDS, "no-egress", frozenset({"no-egress"}))
    assert read(example.record(decision=decision))["policies"] == ["no-egress"]


def test_a_trace_that_the_client_made_up_is_not_envoys() -> None:
    """The trace on the line is the one in the check's own metadata; a `traceparent` header of the request is none."""
    request = example.request(headers={"traceparent": (example.TRACEPARENT,)})
    fields = read(example.record(arrival=example.arrival(traceparent=""), request=request))
    assert (fields["trace_id"], fields["span_id"]) == (None, None)


@example.patient
@given(example.records(), st.floats(0, 3600))
def test_any_record_makes_one_valid_line(record: Record, duration_seconds: float) -> None:
    """Whatever was in the check: one line of at most 4,096 ASCII bytes, valid JSON, every field, in order."""
    data = line(record, duration_seconds)
    assert len(data) <= MAX_LINE_BYTES
    assert data.isascii()
    assert data.endswith(b"\n")
    assert data[:-1].decode().isprintable()
    pairs = json.loads(data, object_pairs_hook=list)
    assert list(FIELDS) == [name for name, _ in pairs]


@example.patient
@given(example.records())
def test_any_line_can_be_carried_by_utf_8(record: Record) -> None:
    """No field holds a lone surrogate, so strict readers and databases take every line (RFC 7493, section 2.1)."""
    json.dumps(read(record), ensure_ascii=False).encode()


def test_what_utf_8_cannot_carry_is_replaced() -> None:
    """A lone surrogate becomes U+FFFD; a character beyond the basic plane stays what it is."""
    fields = read(example.record(request=example.request(host="\ud800x\udc80", path=f"/{SMILE}")))
    assert fields["host"] == "\ufffdx\ufffd"
    assert fields["path"] == f"/{SMILE}"


@example.patient
@given(example.records())
def test_no_line_holds_what_is_secret(record: Record) -> None:
    """Queries, headers and certificates of the request are on no line."""
    text = line(record, 0.1).decode()
    assert example.QUERY_SECRET not in text
    assert example.HEADER_SECRET not in text
    assert "CERTIFICATE" not in text


@example.patient
@given(example.records())
def test_a_text_that_fits_is_written_as_it_is(record: Record) -> None:
    """What a client wrote is found again letter for letter, unless it was cut or UTF-8 cannot carry it."""
    fields = read(record)
    path = record.request.path_without_query if record.request else ""
    shown = fields["path"] or ""
    kept = re.sub("[\ud800-\udfff]", "\ufffd", path)
    if shown != kept:
        assert shown.endswith("…")
        assert kept.startswith(shown[:-1])
        assert len(json.dumps(kept)) > 96


@example.patient
@given(st.floats(0, 4e9))
def test_the_time_is_exact_to_the_microsecond(unix_seconds: float) -> None:
    """Reading the time back gives the clock's own, to within a microsecond."""
    time = dt.datetime.fromisoformat(read(example.record(arrival=example.arrival(unix_seconds=unix_seconds)))["time"])
    elapsed_us = (time - dt.datetime.fromtimestamp(0, dt.UTC)) // dt.timedelta(microseconds=1)
    assert abs(elapsed_us - Fraction(unix_seconds) * 1_000_000) < 1


def test_a_step_up_names_the_approvals_and_the_policies_that_ask_for_them() -> None:
    """The line of a step-up says which kinds of approval would help, and which policies forbid until then."""
    decision = StepUp(frozenset({"reviewer", "owner"}), frozenset({"stale-needs-review"}))
    fields = read(example.record(decision=decision))
    assert fields["decision"] == "step_up"
    assert fields["reason"] == "step_up_required"
    assert fields["step_up"] == ["owner", "reviewer"]
    assert fields["policies"] == ["stale-needs-review"]


def test_the_longest_line_there_can_be_fits_a_pipe() -> None:
    """With every text as long as it may be and of the widest characters, a line has at most 4,096 bytes."""
    wide = SMILE * 5000
    longest = Record(
        arrival=example.arrival(),
        asker=Asker(SpiffeId.parse("spiffe://example.org/" + "e" * 2000)),
        request=example.request(method=wide, host=wide, path=wide, source_address=wide),
        identity=Identity(SpiffeId.parse("spiffe://example.org/" + "a" * 2000), Proof.CERTIFICATE, 0),
        ticket=None,
        errand=Errand((example.task(id="a" * 128, owner=wide, purpose=wide),)),
        hop=Hop(
            example.operation(
                action=wide,
                classes=frozenset(ActionClass),
                resource=wide,
                dataset=wide,
                sensitivity=Sensitivity.CONFIDENTIAL,
            ),
            {},
            arguments_digest="f" * 64,
        ),
        verdict=Verdict(frozenset(), frozenset(), (), wide, from_cache=False),
        decision=Deny(
            max(Reason, key=lambda reason: len(reason.id)), wide, frozenset(f"{wide}{number}" for number in range(50))
        ),
    )
    for decision in (longest.decision, StepUp(longest.decision.policies, longest.decision.policies)):
        data = line(replace(longest, decision=decision), 86_400)
        assert len(data) <= MAX_LINE_BYTES
        assert json.loads(data)["policies"][-1] == "…"


def test_long_texts_are_cut_where_it_shows() -> None:
    """A path of more than 1,024 characters ends with an ellipsis, one of 1,024 is whole."""
    assert read(example.record(request=example.request(path="/" + "a" * 1023)))["path"] == "/" + "a" * 1023
    cut = read(example.record(request=example.request(path="/" + "a" * 1024)))["path"]
    assert cut == "/" + "a" * 1017 + "…"


def test_a_cut_never_goes_through_a_character() -> None:
    """However the escapes fall, a cut text begins as the whole one does."""
    for before in range(14):
        for character in (SMILE, "\x00", "é", '"', "\\", "\n"):
            method = "a" * before + character * 40
            shown = read(example.record(request=example.request(method=method)))["method"]
            assert shown.endswith("…")
            assert method.startswith(shown[:-1])
            assert len(json.dumps(shown)) <= 32 + 2


def test_the_page_describes_the_fields() -> None:
    """docs/audit.md names exactly the fields that a line has, in its order."""
    page = (ROOT / "docs" / "audit.md").read_text()
    assert list(FIELDS) == re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)


def test_only_the_values_that_the_operator_named_are_written() -> None:
    """Of arguments and parameters the names are told, and the value where it is named and short; else null."""
    arguments: dict[str, Argument] = {
        "amount_cents": 500,
        "urgent": True,
        "to": frozenset({"b", "a"}),
        "note": "x" * 300,
        "card": "4111",
    }
    record = example.record(hop=Hop(example.operation(), {"contact_id": "42"}, arguments))
    data = line(record, 0.1, frozenset({"amount_cents", "urgent", "to", "note", "contact_id"}))
    question = json.loads(data)["question"]
    assert question["arguments"] == {
        "amount_cents": 500,
        "urgent": True,
        "to": ["a", "b"],
        "note": None,
        "card": None,
    }
    assert question["parameters"] == {"contact_id": "42"}
    assert b"4111" not in data


def test_a_question_that_does_not_fit_is_left_out_whole() -> None:
    """A session with a thousand datasets does not make the line too long, nor half a question."""
    facts = Facts(datasets=frozenset(f"set{number}" for number in range(1000)))
    data = line(example.record(errand=Errand((example.task(facts=facts),))), 0.1)
    assert len(data) <= MAX_LINE_BYTES
    assert json.loads(data)["question"] is None
