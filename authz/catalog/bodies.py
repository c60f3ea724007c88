"""The body of a request, where it decides what is attempted: all of it, as it is, and of the expected type."""

import re
from typing import Any

from authz.catalog.strict_json import read_json
from authz.core.errors import Refused
from authz.core.reasons import Reason
from authz.core.request import Request

_DIGITS = re.compile(r"[0-9]{1,18}")
_JSON = re.compile(r"application/json(?:[ \t]*;[ \t]*charset=(?:utf-8|\"utf-8\"))?", re.IGNORECASE)


def whole_body(request: Request, *, may_be_empty: bool = False) -> bytes:
    """The bytes that the service will get; raises Refused where some are missing, changed, or compressed."""
    headers, body = request.headers, request.body
    if headers.get("content-encoding", ("identity",)) != ("identity",):
        raise Refused(Reason.BODY_ENCODED, f"content-encoding {headers['content-encoding']!r:.100}")
    size = len(body.content)
    if body.is_partial:
        raise Refused(Reason.BODY_INCOMPLETE, f"Envoy passed on {size} bytes and says that there are more")
    declared = set() if body.declared_bytes is None else {body.declared_bytes}
    for text in headers.get("content-length", ()):
        if not _DIGITS.fullmatch(text):
            raise Refused(Reason.BODY_INCOMPLETE, f"content-length {text[:40]!r}")
        declared.add(int(text))
    if not size and not (may_be_empty and (body.is_declared_whole or declared == {0})):
        raise Refused(Reason.BODY_MISSING, "no body; Envoy passes bodies on where with_request_body is set")
    if declared - {size}:
        raise Refused(Reason.BODY_INCOMPLETE, f"{size} bytes, and {sorted(declared)} declared")
    if not body.is_exact:
        detail = "a text with `!`, for which Envoy may have received any byte; set pack_as_bytes"
        raise Refused(Reason.BODY_INCOMPLETE, detail)
    return body.content


def json_body(request: Request) -> Any:  # noqa: ANN401  any JSON
    """The JSON value that the body is; raises Refused."""
    match request.headers.get("content-type", ()):
        case (text,) if _JSON.fullmatch(text):
            return read_json(whole_body(request))
        case values:
            raise Refused(Reason.BODY_TYPE, f"content-type {values!r:.200}, where application/json is expected")
