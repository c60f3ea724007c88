"""Query in, the document that policies for opa-envoy-plugin see out, with our own facts beside it as `authz`.

The words are the plugin's (envoyauth/request.go): `attributes`, `parsed_path`, `parsed_query`, `parsed_body`,
`truncated_body`, `version`, `source_principal`. What it reads in a guess is refused here, for two readers could guess
differently; the principal is the one that was proven.
"""

import json
from collections.abc import Mapping
from email import message_from_bytes
from email.policy import HTTP
from urllib.parse import parse_qs, unquote

from authz.core.errors import Refused
from authz.core.query import Query
from authz.core.reasons import Reason
from authz.core.request import Request
from authz.policy.question import facts_of, groups_by_agent
from authz.strict_json import NotJson, read_json

_VERSION = {"ext_authz": "v3", "encoding": "protojson"}
_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")
_FORM = "application/x-www-form-urlencoded"
_MAX_PARAMETERS = 1000


class PluginQuestion:
    """Asks as opa-envoy-plugin asks OPA."""

    def __init__(self, groups: Mapping[str, tuple[str, ...]], hidden_headers: frozenset[str]) -> None:
        """Headers that are `hidden`, in lower case, carry credentials that are for us alone."""
        self._groups_of = groups_by_agent(groups)
        self._hidden = hidden_headers

    def __call__(self, query: Query) -> bytes:
        """The document in JSON; raises Refused where the request has more than one reading, or there is none."""
        request = query.request
        if request is None:
            raise Refused(
                Reason.POLICY_ERROR, "policies for opa-envoy-plugin are asked about requests, and there is none"
            )
        body, is_truncated = _parsed_body(request)
        document = {
            "attributes": self._attributes(request, query.agent.uri),
            "parsed_path": _decoded(request.path_without_query).lstrip("/").split("/"),
            "parsed_query": _parameters(request.query),
            "parsed_body": body,
            "truncated_body": is_truncated,
            "version": _VERSION,
            "source_principal": query.agent.uri,
            "authz": facts_of(query, self._groups_of.get(query.agent.uri, ())),
        }
        try:
            return json.dumps(
                document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
            ).encode()
        except (ValueError, RecursionError) as error:
            raise _unread(f"what was sent cannot be said in JSON: {error}") from error

    def _attributes(self, request: Request, principal: str) -> dict[str, object]:
        """What Envoy said, with what we know better: whose request it is, and its headers, each once."""
        told = dict(request.attributes)
        for name in ("source", "request"):
            told[name] = _copied(told.get(name))
        told["source"] = {**_copied(told["source"]), "principal": principal}
        http = _copied(_copied(told["request"]).get("http"))
        http.pop("headerMap", None)
        http |= {"method": request.method, "host": request.host, "path": request.path}
        http["headers"] = {
            name: ",".join(values) for name, values in request.headers.items() if name not in self._hidden
        }
        told["request"] = {**_copied(told["request"]), "http": http}
        return told


def _copied(value: object) -> dict[str, object]:
    return dict(value) if isinstance(value, Mapping) else {}


def _parsed_body(request: Request) -> tuple[object, bool]:
    """The body by its type, and whether not all of it is here; then there is no parsed one."""
    content = request.body.content
    kind = ",".join(request.headers.get("content-type", ()))
    if request.body.is_partial:
        return None, True
    if not content:
        return None, False
    if "application/json" in kind:
        return (None, True) if _is_cut(request) else (_json(content), False)
    if "application/grpc" not in kind and _FORM in kind:
        return (None, True) if _is_cut(request) else (_parameters(_text(content)), False)
    if "application/grpc" not in kind and "multipart/form-data" in kind:
        return (None, True) if _is_cut(request) else (_parts(kind, content), False)
    return None, False


def _is_cut(request: Request) -> bool:
    """Whether the request says that its body is longer than what is here."""
    declared = request.headers.get("content-length", ())
    if not declared:
        return False
    if len(declared) != 1 or not (declared[0].isascii() and declared[0].isdecimal()):
        raise _unread("content-length is no number")
    return len(declared[0]) > len(str(len(request.body.content))) or int(declared[0]) > len(request.body.content)


def _json(content: bytes) -> object:
    try:
        return read_json(content)
    except NotJson as error:
        raise _unread(f"the body is {error}") from error


def _parts(content_type: str, content: bytes) -> dict[str, list[object]] | None:
    """The parts of a form by name (RFC 7578); none where the type does not say how they are divided."""
    message = message_from_bytes(b"content-type: " + content_type.encode() + b"\r\n\r\n" + content, policy=HTTP)
    if message.get_boundary() is None:
        return None
    if message.defects or not message.is_multipart():
        raise _unread("the body is no form in parts")
    found: dict[str, list[object]] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        if part.defects or part.is_multipart():
            raise _unread("a part of the body cannot be read")
        if isinstance(name, str) and name:
            value = part.get_payload(decode=True)
            if not isinstance(value, bytes):
                raise _unread("a part of the body cannot be read")
            is_json = "application/json" in part.get("content-type", "")
            found.setdefault(name, []).append(_json(value) if is_json else _text(value))
    return found


def _parameters(query: str) -> dict[str, list[str]]:
    """The parameters by name, as Go reads them: `;` divides nothing, and an escape is two hexadecimal digits."""
    if ";" in query:
        raise _unread("a query with `;` has more than one reading")
    _must_be_escaped_well(query)
    try:
        return parse_qs(query, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS)
    except ValueError as error:
        raise _unread(f"the query cannot be read: {error}") from error


def _decoded(path: str) -> str:
    _must_be_escaped_well(path)
    try:
        return unquote(path, errors="strict")
    except ValueError as error:
        raise _unread(f"the path cannot be read: {error}") from error


def _must_be_escaped_well(text: str) -> None:
    for part in text.split("%")[1:]:
        if len(part) < 2 or not _HEXADECIMAL.issuperset(part[:2]):  # noqa: PLR2004  two digits
            raise _unread("a % stands alone")


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise _unread(f"the body is no UTF-8 text: {error}") from error


def _unread(why: str) -> Refused:
    return Refused(Reason.REQUEST_MALFORMED, why)
