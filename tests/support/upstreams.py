"""What upstreams make of a path: every leniency that is known of them, alone and together."""

import posixpath
import string
import unicodedata
from collections.abc import Callable
from itertools import accumulate
from urllib.parse import unquote

LENIENCE: tuple[Callable[[str], str], ...] = (
    lambda text: text.partition("?")[0].partition("#")[0],
    unquote,
    unquote,
    lambda text: text.partition("?")[0].partition("#")[0],
    lambda text: text.replace("\\", "/"),
    lambda text: "/".join(each.partition(";")[0] for each in text.split("/")),
    lambda text: unicodedata.normalize("NFKC", text),
    str.lower,
    lambda text: "/".join(each.strip(string.whitespace + ".") or each.strip() for each in text.split("/")),
    lambda text: posixpath.normpath("/" + text.lstrip("/")),
)


def readings(path: str) -> set[tuple[str, ...]]:
    """The segments, empty ones left out, that a path may have: by one step of leniency, by several in turn, by all."""
    in_turn = accumulate(LENIENCE, lambda text, step: step(text), initial=path)
    texts = [*in_turn, *(step(path) for step in LENIENCE)]
    return {tuple(segment for segment in text.partition("?")[0].split("/") if segment) for text in texts}
