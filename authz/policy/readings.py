"""What a client sent in, its one reading out: escapes, parameters, text, JSON; Refused where two readers could differ.

Go is the reader to agree with, for opa-envoy-plugin is written in it. Where Go forgives a mistake, there is no reading.
"""

import re
from typing import Any
from urllib.parse import parse_qs, unquote

from authz.core.errors import Refused
from authz.core.reasons import Reason
from authz.strict_json import NotJson, read_json

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_MAX_PARAMETERS = 1000


def parameters_of(query: str) -> dict[str, list[str]]:
    """The parameters by name, each with its values; `;` divides nothing for Go, and something for others."""
    if ";" in query:
        raise unread("a query with `;` has more than one reading")
    _must_be_escaped_well(query)
    try:
        return parse_qs(query, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS)
    except ValueError as error:
        raise unread(f"the query cannot be read: {error}") from error


def decoded(path: str) -> str:
    """The path without its escapes."""
    _must_be_escaped_well(path)
    try:
        return unquote(path, errors="strict")
    except ValueError as error:
        raise unread(f"the path cannot be read: {error}") from error


def text_of(content: bytes) -> str:
    """UTF-8 alone."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise unread(f"the body is no UTF-8 text: {error}") from error


def json_of(content: bytes) -> Any:  # noqa: ANN401  any JSON
    """The value, in which every member stands once."""
    try:
        return read_json(content)
    except NotJson as error:
        raise unread(f"the body is {error}") from error


def unread(why: str) -> Refused:
    """There is no reading, or more than one."""
    return Refused(Reason.REQUEST_MALFORMED, why)


def _must_be_escaped_well(text: str) -> None:
    if _BAD_ESCAPE.search(text):
        raise unread("a % stands alone")
