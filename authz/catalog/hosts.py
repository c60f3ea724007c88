"""The strict reading of a host: one DNS name, without its port."""

import re

from authz.core.errors import Refused
from authz.core.reasons import Reason

MAX_HOST_CHARACTERS = 253  # RFC 1035, section 2.3.4, without the root's dot

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*+")
_PORT = re.compile(r":[0-9]{1,5}\Z")


def read_host(host_and_port: str) -> str:
    """The host in lower case, without its port; raises Refused unless it is one name in its strict form."""
    host = _PORT.sub("", host_and_port, count=1) if ":" in host_and_port else host_and_port
    if len(host) > MAX_HOST_CHARACTERS or not _HOST.fullmatch(host):
        raise Refused(Reason.HOST_AMBIGUOUS, f"{host_and_port[:200]!r} is not one host name, with a port or without")
    return host.lower()
