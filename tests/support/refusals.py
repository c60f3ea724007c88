"""How a check ended: with a value, or refused for a reason. Any other exception is a failure of the test."""

from collections.abc import Callable
from typing import TypeVar

from authz.core.errors import Refused
from authz.core.reasons import Reason

_T = TypeVar("_T")


def outcome(check: Callable[[], _T]) -> _T | Reason:
    """What the check returns, or the reason for which it refuses."""
    try:
        return check()
    except Refused as refused:
        return refused.reason
