"""MCP over streamable HTTP, revisions 2025-03-26 to 2026-07-28: a message in, the tool, resource or prompt out.

The body decides in every revision. Where headers say the same again (`Mcp-Method`, `Mcp-Name`, `Mcp-Param-*`, required
from 2026-07-28 on), they must agree with it, whatever the revision: whoever else reads them must not see another call.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from authz.catalog.digest import digest
from authz.catalog.entry import Entry, Pointer, is_absent
from authz.catalog.jsonrpc import MAX_NAME_CHARACTERS, Message, read_message
from authz.catalog.strict_json import Known
from authz.catalog.uris import ResourceUris
from authz.core.errors import Refused
from authz.core.hop import Hop
from authz.core.reasons import Reason
from authz.core.request import Request

WITHOUT_HEADERS = frozenset({"2025-03-26", "2025-06-18", "2025-11-25"})
WITH_HEADERS = frozenset({"2026-07-28"})

SESSION_METHODS = frozenset(
    {
        *("initialize", "notifications/initialized", "ping", "server/discover"),
        *("tools/list", "resources/list", "resources/templates/list", "prompts/list"),
        *("notifications/cancelled", "notifications/progress", "notifications/roots/list_changed"),
    }
)
"""What opens, keeps and describes a session, and touches no data of the server's; one entry stands for all of it."""

