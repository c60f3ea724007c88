"""The digest of arguments: equal for equal arguments, however they were written.

It is the SHA-256 of their canonical JSON (RFC 8785). Python's own encoder, in C, writes that very text but for names
that are not ASCII, which it may sort otherwise, and numbers so small that they have an exponent; for those the library
is asked, which takes many times as long. A test holds the two against each other.
"""

import hashlib
import json
from typing import Any

import rfc8785

_ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False, sort_keys=True, separators=(",", ":"))


def canonical(value: Any) -> bytes:  # noqa: ANN401  any JSON
    """The canonical JSON of a value from `read_json`."""
    text = _ENCODER.encode(value)
    if text.isascii() and "e-" not in text:
        return text.encode("ascii")
    return rfc8785.dumps(value)


def digest(value: Any) -> str:  # noqa: ANN401  any JSON
    """The SHA-256, in hex, of the canonical JSON of a value from `read_json`."""
    return hashlib.sha256(canonical(value)).hexdigest()
