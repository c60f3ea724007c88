"""CheckRequest bytes in, `Request` out; what is no HTTP request is refused with its reason.

Raw headers (`encode_raw_headers: true`) are preferred, because only they keep repeated headers and exact bytes apart.
Where they are absent, Envoy's folded map is taken as it is; gRPC servers that ask without Envoy (gRFC A92) send raw
headers alone, so method, host and path may stand in the pseudo-headers only.
"""

from collections.abc import Mapping
from dataclasses import replace

from google.protobuf.message import DecodeError

from authz.core.errors import Refused
from authz.core.reasons import Reason
from authz.core.request import MAX_SHOWN_BODY_BYTES, NO_BODY, Body, Request
from authz.wire.attributes import described
from authz.wire.pb.envoy.config.core.v3.address_pb2 import Address
from authz.wire.pb.envoy.config.core.v3.base_pb2 import HeaderMap
from authz.wire.pb.envoy.service.auth.v3.attribute_context_pb2 import AttributeContext
from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest

_Headers = Mapping[str, tuple[str, ...]]
_PARTIAL = "x-envoy-auth-partial-body"  # set by Envoy beside each body that it passes on, and never a client's


def decode(message: bytes) -> Request:
    """What Envoy said; raises Refused for bytes that are no CheckRequest, or one about no HTTP request."""
    return _request(_attributes(message))


def decode_with_attributes(message: bytes) -> Request:
    """As `decode`, with all that Envoy said as JSON too, for policies that want to see that: all but a large body."""
    attributes = _attributes(message)
    request = _request(attributes)
    if len(request.body.content) > MAX_SHOWN_BODY_BYTES:
        attributes.request.http.ClearField("body")
        attributes.request.http.ClearField("raw_body")
    return replace(request, attributes=described(attributes))


def _attributes(message: bytes) -> AttributeContext:
    try:
        attributes = CheckRequest.FromString(message).attributes
    except DecodeError as error:
        raise Refused(Reason.REQUEST_MALFORMED, str(error)) from error
    if not attributes.request.HasField("http"):
        raise Refused(Reason.REQUEST_NOT_HTTP)
    return attributes


def _request(attributes: AttributeContext) -> Request:
    http, source = attributes.request.http, attributes.source
    headers = (
        _raw(http.header_map) if http.header_map.headers else {key: (value,) for key, value in http.headers.items()}
    )
    return Request(
        method=_agreed(http.method, headers, ":method"),
        host=_agreed(http.host, headers, ":authority"),
        path=_agreed(http.path, headers, ":path"),
        headers=headers,
        unverified_principal=source.principal,
        unverified_certificate=source.certificate,
        source_address=_text(source.address),
        body=_body(http, headers),
    )


def _body(http: AttributeContext.HttpRequest, headers: _Headers) -> Body:
    """The bytes where Envoy packs them (`pack_as_bytes`), else the text that it made of them."""
    said = headers.get(_PARTIAL, ())
    size = http.size
    if not (http.raw_body or http.body or said or size > 0):
        return NO_BODY
    if http.raw_body and http.body:
        raise Refused(Reason.REQUEST_MALFORMED, "the body is given as bytes and as text")
    return Body(
        content=http.raw_body or http.body.encode(),
        declared_bytes=size if size > 0 else None,  # 0 is what protobuf has for nothing said, -1 what gRPC servers send
        is_partial=bool(said) and said != ("false",),
        is_exact=not http.body or "!" not in http.body,
        is_declared_whole=said == ("false",),
    )


def _raw(header_map: HeaderMap) -> _Headers:
    # Latin-1 maps every byte to one character, so that different bytes never become the same text.
    found = [(each.key.lower(), each.raw_value.decode("latin-1") or each.value) for each in header_map.headers]
    headers = {name: (value,) for name, value in found}
    if len(headers) == len(found):
        return headers
    repeated: dict[str, tuple[str, ...]] = {}
    for name, value in found:
        repeated[name] = (*repeated.get(name, ()), value)
    return repeated


def _agreed(field: str, headers: _Headers, pseudo_header: str) -> str:
    """A field that Envoy also gives as a pseudo-header: the two must say the same, where both speak."""
    match headers.get(pseudo_header, ()):
        case ():
            return field
        case (value,) if not field or value == field:
            return value
        case values:
            raise Refused(Reason.REQUEST_MALFORMED, f"{pseudo_header} is {values!r:.200}, its field {field!r:.200}")


def _text(address: Address) -> str:
    if address.HasField("socket_address"):
        return f"{address.socket_address.address}:{address.socket_address.port_value}"
    return address.pipe.path
