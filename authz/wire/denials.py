"""The form of a denial: whatever client asked gets it in its own protocol's words, so that its library understands.

Asked is the request alone. A denial may come before anybody knows what is attempted, and a client that sent a JSON-RPC
request waits for an answer with its id all the same.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from authz.core.reasons import Reason
from authz.core.request import Request

MAX_BODY_BYTES = 1 << 20
_MAX_ID_CHARACTERS = 256
_MAX_ID = (1 << 53) - 1

_HEADER_MISMATCH = -32020  # MCP 2026-07-28
_UNSUPPORTED_VERSION = -32022  # as above


@dataclass(frozen=True, slots=True)
class JsonRpcDenials:
    """How denials of JSON-RPC requests look: the error's code, and whether they are HTTP errors too.

    MCP 2026-07-28 asks new codes to lie outside of what JSON-RPC reserves, -32768 to -32000.
    """

    code: int = 4030
    is_http_error: bool = True


@dataclass(frozen=True, slots=True)
class Form:
    """What the client gets."""

    http_status: int
    body: str


def form(request: Request | None, reason: Reason, told: Mapping[str, object], denials: JsonRpcDenials) -> Form:
    """The denial in the words of whatever protocol the request is in; `told` is all that may be said."""
    if request is not None and is_grpc(request):
        # Envoy makes the status code of it, and the body the message: gRPC clients show that as a text.
        return Form(reason.http_status, f"denied: {reason.id}, decision {told.get('decision_id', '')}")
    if request is None or (id := _jsonrpc_id(request)) is None:
        return Form(reason.http_status, json.dumps(told))
    error = {"code": _code(request, reason, denials.code), "message": f"denied: {reason.id}", "data": told}
    # Trouble with what was sent, or of our own, is an HTTP error always: whoever repairs it looks there.
    is_error = denials.is_http_error or reason.http_status not in {403, 429}
    return Form(reason.http_status if is_error else 200, json.dumps({"jsonrpc": "2.0", "id": id, "error": error}))


def is_grpc(request: Request) -> bool:
    """Whether the client speaks gRPC, as Envoy decides it too."""
    return any(value.startswith("application/grpc") for value in request.headers.get("content-type", ()))


def _code(request: Request, reason: Reason, otherwise: int) -> int:
    if "mcp-protocol-version" in request.headers:
        return {Reason.HEADER_MISMATCH: _HEADER_MISMATCH, Reason.PROTOCOL_VERSION: _UNSUPPORTED_VERSION}.get(
            reason, otherwise
        )
    return otherwise


def _jsonrpc_id(request: Request) -> str | int | None:
    """The id of the JSON-RPC request that the body is; None where it is none. Only the answer's form depends on it."""
    content = request.body.content
    if request.method != "POST" or not content or len(content) > MAX_BODY_BYTES or b'"jsonrpc"' not in content:
        return None
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("jsonrpc") != "2.0" or "method" not in found:
        return None
    id = found.get("id")
    if isinstance(id, str) and len(id) <= _MAX_ID_CHARACTERS:
        return id
    return id if isinstance(id, int) and not isinstance(id, bool) and -_MAX_ID <= id <= _MAX_ID else None
