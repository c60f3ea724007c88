"""The audit line: a record in, one line of JSON out, whatever bytes a client sent.

A line is ASCII and at most MAX_LINE_BYTES long, so that a pipe takes it whole. It holds no header, no query, no body
and no certificate. `docs/audit.md` describes the fields.
"""

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import assert_never

from authz.core.decision import Allow, Decision, Deny, StepUp, Verdict
from authz.core.errand import Errand
from authz.core.facts import Facts
from authz.core.hop import ActionClass, Argument, Hop, Sensitivity
from authz.core.identity import Asker, Identity
from authz.core.record import Record
from authz.core.request import Request
from authz.core.token import Ticket
from authz.observe.trace import parse_traceparent

MAX_LINE_BYTES = 4096
"""PIPE_BUF on Linux: what a pipe takes from one write, whole or not at all."""

FIELDS = (
    *("time", "decision_id", "decision", "reason", "detail"),
    *("agent", "proof", "asker", "task", "owner", "purpose", "started_by", "token"),
    *("action", "classes", "resource", "dataset", "sensitivity", "arguments_digest"),
    *("method", "host", "path", "policies", "step_up", "access_request", "approved_by"),
    *("policy_version", "cache_hit", "question"),
    *("trace_id", "span_id", "source_address", "duration_us"),
)
"""Every field, in the order in which it stands on the line; each is there always, and null where it is unknown."""

# The most characters of a text as it stands on the line, escapes included. Together they keep to MAX_LINE_BYTES with
# the long texts at their tight bound, which a test holds them to.
_LONG, _LONG_WHEN_TIGHT = 1024, 96
_AGENT = 768
_NAME = 256
_WORD = 128
_METHOD = 32
_DIGEST = 64
_POLICIES = 512
_APPROVALS = 96
_CHAIN = 256
_VALUE = 256  # an argument's value is written whole or not at all

_NO_VALUES: frozenset[str] = frozenset()

_LINE = "{" + ",".join(f'"{name}":%s' for name in FIELDS) + "}\n"
_NULL = "null"
_CUT = "\\u2026"  # a horizontal ellipsis
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_WHOLE_CHARACTERS = re.compile(r"(?:[^\\]++|\\[^u]|\\ud[89ab]..\\u....|\\u(?!d[89ab])....)*+")
_MICROSECONDS = 1_000_000


def line(record: Record, duration_seconds: float, values: frozenset[str] = _NO_VALUES) -> bytes:
    """The line, with its newline; `values` names the arguments and parameters whose values may be written.

    Where it would be too long, the detail and the path are cut further; then the question is left out.
    """
    question = _question(record, values)
    text = _line(record, duration_seconds, _LONG, question)
    if len(text) > MAX_LINE_BYTES:
        text = _line(record, duration_seconds, _LONG_WHEN_TIGHT, question)
    if len(text) > MAX_LINE_BYTES:
        text = _line(record, duration_seconds, _LONG_WHEN_TIGHT, _NULL)
    return text.encode("ascii")


def _line(record: Record, duration_seconds: float, long: int, question: str) -> str:
    arrival, request = record.arrival, record.request
    return _LINE % (
        _moment(arrival.unix_seconds),
        _text(arrival.decision_id, _WORD),
        *_outcome(record.decision, long),
        *_caller(record.identity),
        _asker(record.asker),
        *_task(record.errand),
        _chain(record.errand),
        _token(record.ticket),
        *_attempt(record.hop),
        *_asked(request, long),
        _policies(record.decision.policies),
        _approvals(record.decision),
        _NULL if record.access_request is None else _text(record.access_request.digest, _WORD),
        _texts(sorted(each.approver for each in record.approvals), _APPROVALS) if record.approvals else "[]",
        *_policy(record.verdict),
        question,
        *_span(arrival.traceparent),
        _text(request.source_address, _WORD) if request else _NULL,
        round(duration_seconds * _MICROSECONDS),
    )


def _outcome(decision: Decision, long: int) -> tuple[str, str, str]:
    match decision:
        case Allow():
            return '"allow"', _NULL, _NULL
        case Deny(reason, detail):
            return '"deny"', f'"{reason.id}"', _text(detail, long)
        case StepUp():
            return '"step_up"', f'"{decision.reason.id}"', _text(decision.detail, long)
        case never:
            assert_never(never)


def _caller(identity: Identity | None) -> tuple[str, str]:
    if identity is None:
        return _NULL, _NULL
    return _own(identity.spiffe_id.uri, _AGENT), f'"{identity.proof.value}"'


def _asker(asker: Asker | None) -> str:
    return _NULL if asker is None or asker.spiffe_id is None else _own(asker.spiffe_id.uri, _NAME)


def _task(errand: Errand | None) -> tuple[str, str, str]:
    if errand is None:
        return _NULL, _NULL, _NULL
    task = errand.task
    return _own(task.id, _WORD), _own(task.owner, _NAME), _own(task.purpose, _NAME)


def _chain(errand: Errand | None) -> str:
    """Who started the task, and who each task above it, up to the one that was not delegated."""
    return "[]" if errand is None else _texts((task.started_by for task in errand.chain if task.started_by), _CHAIN)


def _token(ticket: Ticket | None) -> str:
    """Its digest: Txn-Tokens must not be logged verbatim (draft-ietf-oauth-transaction-tokens)."""
    return _NULL if ticket is None or ticket.token is None else _text(ticket.token.digest, _WORD)


