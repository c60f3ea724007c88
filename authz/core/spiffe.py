"""SPIFFE IDs: text in, a value out, or the sentence that says which rule the text breaks.

The rules are those of the SPIFFE-ID standard, sections 2.1 to 2.4, read strictly: what is not canonical (an
upper-case scheme or trust domain) is refused, not repaired, because it would be compared byte by byte elsewhere.
"""

import re
from dataclasses import dataclass, field
from typing import Self

SCHEME = "spiffe://"
MAX_URI_BYTES = 2048
MAX_TRUST_DOMAIN_BYTES = 255

_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]+")
_SEGMENT = re.compile(r"[a-zA-Z0-9._-]+")


class NotASpiffeId(ValueError):
    """The text breaks a rule of the SPIFFE-ID standard; the message names it."""


def check_trust_domain(name: str) -> str:
    """The trust domain name, if it is one (SPIFFE-ID 2.1); raises NotASpiffeId."""
    if not name:
        raise NotASpiffeId("the trust domain is missing")
    if len(name) > MAX_TRUST_DOMAIN_BYTES:
        raise NotASpiffeId(f"the trust domain is longer than {MAX_TRUST_DOMAIN_BYTES} bytes")
    if not _TRUST_DOMAIN.fullmatch(name):
        raise NotASpiffeId("the trust domain may only hold lower-case letters, digits, dots, dashes and underscores")
    return name


def _check_path(path: str) -> str:
    for segment in path.split("/")[1:]:
        if not segment:
            raise NotASpiffeId("the path must not hold an empty segment or end with a slash")
        if segment in (".", ".."):
            raise NotASpiffeId("the path must not hold the segments '.' and '..'")
        if not _SEGMENT.fullmatch(segment):
            raise NotASpiffeId("path segments may only hold letters, digits, dots, dashes and underscores")
    return path


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """A SPIFFE ID. `parse` is the way to make one; equality and hash are those of the whole URI."""

    uri: str
    trust_domain: str = field(compare=False)
    path: str = field(compare=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The SPIFFE ID that `text` spells; raises NotASpiffeId with the rule that is broken."""
        if len(text) > MAX_URI_BYTES:
            raise NotASpiffeId(f"a SPIFFE ID is at most {MAX_URI_BYTES} bytes long")
        if not text.startswith(SCHEME):
            raise NotASpiffeId(f"a SPIFFE ID begins with {SCHEME!r}")
        trust_domain, slash, rest = text[len(SCHEME) :].partition("/")
        return cls(text, check_trust_domain(trust_domain), _check_path(slash + rest))

    def __str__(self) -> str:
        return self.uri
