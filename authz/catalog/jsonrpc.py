"""JSON-RPC 2.0, as MCP and A2A use it: a request in, its one message out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from authz.catalog.bodies import json_body
from authz.catalog.strict_json import MAX_INTEGER, Known
from authz.core.errors import Refused
from authz.core.reasons import Reason
from authz.core.request import Request

MAX_NAME_CHARACTERS = 128
MAX_ID_CHARACTERS = 256

_ENVELOPE = Known("jsonrpc", "id", "method", "params", "result", "error")
_NO_PARAMS: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Message:
    """A request or a notification; `method` is empty for the answer to a request of the other side's."""

    method: str
    params: Mapping[str, Any]
    is_notification: bool = False


def read_message(request: Request) -> Message:
    """The one message that the body is; raises Refused. A list of messages is refused: each would need a decision."""
    found = json_body(request)
    if isinstance(found, list):
        raise Refused(Reason.BATCH_REFUSED, f"{len(found)} messages")
    if not isinstance(found, dict) or found.get("jsonrpc") != "2.0":
        raise Refused(Reason.MESSAGE_MALFORMED, "not a JSON-RPC 2.0 message")
    _ENVELOPE.must_not_be_shadowed(found)
    has_id = "id" in found
    if has_id and not is_id(found["id"]):
        raise Refused(Reason.MESSAGE_MALFORMED, "the id is neither a text nor a whole number")
    is_answer = "result" in found or "error" in found
    if "method" not in found:
        if not is_answer or not has_id:
            raise Refused(Reason.MESSAGE_MALFORMED, "neither a request nor an answer")
        return Message("", _NO_PARAMS)
    method, params = found["method"], found.get("params", _NO_PARAMS)
    if is_answer or not isinstance(method, str) or not 0 < len(method) <= MAX_NAME_CHARACTERS:
        raise Refused(Reason.MESSAGE_MALFORMED, "the method is not a name, or stands beside an answer")
    if not isinstance(params, dict):
        raise Refused(Reason.MESSAGE_MALFORMED, "the params are not an object")
    return Message(method, params, not has_id)


def is_id(value: object) -> bool:
    """Whether a JSON-RPC request may have this id, as MCP restricts it: a text or a whole number, not null."""
    if isinstance(value, str):
        return len(value) <= MAX_ID_CHARACTERS
    return isinstance(value, int) and not isinstance(value, bool) and -MAX_INTEGER <= value <= MAX_INTEGER