def _attempt(hop: Hop | None) -> tuple[str, ...]:
    if hop is None:
        return _NULL, _NULL, _NULL, _NULL, _NULL, _NULL
    operation = hop.operation
    named = (operation.action, operation.classes, operation.resource, operation.dataset, operation.sensitivity)
    return *_operation(*named), _text(hop.arguments_digest, _DIGEST)


@lru_cache(maxsize=1024)
def _operation(
    action: str, classes: frozenset[ActionClass], resource: str, dataset: str, sensitivity: Sensitivity
) -> tuple[str, str, str, str, str]:
    return (
        _text(action, _WORD),
        _classes(classes),
        _text(resource, _NAME),
        _text(dataset, _WORD),
        f'"{sensitivity}"',
    )


def _asked(request: Request | None, long: int) -> tuple[str, str, str]:
    if request is None:
        return _NULL, _NULL, _NULL
    return _text(request.method, _METHOD), _text(request.host, _NAME), _text(request.path_without_query, long)


def _policy(verdict: Verdict | None) -> tuple[str, str]:
    if verdict is None:
        return _NULL, _NULL
    return _own(verdict.version, _WORD), "true" if verdict.from_cache else "false"


def _span(traceparent: str) -> tuple[str, str]:
    if not traceparent:
        return _NULL, _NULL
    trace_id, span_id = parse_traceparent(traceparent)
    return _text(trace_id, _WORD), _text(span_id, _WORD)


def _question(record: Record, values: frozenset[str]) -> str:
    """What policies were asked, beyond what other fields say; null where they were not asked."""
    errand, hop = record.errand, record.hop
    if record.verdict is None or errand is None or hop is None:
        return _NULL
    task, seconds = errand.task, record.arrival.unix_seconds
    approved = _texts(sorted(each.kind for each in record.approvals), _APPROVALS) if record.approvals else "[]"
    return (
        f'{{"ceiling":"{task.ceiling}","age_seconds":{int(seconds - task.starts_unix_seconds)},'
        f'"remaining_seconds":{int(task.expires_unix_seconds - seconds)},"session":{_session(errand.facts)},'
        f'"arguments":{_values(hop.arguments, values)},"parameters":{_values(hop.parameters, values)},'
        f'"approved":{approved}}}'
    )


@lru_cache(maxsize=1024)
def _session(facts: Facts) -> str:
    return (
        f'{{"actions":{_whole(sorted(facts.actions))},"classes":{_classes(facts.classes)},'
        f'"datasets":{_whole(sorted(facts.datasets))},"high_water":"{facts.high_water}",'
        f'"untrusted_input":{"true" if facts.untrusted_input else "false"}}}'
    )


def _values(given: Mapping[str, Argument], allowed: frozenset[str]) -> str:
    """The names of what was given, each with its value where that is allowed and short, else with null."""
    if not given:
        return "{}"
    members = (f"{_quoted(name)}:{_value(each) if name in allowed else _NULL}" for name, each in given.items())
    return f"{{{','.join(members)}}}"


def _value(value: Argument) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    text = _quoted(value) if isinstance(value, str) else _whole(sorted(value))
    return text if len(text) <= _VALUE else _NULL


def _whole(texts: Iterable[str]) -> str:
    return f"[{','.join(map(_quoted, texts))}]"


def _quoted(text: str) -> str:
    """A JSON string, whole; lone surrogates become replacement characters."""
    carried = text if text.isascii() else _LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)
    return encode_basestring_ascii(carried)


def _moment(unix_seconds: float) -> str:
    """RFC 3339, in UTC, to the microsecond."""
    seconds, microseconds = divmod(round(unix_seconds * _MICROSECONDS), _MICROSECONDS)
    return f'"{_second(seconds)}.{microseconds:06d}Z"'


@lru_cache(maxsize=4)
def _second(unix_seconds: int) -> str:
    return dt.datetime.fromtimestamp(unix_seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=256)
def _classes(classes: frozenset[ActionClass]) -> str:
    return _texts(sorted(each.value for each in classes), _POLICIES)


@lru_cache(maxsize=1024)
def _policies(ids: frozenset[str]) -> str:
    return _texts(sorted(ids), _POLICIES)


def _approvals(decision: Decision) -> str:
    return _texts(sorted(decision.kinds), _APPROVALS) if isinstance(decision, StepUp) else "[]"


def _texts(texts: Iterable[str], room: int) -> str:
    """A JSON array of the texts; where they are too many, the last that is written is an ellipsis."""
    written: list[str] = []
    for text in texts:
        quoted = _text(text, _WORD)
        room -= len(quoted) + 1
        if room < 0:
            written.append(f'"{_CUT}"')
            break
        written.append(quoted)
    return f"[{','.join(written)}]"


def _text(text: str, most: int) -> str:
    """A JSON string in ASCII with at most `most` characters between its quotes; null where the text is empty.

    One that was cut ends with an ellipsis. Lone surrogates, which no UTF-8 can carry (RFC 7493, section 2.1), become
    replacement characters.
    """
    if not text:
        return _NULL
    start = text[:most]
    quoted = encode_basestring_ascii(start)
    if "\\ud" in quoted:
        quoted = encode_basestring_ascii(_LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", start))
    if len(text) <= most and len(quoted) <= most + 2:
        return quoted
    whole = _WHOLE_CHARACTERS.match(quoted, 1, 1 + most - len(_CUT))
    return f'"{whole[0] if whole else ""}{_CUT}"'


_own = lru_cache(maxsize=4096)(_text)
"""The same, remembered: for names of ours, which come again, and never for what a client wrote."""
