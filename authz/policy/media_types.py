"""A header with parameters (RFC 9110, 5.6.6) in, its value and parameters out; or NoMediaType where readers differ.

They differ over a parameter that stands twice, a backslash in quotes, `name*` (RFC 8187), a value behind a comma.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_WORD = r"[!#$%&'+.^_`|~0-9A-Za-z-]+"  # RFC 9110, 5.6.2, but `*`
_VALUE = re.compile(rf"[ \t]*({_WORD}(?:/{_WORD})?)[ \t]*")
_PARAMETER = re.compile(rf';[ \t]*(?:({_WORD})=(?:({_WORD})|"([^"\\\x00-\x08\x0a-\x1f\x7f]*)")[ \t]*)?')

_UTF_8 = "utf-8"
_LIKE_ASCII = {"us-ascii", "iso-8859-1", "windows-1252"}


class NoMediaType(ValueError):
    """The header has no single reading; the message says so without its value."""


@dataclass(frozen=True, slots=True)
class Headed:
    """A header's value, such as `application/json` or `form-data`, and its parameters; names in lower case."""

    value: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)

    def must_be_utf_8(self, content: bytes) -> None:
        """Whoever goes by the charset that is named reads the content as UTF-8 too; raises NoMediaType."""
        charset = self.parameters.get("charset", _UTF_8).lower()
        if charset != _UTF_8 and not (charset in _LIKE_ASCII and content.isascii()):
            raise NoMediaType("it names another charset than UTF-8")


def headed(text: str) -> Headed:
    """What the header says; raises NoMediaType."""
    start = _VALUE.match(text)
    if start is None:
        raise NoMediaType("it does not begin with a value")
    parameters: dict[str, str] = {}
    at = start.end()
    while at < len(text):
        found = _PARAMETER.match(text, at)
        if found is None:
            raise NoMediaType("its parameters have more than one reading")
        at = found.end()
        name = (found[1] or "").lower()
        if name in parameters:
            raise NoMediaType("a parameter stands twice")
        if name:
            parameters[name] = found[2] if found[3] is None else found[3]
    return Headed(start[1].lower(), parameters)
