"""JSON of strangers: bytes in, one value out in which every member stands once; anything else is NotJson."""

import json
from collections.abc import Callable
from typing import Any


class NotJson(ValueError):
    """The bytes are not one JSON value that all readers read alike (RFC 7493); the message says why."""


class NotAJsonObject(NotJson):
    """Nor are they an object."""


def read_json(content: bytes, number: Callable[[str], Any] | None = None) -> Any:  # noqa: ANN401  any value
    """The value that the UTF-8 text spells; raises NotJson also where a member is given twice, at any depth.

    Where `number` is given, it makes what stands for a number from its text.
    """
    try:
        # Decoded here, because `json` would guess UTF-16 and UTF-32 too.
        text = content.decode("utf-8")
        return json.loads(
            text, object_pairs_hook=_each_once, parse_constant=_no_number, parse_int=number, parse_float=number
        )
    except (ValueError, RecursionError) as error:
        raise NotJson(f"not JSON: {error!s:.200}") from error


def read_json_object(content: bytes, number: Callable[[str], Any] | None = None) -> dict[str, Any]:
    """The object that the text spells, as `read_json` reads it; raises NotAJsonObject."""
    try:
        found = read_json(content, number)
    except NotJson as error:
        raise NotAJsonObject(str(error)) from error
    if not isinstance(found, dict):
        raise NotAJsonObject("not a JSON object")
    return found


def _each_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise NotJson("a member is given twice")
    return found


def _no_number(text: str) -> float:
    raise NotJson(f"{text} is no JSON number")
