"""JSON of strangers: bytes in, one value out that every reader of JSON reads alike; anything else is refused.

Readers differ in repeated members, in NaN, in numbers that a double does not hold, in lone surrogates, in what stands
before or behind the value, and in how deep they go (RFC 7493 says which of these to avoid, and why).
"""

import json
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, NoReturn

from authz.core.errors import Refused
from authz.core.reasons import Reason

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_INTEGER = (1 << 53) - 1  # above it doubles skip some (RFC 7493, section 2.2)
MAX_NUMBER_CHARACTERS = 32

_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(content: bytes) -> Any:  # noqa: ANN401  any JSON
    """The value that the UTF-8 text spells; raises Refused. A number without a fraction is an int, however written."""
    if len(content) > MAX_BYTES:
        raise Refused(Reason.BODY_MALFORMED, f"{len(content)} bytes of JSON; at most {MAX_BYTES} are read")
    _must_be_shallow(content)
    try:
        text = content.decode("utf-8")  # here, because `json` would guess UTF-16 and UTF-32 too
        found = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise Refused(Reason.BODY_MALFORMED, f"not JSON: {type(error).__name__}") from error
    if _SURROGATE.search(text):
        _must_be_unicode(found)
    return found


class Known:
    """Names of members that count, and who must not stand beside them."""

    def __init__(self, *names: str) -> None:
        self._names = frozenset(names)
        self._folded = frozenset(map(str.casefold, names))

    def must_not_be_shadowed(self, members: Iterable[str]) -> None:
        """No member is spelled almost like a known one; raises Refused.

        Some readers (Go's `encoding/json`) take `Method` for `method`, folding letters from outside ASCII too.
        """
        for member in members:
            if member not in self._names and member.casefold() in self._folded:
                detail = f"the member {member[:100]!r} differs from one that counts in case alone"
                raise Refused(Reason.BODY_AMBIGUOUS, detail)


def _must_be_shallow(content: bytes) -> None:
    if content.count(b"[") + content.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for byte in _TEXT.sub(b"", content):
        if byte in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise Refused(Reason.BODY_MALFORMED, f"nested more than {MAX_DEPTH} deep")
        elif byte in b"]}":
            depth -= 1


def _must_be_unicode(found: object) -> None:
    try:
        json.dumps(found, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise Refused(Reason.BODY_AMBIGUOUS, "a text has half of a surrogate pair") from error


def _each_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise Refused(Reason.BODY_AMBIGUOUS, "a member is given twice")
    return found


def _integer(text: str) -> int:
    if len(text) > MAX_NUMBER_CHARACTERS or not -MAX_INTEGER <= (number := int(text)) <= MAX_INTEGER:
        raise Refused(Reason.BODY_AMBIGUOUS, f"the number {text[:40]} is beyond what a double holds exactly")
    return number


def _number(text: str) -> float | int:
    number = float(text)
    if len(text) > MAX_NUMBER_CHARACTERS or not -MAX_INTEGER <= number <= MAX_INTEGER:
        raise Refused(Reason.BODY_AMBIGUOUS, f"the number {text[:40]} is beyond what a double holds exactly")
    if Decimal(text) != Decimal(repr(number)):
        raise Refused(Reason.BODY_AMBIGUOUS, f"the number {text} has more digits than a double holds")
    return int(number) if number.is_integer() else number


def _no_number(text: str) -> NoReturn:
    raise Refused(Reason.BODY_MALFORMED, f"{text} is no JSON number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_each_once, parse_int=_integer, parse_float=_number, parse_constant=_no_number
)
