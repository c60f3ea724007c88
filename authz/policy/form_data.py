"""A body of multipart/form-data (RFC 7578) in, its parts out; or NotAForm where one reader divides it unlike another.

Readers forgive different things: text before the first delimiter, line ends of another kind, a delimiter after a lone
carriage return, a header that stands twice, an encoding of the part. Here nothing of that is a form.
"""

import re
from dataclasses import dataclass

from authz.policy.media_types import Headed, NoMediaType, headed

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")  # RFC 2046, 5.1.1
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_ENCODINGS_OF_NONE = {"7bit", "8bit", "binary"}
_MAX_PARTS = 1000


class NotAForm(ValueError):
    """The body is no form that all readers divide alike; the message says why, without its values."""


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a form, or one file."""

    name: str
    is_file: bool
    media_type: str  # in lower case; empty where the part names none
    content: bytes


def parts_of(content: bytes, boundary: str) -> list[Part]:
    """The parts in their order; raises NotAForm."""
    if not _BOUNDARY.fullmatch(boundary):
        raise NotAForm("the boundary is none")
    delimiter = b"--" + boundary.encode()
    line_end = b"\r\n" if content.startswith(delimiter + b"\r\n") else b"\n"
    if line_end == b"\n" and b"\r" in content:
        raise NotAForm("its lines have ends of two kinds")
    # Wherever the boundary stands it must divide: what only some readers take for a delimiter, none may find.
    before, *parts = content.split(delimiter, _MAX_PARTS + 2)
    if not 2 <= len(parts) <= _MAX_PARTS + 1:  # noqa: PLR2004  a part, and what closes the form
        raise NotAForm("it has no parts, or too many")
    last = parts.pop()
    if before or not last.startswith(b"--") or last[2:].strip(b" \t") not in {b"", line_end}:
        raise NotAForm("something stands before its first delimiter, or behind its last")
    return [_part(each, line_end) for each in parts]


def _part(text: bytes, line_end: bytes) -> Part:
    head, _, content = text.partition(line_end * 2)
    if not head.startswith(line_end) or not content.endswith(line_end):
        raise NotAForm("a delimiter or a part's header has more than one reading")
    headers = _headers(head.removeprefix(line_end), line_end)
    disposition = headers.get("content-disposition", Headed())
    kind = headers.get("content-type", Headed())
    name = disposition.parameters.get("name", "")
    if disposition.value != "form-data" or not name:
        raise NotAForm("a part has no name")
    if headers.get("content-transfer-encoding", Headed("binary")).value not in _ENCODINGS_OF_NONE:
        raise NotAForm("a part is encoded")
    if kind.value.startswith("multipart/"):
        raise NotAForm("a part has parts itself")
    content = content.removesuffix(line_end)
    try:
        kind.must_be_utf_8(content)
    except NoMediaType as error:
        raise NotAForm(f"a part cannot be read: {error}") from error
    return Part(name, "filename" in disposition.parameters, kind.value, content)


def _headers(head: bytes, line_end: bytes) -> dict[str, Headed]:
    found: dict[str, Headed] = {}
    for line in head.split(line_end):
        try:
            header = _HEADER.fullmatch(line.decode())
            if header is None or header[1].lower() in found:
                raise NotAForm("a part's header has more than one reading")
            name = header[1].lower()
            found[name] = headed(header[2]) if name.startswith("content-") else Headed()
        except (UnicodeDecodeError, NoMediaType) as error:
            raise NotAForm(f"a part's header cannot be read: {error}") from error
    return found
