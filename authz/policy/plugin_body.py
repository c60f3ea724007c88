"""A request in, its body as policies for opa-envoy-plugin see it out: parsed by its type, or cut, or neither.

The rules are the plugin's (envoyauth/request.go); but a body that the service could read otherwise is Refused.
"""

from authz.core.errors import Refused
from authz.core.reasons import Reason
from authz.core.request import MAX_SHOWN_BODY_BYTES, Request
from authz.policy.form_data import NotAForm, parts_of
from authz.policy.media_types import Headed, NoMediaType, headed
from authz.policy.readings import json_of, parameters_of, text_of, unread

_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"
_PARTS = "multipart/form-data"


def parsed_body(request: Request) -> tuple[object, bool]:
    """The body, and whether not all of it is here; then there is no parsed one. Raises Refused."""
    content = request.body.content
    if request.body.is_partial:
        return None, True
    is_large = len(content) > MAX_SHOWN_BODY_BYTES
    kind = _kind(request) if content else Headed()
    if not _is_known(kind.value):
        return None, is_large
    if is_large:
        # Not shown as cut: a rule that denies what it finds in a body would be evaded by making the body larger.
        detail = f"policies see the body, and it has more than {MAX_SHOWN_BODY_BYTES} bytes"
        raise Refused(Reason.BODY_INCOMPLETE, detail)
    if _is_cut(request):
        return None, True
    _must_be_exact(request, kind)
    if _JSON in kind.value:
        return json_of(content), False
    if _FORM in kind.value:
        return parameters_of(text_of(content)), False
    return _form(content, kind.parameters["boundary"]) if "boundary" in kind.parameters else None, False


def _is_known(kind: str) -> bool:
    return any(known in kind for known in (_JSON, _FORM, _PARTS))


def _kind(request: Request) -> Headed:
    """The body's type; the empty one where nobody takes it for one of those that are parsed."""
    values = request.headers.get("content-type", ())
    if not _is_known(",".join(values).lower()):
        return Headed()
    try:
        kind = headed(",".join(values))  # a type that stands twice has none
    except NoMediaType as error:
        raise unread(f"content-type: {error}") from error
    if not _is_known(kind.value):
        raise unread("content-type: another type stands in its parameters")
    return kind


def _is_cut(request: Request) -> bool:
    """Whether Envoy or the request says that the body is longer than what is here."""
    size, declared = len(request.body.content), request.headers.get("content-length", ())
    if len(declared) > 1 or not all(text.isascii() and text.isdecimal() for text in declared):
        raise unread("content-length is no number")
    is_longer = any(len(text) > len(str(size)) or int(text) > size for text in declared)
    return is_longer or (request.body.declared_bytes or 0) > size


def _must_be_exact(request: Request, kind: Headed) -> None:
    """The bytes are those that the service gets, and it reads them as UTF-8 too."""
    if request.headers.get("content-encoding", ("identity",)) != ("identity",):
        raise Refused(Reason.BODY_ENCODED, "policies see the body, and it has a content-encoding")
    if not request.body.is_exact:
        detail = "policies see the body, and it is a text with `!`, for which Envoy may have received any byte"
        raise Refused(Reason.BODY_INCOMPLETE, f"{detail}; set pack_as_bytes")
    try:
        kind.must_be_utf_8(request.body.content)
    except NoMediaType as error:
        raise unread(f"content-type: {error}") from error


def _form(content: bytes, boundary: str) -> dict[str, list[object]]:
    """The parts by name. What is not text in a file is shown as the replacement character, as Go does."""
    found: dict[str, list[object]] = {}
    try:
        for part in parts_of(content, boundary):
            if _JSON in part.media_type:
                value = json_of(part.content)
            else:
                value = part.content.decode(errors="replace") if part.is_file else text_of(part.content)
            found.setdefault(part.name, []).append(value)
    except NotAForm as error:
        raise unread(f"the body is no form in parts: {error}") from error
    return found
