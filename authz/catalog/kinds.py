"""Kinds of arguments: a JSON value in, a typed value for policies out, or a refusal where it is not of its kind.

A policy trusts these values, so each kind has one strict form: what a mail program, a browser, a shell or a database
could read as something else than we do is refused.
"""

import posixpath
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from authz.catalog.hosts import read_host
from authz.catalog.sql import sql_kind, sql_tables
from authz.core.errors import Refused
from authz.core.hop import Argument
from authz.core.reasons import Reason

MAX_TEXT_CHARACTERS = 2000
MAX_TEXTS = 100
_CENTS = 100

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# The local part of RFC 5322 without quotes: what every mail program reads as one mailbox at one domain.
_MAILBOX = re.compile(r"[A-Za-z0-9!#$&'*+/=?^_`{|}~.-]{1,64}@([A-Za-z0-9.-]{1,253})")
_URL = re.compile(r"https?://([A-Za-z0-9.-]{1,253})(?::[0-9]{1,5})?(?:[/?][\x21-\x7e]*)?", re.IGNORECASE)

Kind = Callable[[Any], Argument]


def text(value: Any) -> str:  # noqa: ANN401  any JSON
    """A text without control characters."""
    if not isinstance(value, str) or len(value) > MAX_TEXT_CHARACTERS or _CONTROLS.search(value):
        raise _other(value, f"a text of at most {MAX_TEXT_CHARACTERS} characters, without control characters")
    return value


def texts(value: Any) -> frozenset[str]:  # noqa: ANN401  any JSON
    """A text, or a list of texts, as a set."""
    values = value if isinstance(value, list) else [value]
    if len(values) > MAX_TEXTS:
        raise _other(value, f"at most {MAX_TEXTS} texts")
    return frozenset(map(text, values))


def integer(value: Any) -> int:  # noqa: ANN401  any JSON
    """A whole number; 42.0 is 42, as in JSON Schema."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise _other(value, "a whole number")
    return value


def boolean(value: Any) -> bool:  # noqa: ANN401  any JSON
    """True or false."""
    if not isinstance(value, bool):
        raise _other(value, "true or false")
    return value


def cents(value: Any) -> int:  # noqa: ANN401  any JSON
    """An amount with at most two decimals, in hundredths: 12.5 is 1250."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _other(value, "a number")
    amount = Decimal(repr(value)) * _CENTS
    if amount != amount.to_integral_value():
        raise _other(value, "an amount with at most two decimals")
    return int(amount)


def email_domains(value: Any) -> frozenset[str]:  # noqa: ANN401  any JSON
    """The domains, in lower case, of one plain address or a list of them: no display names, lists or quotes."""
    found = set()
    for address in texts(value):
        match = _MAILBOX.fullmatch(address)
        if not match:
            raise _other(value, "plain addresses, such as ann@example.org")
        found.add(_host(match[1], value))
    return frozenset(found)


def url_hosts(value: Any) -> frozenset[str]:  # noqa: ANN401  any JSON
    """The hosts, in lower case, of one http or https URL or a list of them: no user, no backslash, no blanks."""
    found = set()
    for url in texts(value):
        match = _URL.fullmatch(url)
        if not match or "\\" in url:
            raise _other(value, "plain URLs, such as https://example.org/page")
        found.add(_host(match[1], value))
    return frozenset(found)


def path(value: Any) -> str:  # noqa: ANN401  any JSON
    """The path of a file in its one normal form: no `..`, `.`, `//`, `~`, backslash, `%`, wildcard or variable."""
    found = text(value)
    if not found or found != posixpath.normpath(found) or found.startswith(("..", "~", "//")):
        raise _other(value, "a path in its normal form")
    if re.search(r"[\\%*?\[\]{}$`\"'<>|;&:]", found):
        raise _other(value, "a path of plain characters")
    return found


KINDS: Mapping[str, Kind] = {
    "text": text,
    "texts": texts,
    "integer": integer,
    "boolean": boolean,
    "cents": cents,
    "email_domains": email_domains,
    "url_hosts": url_hosts,
    "path": path,
    "sql_kind": sql_kind,
    "sql_tables": sql_tables,
}
"""Every kind, by the name that the catalog file calls it."""

TYPES: Mapping[str, type] = {
    **dict.fromkeys(("text", "path", "sql_kind"), str),
    **dict.fromkeys(("integer", "cents"), int),
    "boolean": bool,
    **dict.fromkeys(("texts", "email_domains", "url_hosts", "sql_tables"), frozenset),
}
"""The type of each kind's values, as policies see them: text, whole number, truth value, or set of texts."""

OF_MANY = frozenset(name for name, kind in TYPES.items() if kind is frozenset)
"""Kinds whose value is a set, which several places may add to, and which is empty where nothing is given."""


def _host(host: str, value: object) -> str:
    try:
        return read_host(host)
    except Refused as error:
        raise _other(value, "names of hosts in their strict form") from error


def _other(value: object, expected: str) -> Refused:
    # The value may be a secret, and the detail is kept: only its JSON type is told.
    return Refused(Reason.ARGUMENT_MALFORMED, f"a {type(value).__name__}, where {expected} is expected")
