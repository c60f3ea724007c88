"""Which transport serves checks: the installed grpcio and the wish of the configuration in, a lane or a refusal out.

The fast lane stands on what grpcio does not promise, and a mistake there is a crash that nothing catches. So it is the
version that decides, at the start, and never an attempt.
"""

import re
import sys
from typing import Literal, NamedTuple

import grpc

Lane = Literal["fast", "portable"]

TESTED_FROM, TESTED_BELOW = (1, 84), (1, 86)
"""The minor versions of grpcio with which the tests ran. A new one goes through them before it stands here."""
_RELEASE = re.compile(r"(\d{1,4})\.(\d{1,4})\.\d{1,4}")


class Platform(NamedTuple):
    """Of what the fast lane depends on."""

    grpcio: str
    system: str
    has_gil: bool


class NotTested(ValueError):
    """The fast lane was wished for where it was never tested; the message says why not."""


def this_platform() -> Platform:
    """Where we run."""
    is_gil_enabled = getattr(sys, "_is_gil_enabled", lambda: True)  # there since Python 3.13
    return Platform(grpc.__version__, sys.platform, is_gil_enabled())


def choose(wish: Literal["auto", "fast", "portable"], platform: Platform) -> tuple[Lane, str]:
    """The lane, and why it is that one; raises NotTested."""
    if wish == "portable":
        return "portable", "as configured"
    why_not = _why_not(platform)
    if not why_not:
        return "fast", f"grpcio {platform.grpcio} is tested"
    if wish == "fast":
        raise NotTested(why_not)
    return "portable", why_not


def _why_not(platform: Platform) -> str:
    release = _RELEASE.fullmatch(platform.grpcio)
    minor = (int(release[1]), int(release[2])) if release else None
    if minor is None or not TESTED_FROM <= minor < TESTED_BELOW:
        tested = f"{TESTED_FROM[0]}.{TESTED_FROM[1]} to {TESTED_BELOW[0]}.{TESTED_BELOW[1] - 1}"
        return f"grpcio {platform.grpcio} is not tested; {tested} are"
    if platform.system != "linux":
        return f"{platform.system} is not tested; linux is"
    return "" if platform.has_gil else "Python without its global lock is not tested"
