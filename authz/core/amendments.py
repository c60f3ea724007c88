"""Amendments: what policies want changed in a request that goes on, or in the answer to one that does not.

They decide nothing. They are checked where they are made, so that what is here can be sent as it stands.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

HTTP_STATUSES = frozenset(
    {*range(200, 209), 226, *range(300, 306), 307, 308, *range(400, 418), *range(421, 425), 426, 428, 429, 431}
    | {*range(500, 509), 510, 511}
)
"""Those that Envoy knows (envoy/type/v3/http_status.proto) but 1xx: another is an error to it, so perhaps an allow."""
MAX_VALUE_CHARACTERS = 8192
MAX_BODY_CHARACTERS = 32_768
MAX_ENTRIES = 128
"""Of headers, parameters and members of the metadata together."""
MAX_METADATA_DEPTH = 8
"""Envoy's parser gives up far below what protobuf can nest, and what it cannot parse is an error to it, as above."""

_TOKEN = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,128}")  # RFC 9110, 5.6.2; in lower case, as HTTP/2 has names
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_QUERY_TEXT = re.compile(r"[A-Za-z0-9._~!$'()*,;:@/?%=+-]*")  # RFC 3986, 3.4, but `&`, which would begin a parameter
_OF_THE_CONNECTION = frozenset(
    {"connection", "content-length", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding"}
    | {"upgrade", "x-forwarded-client-cert"}
)
_OURS = "x-authz-"
_MOST = 2**53  # beyond it numbers are no longer exact, for Envoy keeps them as floating point

Headers = tuple[tuple[str, tuple[str, ...]], ...]
"""Names in lower case, each with its values."""


class NotAnAmendment(ValueError):
    """It cannot be sent as it stands, or is not for policies to change; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendments:
    """`of` is the way to make them."""

    headers: Headers = ()  # set in the request that goes on, or in the answer of a denial
    removed_headers: tuple[str, ...] = ()  # of the request that goes on
    response_headers: Headers = ()  # set in the response to it
    query_set: tuple[tuple[str, str], ...] = ()  # of the request that goes on
    query_removed: tuple[str, ...] = ()  # as above
    body: str | None = None  # of a denial
    http_status: int | None = None  # as above
    metadata: Mapping[str, object] = field(default_factory=dict)  # JSON, for Envoy

    @classmethod
    def of(  # noqa: PLR0913  as many as there are
        cls,
        *,
        guarded: frozenset[str],
        headers: Headers = (),
        removed_headers: tuple[str, ...] = (),
        response_headers: Headers = (),
        query_set: tuple[tuple[str, str], ...] = (),
        query_removed: tuple[str, ...] = (),
        body: str | None = None,
        http_status: int | None = None,
        metadata: Mapping[str, object],
    ) -> Self:
        """Checked; raises NotAnAmendment. `guarded` names the headers that say who calls and on whose errand."""
        for name in (*(name for name, _ in headers), *removed_headers, *(name for name, _ in response_headers)):
            _must_be_free(name, guarded)
        for name, values in (*headers, *response_headers):
            for value in values:
                if len(value) > MAX_VALUE_CHARACTERS or not _VALUE.fullmatch(value) or not _is_unicode(value):
                    raise NotAnAmendment(f"the header {name} has a value that cannot be sent")
        for text in (*query_removed, *(text for pair in query_set for text in pair)):
            if len(text) > MAX_VALUE_CHARACTERS or not _QUERY_TEXT.fullmatch(text):
                raise NotAnAmendment("a query parameter has a name or a value that cannot stand there: encode it")
        _must_be_plain(metadata)
        entries = [*removed_headers, *query_set, *query_removed]
        if len(entries) + sum(len(values) for _, values in (*headers, *response_headers)) > MAX_ENTRIES:
            raise NotAnAmendment(f"there are more than {MAX_ENTRIES} changes")
        if http_status is not None and http_status not in HTTP_STATUSES:
            raise NotAnAmendment(f"{http_status} is no status that Envoy can answer with")
        if body is not None and (len(body) > MAX_BODY_CHARACTERS or not _is_unicode(body)):
            raise NotAnAmendment("the body is too long, or no Unicode text")
        return cls(
            headers=headers,
            removed_headers=removed_headers,
            response_headers=response_headers,
            query_set=query_set,
            query_removed=query_removed,
            body=body,
            http_status=http_status,
            metadata=metadata,
        )


NO_AMENDMENTS = Amendments()


def _must_be_plain(metadata: Mapping[str, object]) -> None:
    """It is JSON, no deeper and no larger than Envoy can take."""
    waiting: list[tuple[object, int]] = [(metadata, 1)]
    seen = 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if seen > MAX_ENTRIES or depth > MAX_METADATA_DEPTH:
            raise NotAnAmendment("the metadata are too many or too deep")
        match value:
            case Mapping():
                waiting += ((each, depth + 1) for pair in value.items() for each in pair)
            case list():
                waiting += ((each, depth + 1) for each in value)
            case str():
                if len(value) > MAX_VALUE_CHARACTERS or not _is_unicode(value):
                    raise NotAnAmendment("a text of the metadata is too long, or no Unicode text")
            case int() | float():
                if not abs(value) < math.inf or abs(value) > _MOST:
                    raise NotAnAmendment("a number of the metadata is too large")
            case None:
                pass
            case _:
                raise NotAnAmendment(f"the metadata hold a {type(value).__name__}")


def _must_be_free(name: str, guarded: frozenset[str]) -> None:
    if not _TOKEN.fullmatch(name):
        raise NotAnAmendment(f"{name!r:.100} is no name of a header")
    as_read = name.replace("_", "-")  # so CGI, and what descends from it, reads it
    if as_read in guarded or as_read in _OF_THE_CONNECTION or as_read.startswith(_OURS):
        raise NotAnAmendment(f"the header {name} is not for policies to change")


def _is_unicode(text: str) -> bool:
    """Whether UTF-8 can carry it: lone surrogates cannot be."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
