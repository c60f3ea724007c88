"""The span a check belongs to: the text of `traceparent` in, the ids of Envoy's client span out.

The text comes from the metadata of the check itself, where Envoy writes it. The headers of the request that is being
checked are never read for it: they are the client's word.
"""

import re
from typing import NamedTuple

_MAX_LENGTH = 512
_TRACEPARENT = re.compile(r"[ \t]*([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*|[ \t]*)", re.ASCII)
_NO_TRACE_ID = "0" * 32
_NO_SPAN_ID = "0" * 16


class SpanIds(NamedTuple):
    """A trace and a span in it, as lower-case hexadecimal digits; both are empty where there is no span."""

    trace_id: str
    span_id: str


NO_SPAN = SpanIds("", "")


def parse_traceparent(text: str) -> SpanIds:
    """The span that `traceparent` names, or NO_SPAN where it breaks a rule (W3C Trace Context, section 3.2.2).

    Version `ff` is forbidden; version `00` ends with the flags, and later ones may go on after a dash.
    """
    match = _TRACEPARENT.fullmatch(text) if len(text) <= _MAX_LENGTH else None
    if match is None:
        return NO_SPAN
    version, trace_id, span_id, rest = match.groups()
    if version == "ff" or (version == "00" and rest.startswith("-")):
        return NO_SPAN
    if trace_id == _NO_TRACE_ID or span_id == _NO_SPAN_ID:
        return NO_SPAN
    return SpanIds(trace_id, span_id)
