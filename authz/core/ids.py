"""Ids: of things, from a clock and randomness that the caller brings; and of hops, from what Envoy said of them."""

import hashlib

_VERSION = 7 << 76
_VARIANT = 0b10 << 62
_RANDOM_A_MASK = (1 << 12) - 1
_RANDOM_B_MASK = (1 << 62) - 1


def uuid7(unix_seconds: float, randomness: bytes) -> str:
    """An id that sorts by time (UUID version 7: RFC 9562, section 5.7); `randomness` is at least ten bytes."""
    noise = int.from_bytes(randomness[:10], "big")
    milliseconds = int(unix_seconds * 1000) << 80
    digits = (
        f"{milliseconds | _VERSION | (noise >> 62 & _RANDOM_A_MASK) << 64 | _VARIANT | noise & _RANDOM_B_MASK:032x}"
    )
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def hop_key(message: bytes) -> str:
    """What tells one hop from another: the digest of its CheckRequest.

    Envoy repeats a check byte for byte. It writes the request's start and stream into it, so no client can make two
    hops look like one.
    """
    return hashlib.sha256(message).hexdigest()
