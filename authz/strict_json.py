"""JSON of strangers: bytes in, one object out in which every member stands once; anything else is NotAJsonObject."""

import json
from typing import Any


class NotAJsonObject(ValueError):
    """The bytes are not one JSON object that all readers read alike (RFC 7493); the message says why."""


def read_json_object(content: bytes) -> dict[str, Any]:
    """The object that the UTF-8 text spells; raises NotAJsonObject also where a member is given twice, at any depth."""
    try:
        # Decoded here, because `json` would guess UTF-16 and UTF-32 too.
        found = json.loads(content.decode("utf-8"), object_pairs_hook=_each_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise NotAJsonObject(f"not JSON: {error!s:.200}") from error
    if not isinstance(found, dict):
        raise NotAJsonObject("not a JSON object")
    return found


def _each_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise NotAJsonObject("a member is given twice")
    return found


def _no_number(text: str) -> float:
    raise NotAJsonObject(f"{text} is no JSON number")
