"""The strict reading of a path: as Envoy sent it in, its segments out. Also the templates that paths are held against.

Upstreams differ: they decode once or twice, merge slashes, resolve dots, drop `;parameters`, fold case. A path that
two of them could divide differently is refused, never repaired, because the upstream gets what the client sent and not
what we made of it.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote_to_bytes

from authz.core.errors import Refused
from authz.core.reasons import Reason

MAX_TEMPLATE_CHARACTERS = 1000

# The characters of a segment (RFC 3986, section 3.3) without three: `%` is read below; `;` begins parameters that some
# upstreams drop; `!` is legal, but Envoy writes one for each byte that is not UTF-8, so it may stand for any byte.
_PLAIN = r"A-Za-z0-9._~$&'()*+,:=@-"
# The octets that must be encoded to stand in a segment, or may be: not letters, digits and `-._~`, which are the same
# encoded or not (section 2.3), and not control characters and `/ \ . ; % ? #`, which divide a path once decoded.
# The case of the digits is free: it is never read differently (section 6.2.2.1).
_ENCODED = r"%(?:[89A-Fa-f][0-9A-Fa-f]|2[0-246-9A-Ca-c]|3[ACDEacde]|40|5[BDEbde]|60|7[B-Db-d])"
_PATH = re.compile(rf"/|(?:/(?!\.+(?:/|\Z))(?:[{_PLAIN}]++|{_ENCODED})++)++/?+")
_LITERAL = re.compile(rf"(?!\.+\Z)[{_PLAIN}]+")
_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]{0,63})\}")
_LINE_BREAKS_AND_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

_FAULTS = (
    (re.compile(r"\A(?!/)"), "does not begin with a slash"),
    (re.compile(r"//"), "has an empty segment"),
    (re.compile(r"/\.+(?:/|\Z)"), "has a segment of dots alone"),
    (re.compile(r"[^\x21-\x7e]"), "has a blank, a control character or one that is not ASCII"),
    (re.compile(r"!"), "has a `!`, for which Envoy may have received any byte"),
    (re.compile(r"%(?![0-9A-Fa-f]{2})"), "has a `%` that encodes nothing"),
    (re.compile(r"%"), "encodes a character that needs no encoding, or one that divides paths"),
    (re.compile(r""), "has a character that upstreams read differently"),
)


def read_path(path_and_query: str) -> list[str]:
    """The segments between the slashes, still encoded; the last is empty where the path ends with a slash.

    Raises Refused for a path that is empty, or could be read in more than one way.
    """
    if not path_and_query:
        raise Refused(Reason.PATH_MISSING)
    path = path_and_query.partition("?")[0]  # as Envoy does; the first `?` ends the path for every upstream
    if "#" in path_and_query:
        raise _ambiguous(path, "has a fragment, which is never sent")
    if not _PATH.fullmatch(path):
        raise _ambiguous(path, next(what for pattern, what in _FAULTS if pattern.search(path)))
    segments = path[1:].split("/")
    if "%" in path:
        for segment in segments:
            if "%" in segment:
                _must_be_text(path, segment)
    return segments


def text_of(segment: str) -> str:
    """What a segment from `read_path` says, decoded."""
    return unquote_to_bytes(segment).decode() if "%" in segment else segment


def resemblance(segment: str) -> str:
    """What segments have in common that a lenient upstream takes for the same.

    Such an upstream decodes, folds case, replaces compatibility forms, trims blanks and dots, or does several of these.
    """
    return _compatible(text_of(segment)).casefold().strip(" .")


def _compatible(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def _must_be_text(path: str, segment: str) -> None:
    try:
        text = text_of(segment)
    except UnicodeDecodeError as error:
        raise _ambiguous(path, "encodes bytes that are not UTF-8") from error
    compatible = _compatible(text)
    if _LINE_BREAKS_AND_CONTROLS.search(text):
        raise _ambiguous(path, "encodes a control character or a line break")
    if "/" in compatible or "\\" in compatible:
        raise _ambiguous(path, "encodes a character that some upstreams replace by a slash")
    if not compatible.strip(" ."):
        raise _ambiguous(path, "has a segment of blanks and dots alone, which some upstreams trim")


def _ambiguous(path: str, what: str) -> Refused:
    return Refused(Reason.PATH_AMBIGUOUS, f"{path[:200]!r} {what}")


class NotATemplate(ValueError):
    """The text is no template; the message says which rule it breaks."""


@dataclass(frozen=True, slots=True)
class Template:
    """The shape of a route's paths. `parse` is the way to make one."""

    text: str
    literals: tuple[str | None, ...]  # by segment; None where a parameter stands
    parameters: tuple[tuple[int, str], ...]  # each takes the whole segment of that index, which is never empty
    ends_with_slash: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """The template that a text such as `/contacts/{contact_id}` spells; raises NotATemplate."""
        if not text.startswith("/"):
            raise NotATemplate("a path begins with a slash")
        if len(text) > MAX_TEMPLATE_CHARACTERS:
            raise NotATemplate(f"a path has at most {MAX_TEMPLATE_CHARACTERS} characters")
        segments = text[1:].split("/")
        ends_with_slash = not segments[-1]
        if ends_with_slash:
            segments.pop()
        found = [_PARAMETER.fullmatch(segment) for segment in segments]
        literals = tuple(None if name else _literal(each) for name, each in zip(found, segments, strict=True))
        parameters = tuple((index, name[1]) for index, name in enumerate(found) if name)
        if len({name for _, name in parameters}) < len(parameters):
            raise NotATemplate("a path names each of its parameters once")
        return cls(text, literals, parameters, ends_with_slash)


def _literal(segment: str) -> str:
    if not segment:
        raise NotATemplate("a path has no empty segment")
    if not _LITERAL.fullmatch(segment):
        allowed = "letters, digits and -._~$&'()*+,:=@, and is not of dots alone"
        raise NotATemplate(f"{segment!r} is neither a whole {{parameter}} nor a plain segment: it has {allowed}")
    return segment
