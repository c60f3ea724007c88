"""Query parameters in, their values out, where the catalog reads any; upstreams differ more in these than in paths."""

import re
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from authz.core.errors import Refused
from authz.core.reasons import Reason

MAX_PAIRS = 200

_PLAIN = re.compile(r"(?:[A-Za-z0-9._~!$'()*,:@/?&=+\[\]-]|%[0-9A-Fa-f]{2})*+")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NAME_END = re.compile(r"[\[.\s]")


def read_query(query: str, wanted: Sequence[str]) -> dict[str, str]:
    """The values of the wanted parameters that are there; raises Refused.

    Each may be given once: some upstreams take the first, some the last. A name that a framework may take for a wanted
    one (`a[]`, `A`, `a.x`) is refused beside it or alone. `+` is a blank, as in forms.
    """
    if not _PLAIN.fullmatch(query):
        raise Refused(Reason.QUERY_AMBIGUOUS, "the query has a character that upstreams read differently")
    pairs = query.split("&") if query else []
    if len(pairs) > MAX_PAIRS:
        raise Refused(Reason.QUERY_AMBIGUOUS, f"{len(pairs)} query parameters; at most {MAX_PAIRS} are read")
    folded = {name.casefold(): name for name in wanted}
    found: dict[str, str] = {}
    for pair in pairs:
        raw_name, _, raw_value = pair.partition("=")
        name = _decoded(raw_name)
        meant = folded.get(_NAME_END.split(name.casefold(), maxsplit=1)[0])
        if meant is None:
            continue
        if name != meant or raw_name != meant or meant in found:
            raise Refused(Reason.QUERY_AMBIGUOUS, f"the query parameter {meant} is given twice, or nearly so")
        found[meant] = _decoded(raw_value)
    return found


def _decoded(text: str) -> str:
    try:
        found = unquote_to_bytes(text.replace("+", " ")).decode() if "%" in text or "+" in text else text
    except UnicodeDecodeError as error:
        raise Refused(Reason.QUERY_AMBIGUOUS, "the query encodes bytes that are not UTF-8") from error
    if _CONTROLS.search(found):
        raise Refused(Reason.QUERY_AMBIGUOUS, "the query encodes a control character")
    return found
