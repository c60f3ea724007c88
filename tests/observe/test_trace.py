"""Which span a check belongs to, held against the W3C's own test cases and OpenTelemetry's parser."""

import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from authz.observe.spans import parent_of
from authz.observe.trace import NO_SPAN, SpanIds, parse_traceparent
from tests.support import corpora
from tests.support.records import SPAN_ID, TRACE_ID, TRACEPARENT, arrival, patient

# What the W3C's harness asserts that does not bind us, and why.
NOT_OURS = {
    "test_traceparent_duplicated": "an Arrival holds one value; the transport decides between two",
    "test_traceparent_header_name": "an Arrival has no header names; gRPC's are lower-case",
    "test_traceparent_header_name_valid_casing": "as above",
    "test_tracestate_header_name": "as above",
    "test_tracestate_header_name_valid_casing": "as above",
    "test_both_traceparent_and_tracestate_missing": "it asserts something of what is sent on, and we send nothing on",
    "test_tracestate_included_traceparent_missing": "as above; that it names no span is tested below",
}
# Keys with `@` in any place are of level 2 of the standard. OpenTelemetry reads level 1 and drops the whole state; the
# parent is not touched by it, and nothing of ours looks into the state.
LEVEL_2_KEYS = {f"TraceContextTest.test_tracestate_key_illegal_vendor_format#{number}" for number in (1, 3, 4)}
# Of a key that is there twice, the harness lets us keep either; OpenTelemetry drops the whole state.
MAY_BE_DROPPED = "test_tracestate_duplicated_keys"


def cases() -> list[dict[str, Any]]:
    """The W3C's cases; none where the corpus is absent."""
    try:
        folder = corpora.folder("w3c-trace-context")
    except pytest.skip.Exception:
        return []
    loaded: list[dict[str, Any]] = json.loads((folder / "cases.json").read_text())
    return loaded


def name(case: dict[str, Any]) -> str:
    """The test's name without its class and number."""
    return re.sub(r".*\.(\w+)#\d+", r"\1", case["id"])


def parent(traceparent: str, tracestate: str = "") -> SpanContext:
    """The parent of a check's span."""
    return get_current_span(parent_of(arrival(traceparent=traceparent, tracestate=tracestate))).get_span_context()


@pytest.mark.parametrize("case", [case for case in cases() if name(case) not in NOT_OURS], ids=lambda case: case["id"])
def test_the_parent_is_the_w3cs(case: dict[str, Any]) -> None:
    """Trace, span, flags and state are taken up, or left, as the W3C's test suite demands."""
    traceparent = ",".join(value for key, value in case["headers"] if key == "traceparent")
    tracestate = ",".join(value for key, value in case["headers"] if key == "tracestate")
    span = parent(traceparent, tracestate)
    trace_id = f"{span.trace_id:032x}" if span.is_valid else ""
    ids = parse_traceparent(traceparent)
    for text in case["asserts"]:
        if match := re.match(r"self.assert(Not)?Equal\(traceparent.trace_id.hex\(\), '(.*)'\)", text):
            assert (match[1] is None) == (match[2] == ids.trace_id), text
            assert (match[1] is None) == (match[2] == trace_id), text
        elif "traceparent.parent_id" in text:
            continue  # that a child has a new id; the exported span is looked at elsewhere
        elif "random flag" in text:
            assert span.trace_flags.random_trace_id
        else:
            assert_state(case, text, dict(span.trace_state))