OTHER_METHODS = frozenset(
    {
        *("completion/complete", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"),
        *("subscriptions/listen", "tasks/get", "tasks/list", "tasks/result", "tasks/update", "tasks/cancel"),
    }
)
"""Methods that are denied unless the catalog gives them an entry of their own."""
ANSWERS = "answers"
"""The name in the catalog for answers to what the server asked (sampling, elicitation, roots)."""

_VERSION_MEMBER = "io.modelcontextprotocol/protocolVersion"
_NAME_MEMBER = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_PARAMS = Known("name", "uri", "arguments", "_meta", "inputResponses", "requestState", "task")
_META = Known(_VERSION_MEMBER)
_RETRY = ("inputResponses", "requestState")
_ENCODED = re.compile(r"=\?base64\?([A-Za-z0-9+/]*={0,2})\?=")
_PARAM_HEADER = "mcp-param-"
_NO_MEMBERS: Mapping[str, Any] = {}
_NO_HEADERS: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class McpTool:
    """A tool: its entry, and the arguments that clients mirror in headers (`x-mcp-header` in its input schema)."""

    entry: Entry
    headers: Mapping[str, Pointer]  # by the header's name, in lower case


@dataclass(frozen=True, slots=True)
class McpEndpoint:
    """An MCP server's one path, and all that the catalog knows there."""

    resource: str
    tools: Mapping[str, McpTool]
    resources: ResourceUris
    prompts: Mapping[str, Entry]
    methods: Mapping[str, Entry]  # the session's and others', and ANSWERS
    reads_more_than_target: ClassVar[bool] = True

    def read(self, request: Request, parameters: Mapping[str, str]) -> Hop:
        """The hop that the message is; raises Refused."""
        message = read_message(request)
        params, method = message.params, message.method
        _PARAMS.must_not_be_shadowed(params)
        name = _name(message)
        revision = _revision(request, message)
        _headers_must_agree(request, revision, method, name)
        if method == "tools/call":
            tool = self.tools.get(name)
            if tool is None:
                raise _unknown(method, name)
            arguments = _object(params, "arguments")
            _mirrors_must_agree(request, revision, tool.headers, arguments)
            return _call(tool.entry, parameters, arguments, params)
        if method == "prompts/get":
            return _known(self.prompts.get(name), method, name).hop(parameters, _object(params, "arguments"))
        if method == "resources/read":
            return self.resources.read(name, parameters)
        return _known(self.methods.get(method or ANSWERS), method or ANSWERS, "").hop(parameters)


def _call(entry: Entry, parameters: Mapping[str, str], arguments: Mapping[str, Any], params: Mapping[str, Any]) -> Hop:
    hop = entry.hop(parameters, arguments)
    if all(member not in params for member in _RETRY):
        return hop
    # A retry with answers to the server's questions: these decide what happens as much as the arguments do, and so does
    # the state, which is the client's word. All is bound.
    bound = {"arguments": arguments, **{member: params[member] for member in _RETRY if member in params}}
    return replace(hop, arguments_digest=digest(bound))


def _known(entry: Entry | None, method: str, name: str) -> Entry:
    if entry is None:
        raise _unknown(method, name)
    return entry


def _unknown(method: str, name: str) -> Refused:
    return Refused(Reason.ACTION_UNKNOWN, f"no such entry: MCP {method[:100]} {name[:200]}".rstrip())


def _name(message: Message) -> str:
    """What the message is about: a tool, a prompt or a resource; empty for methods that are about none."""
    member = _NAME_MEMBER.get(message.method)
    if member is None:
        return ""
    name = message.params.get(member)
    if message.is_notification or not isinstance(name, str) or not name:
        raise Refused(Reason.MESSAGE_MALFORMED, f"{message.method} is a request that has a {member}")
    if member == "name" and len(name) > MAX_NAME_CHARACTERS:
        raise Refused(Reason.MESSAGE_MALFORMED, f"a name of {len(name)} characters")
    return name


def _revision(request: Request, message: Message) -> str:
    """The revision that header and body agree on; empty where neither names one, as before 2025-06-18."""
    values = request.headers.get("mcp-protocol-version", _NO_HEADERS)
    if len(values) > 1 or (values and values[0] not in WITHOUT_HEADERS | WITH_HEADERS):
        raise Refused(Reason.PROTOCOL_VERSION, f"mcp-protocol-version {values!r:.200}")
    version = values[0] if values else ""
    meta = _object(message.params, "_meta")
    _META.must_not_be_shadowed(meta)
    said = meta.get(_VERSION_MEMBER)
    must_say = version in WITH_HEADERS and message.method and not message.is_notification
    if (said is not None or must_say) and said != version:
        detail = f"mcp-protocol-version is {version!r}, the body says {said!r:.100}"
        raise Refused(Reason.HEADER_MISMATCH, detail)
    return version


def _headers_must_agree(request: Request, revision: str, method: str, name: str) -> None:
    headers = request.headers
    for header, expected in (("mcp-method", method), ("mcp-name", name)):
        values = headers.get(header, _NO_HEADERS)
        if not values and (revision not in WITH_HEADERS or not expected):
            continue
        if len(values) != 1 or _decoded(values[0]) != expected:
            raise Refused(Reason.HEADER_MISMATCH, f"{header} is {values!r:.200}, the body says {expected[:200]!r}")


def _mirrors_must_agree(
    request: Request, revision: str, mirrored: Mapping[str, Pointer], arguments: Mapping[str, Any]
) -> None:
    """Each `Mcp-Param-*` header says what the argument says that it mirrors; one that mirrors none is refused."""
    for header, values in request.headers.items():
        if header.startswith(_PARAM_HEADER):
            place = mirrored.get(header.removeprefix(_PARAM_HEADER))
            value = None if place is None else place.find(arguments)
            if len(values) != 1 or value is None or not _is_same(value, _decoded(values[0])):
                raise Refused(Reason.HEADER_MISMATCH, f"{header[:100]} does not say what the body says")
    if revision in WITH_HEADERS:
        for name, place in mirrored.items():
            if _PARAM_HEADER + name not in request.headers and not is_absent(place.find(arguments)):
                raise Refused(Reason.HEADER_MISMATCH, f"{_PARAM_HEADER}{name} is missing")


def _is_same(value: object, text: str) -> bool:
    if isinstance(value, bool):
        return text == ("true" if value else "false")
    if isinstance(value, int):
        return re.fullmatch(r"-?[0-9]{1,16}(?:\.0{1,16})?", text) is not None and int(text.partition(".")[0]) == value
    return value == text


def _decoded(text: str) -> str:
    """What a header says that may be in MCP's base64 form, which is of bytes that headers cannot carry."""
    match = _ENCODED.fullmatch(text)
    if match is None:
        return text
    try:
        return base64.b64decode(match[1], validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise Refused(Reason.HEADER_MISMATCH, "a header's base64 form cannot be read") from error


def _object(members: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = members.get(name)
    if found is None:
        return _NO_MEMBERS
    if not isinstance(found, dict):
        raise Refused(Reason.MESSAGE_MALFORMED, f"{name} is not an object")
    return found
