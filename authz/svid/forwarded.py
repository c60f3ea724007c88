"""x-forwarded-client-cert: the header's text in, its elements out, each what one proxy wrote of its peer. Unverified.

Envoy joins its own element to what was there with a comma, and writes names into it without escaping them: a comma
or a semicolon in a certificate's name looks like the end of an element or of a pair. So what is read here is only
what the text says. Whoever uses it must hold it against something that a peer cannot write.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from authz.core.request import Request

HEADER = "x-forwarded-client-cert"
MAX_HEADER_CHARACTERS = 65_536
"""Envoy takes 60 KiB of headers from a client unless it is told otherwise."""

_KEYS = frozenset({"by", "hash", "cert", "chain", "subject", "uri", "dns"})
# A value stands in quotes, with quotes and backslashes in it escaped, or has none of the characters that end one.
_PAIR = re.compile(r'([A-Za-z]++)=(?:"((?:[^"\\]++|\\.)*+)"|([^",;]*+))([;,]|\Z)', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class NotForwarded(ValueError):
    """The text breaks the header's grammar; the message says where."""


@dataclass(frozen=True, slots=True)
class Element:
    """What one proxy wrote: its values by lower-case key, each in order."""

    values: Mapping[str, tuple[str, ...]]

    def of(self, key: str) -> tuple[str, ...]:
        """The values of a key, which is given in lower case; none where it is absent."""
        return self.values.get(key, ())


def unverified_header(request: Request) -> str:
    """The whole header, its values joined in order as Envoy joins them; empty where there is none."""
    values = request.headers.get(HEADER, ())
    return values[0] if len(values) == 1 else ",".join(values)


def unverified_chain(request: Request) -> str:
    """The `Chain` of the last element: URL-encoded PEM with the leaf first; empty where none can be read.

    Envoy spells the key this way. A chain only helps to find a path, so one that cannot be read is as good as none.
    """
    header = unverified_header(request)
    if "Chain=" not in header:
        return ""
    try:
        chains = read_elements(header)[-1].of("chain")
    except NotForwarded:
        return ""
    return chains[0] if len(chains) == 1 else ""


@lru_cache(maxsize=256)  # all that Envoy writes of a connection is the same for each of its requests
def read_elements(header: str) -> tuple[Element, ...]:
    """The elements in order, of which there is at least one; raises NotForwarded. Keys are told apart without case."""
    if len(header) > MAX_HEADER_CHARACTERS:
        raise NotForwarded(f"longer than {MAX_HEADER_CHARACTERS} characters")
    elements: list[Element] = []
    values: dict[str, tuple[str, ...]] = {}
    place, end = 0, ";"
    while end:
        pair = _PAIR.match(header, place)
        if pair is None:
            raise NotForwarded(f"no pair of key and value at character {place}")
        key, quoted, plain, end = pair.groups()
        if key.lower() not in _KEYS:
            raise NotForwarded(f"unknown key {key!r:.50} at character {place}")
        value = plain if quoted is None else _ESCAPED.sub(r"\1", quoted)
        values[key.lower()] = (*values.get(key.lower(), ()), value)
        place = pair.end()
        if end != ";":
            elements.append(Element(values))
            values = {}
    return tuple(elements)