def assert_state(case: dict[str, Any], text: str, state: dict[str, str]) -> None:
    """What the harness asserts of the trace state, of which ours may be a shorter one where that is said above."""
    if case["id"] in LEVEL_2_KEYS or name(case) == MAY_BE_DROPPED:
        assert state == {}, "OpenTelemetry has learned this; the exception can go"
    elif match := re.match(r"self.assertEqual\(tracestate\['(.*)'\], '(.*)'\)", text):
        assert state[match[1]] == match[2]
    elif match := re.match(r"self.assertIn\('(.*)', tracestate\)", text):
        assert match[1] in state
    elif match := re.match(r"self.assertRaises\(KeyError, lambda: tracestate\['(.*)'\]\)", text):
        assert match[1] not in state
    elif match := re.match(r"self.assertTrue\('(.*)=(.*)' in str\(tracestate\)\)", text):
        assert state[match[1]] == match[2]
    elif match := re.match(r"self.assertTrue\(str\(tracestate\).index\('(.*)=.*'\) < .*index\('(.*)=.*'\)\)", text):
        assert list(state).index(match[1]) < list(state).index(match[2])
    elif match := re.match(r"self.assertEqual\(len\(tracestate\), (\d+)\)", text):
        assert len(state) == int(match[1])
    else:
        assert text == "self.assertTrue(not tracestate or tracestate != '')"
        assert state == {}


def test_every_exception_is_of_a_case_there_is() -> None:
    """No exception outlives the case it is for."""
    known = cases() or pytest.skip("the corpus is absent")
    assert set(NOT_OURS) <= {name(case) for case in known}
    assert {case["id"] for case in known} >= LEVEL_2_KEYS


def test_envoys_own_form_is_read() -> None:
    """What Envoy 1.40 sends: version 00, a sampled flag, and an empty trace state."""
    assert parse_traceparent(TRACEPARENT) == SpanIds(TRACE_ID, SPAN_ID)
    span = parent(TRACEPARENT, "")
    assert (f"{span.trace_id:032x}", f"{span.span_id:016x}") == (TRACE_ID, SPAN_ID)
    assert span.trace_flags.sampled
    assert span.is_remote


@pytest.mark.parametrize("text", ["", TRACEPARENT.upper(), TRACEPARENT + "\n", "cc" + TRACEPARENT[2:] + "-\n", "-"])
def test_what_breaks_a_rule_names_no_span(text: str) -> None:
    """Nothing, capitals and newlines name no span: the check begins a trace of its own."""
    assert parse_traceparent(text) is NO_SPAN
    assert not parent(text).is_valid


def test_a_trace_state_alone_names_no_span() -> None:
    """Without a readable traceparent the trace state is not looked at (W3C Trace Context, section 3.3)."""
    span = parent("", "vendor=1")
    assert not span.is_valid
    assert not span.trace_state


def test_an_endless_traceparent_is_not_read() -> None:
    """A later version may be longer than ours, but not without bound."""
    assert parse_traceparent("cc" + TRACEPARENT[2:] + "-" + "x" * 400) == SpanIds(TRACE_ID, SPAN_ID)
    assert parse_traceparent("cc" + TRACEPARENT[2:] + "-" + "x" * 500) is NO_SPAN


_HEX = st.text("0123456789abcdef", min_size=1, max_size=40)
_NEARLY = st.builds(
    lambda *parts: "-".join(parts),
    st.sampled_from(["00", "01", "cc", "ff", "0"]),
    st.text("0123456789abcdef", min_size=32, max_size=32) | st.just("0" * 32) | _HEX,
    st.text("0123456789abcdef", min_size=16, max_size=16) | st.just("0" * 16) | _HEX,
    st.sampled_from(["00", "01", "ff", "1", "01-more", "01 ", "01\t", "01."]),
)


@patient
@given(_NEARLY | st.text())
@example(TRACEPARENT)
def test_the_ids_on_the_audit_line_are_those_of_the_exported_parent(text: str) -> None:
    """Our parser and OpenTelemetry's agree on every text without a newline, so audit log and trace never differ."""
    context = TraceContextTextMapPropagator().extract({"traceparent": text}, Context())
    theirs = get_current_span(context).get_span_context()
    expected = SpanIds(f"{theirs.trace_id:032x}", f"{theirs.span_id:016x}") if theirs.is_valid else NO_SPAN
    if not text.endswith("\n"):  # theirs takes a newline at the end for none
        assert expected == parse_traceparent(text)
