"""Tokens of strangers in JWS compact form (RFC 7515, section 7.1): a text in, its header and claims out, unverified.

The form is asked here, because JOSE libraries read some base64 and JSON that is not canonical. Signatures are theirs.
"""

import base64
import math
import re
from typing import Any

from authz.strict_json import read_json_object

MAX_TOKEN_CHARACTERS = 8192
"""Tokens have some hundred characters, with the longest RSA signatures in use about two thousand."""

_COMPACT = re.compile(r"([A-Za-z0-9_-]++)\.([A-Za-z0-9_-]++)\.([A-Za-z0-9_-]++)")


class NotAToken(ValueError):
    """The text is not a JWT in compact form that all readers read alike; the message says why."""


def read_compact(
    unverified_token: str, max_characters: int = MAX_TOKEN_CHARACTERS
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims; raises NotAToken."""
    if len(unverified_token) > max_characters:
        raise NotAToken(f"longer than {max_characters} characters")
    parts = _COMPACT.fullmatch(unverified_token)
    if parts is None:
        raise NotAToken("not three parts of base64url")
    try:
        header, claims, _ = map(_decoded, parts.groups())
        return read_json_object(header), read_json_object(claims)
    except ValueError as error:
        raise NotAToken(str(error)) from error


def read_moment(claims: dict[str, Any], name: str) -> float:
    """A NumericDate (RFC 7519, section 2) in Unix seconds; raises NotAToken, and KeyError where there is none."""
    value = claims[name]
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            moment = float(value)
        except OverflowError:
            moment = math.inf
        if math.isfinite(moment):
            return moment
    raise NotAToken(f"{name} is no time")


def _decoded(part: str) -> bytes:
    """RFC 7515 section 2: without padding, and with no bit set that base64 does not use; raises ValueError."""
    content = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if base64.urlsafe_b64encode(content).rstrip(b"=") != part.encode():
        raise ValueError("base64url that is not canonical")
    return content
