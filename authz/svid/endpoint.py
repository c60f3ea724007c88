"""Where the Workload API is: a SPIFFE endpoint in, gRPC's name for it out (SPIFFE Workload Endpoint, section 4)."""

import ipaddress
import os

SOCKET_VARIABLE = "SPIFFE_ENDPOINT_SOCKET"
_UNIX_PREFIX, _TCP_PREFIX = "unix:", "tcp://"


class NotAnEndpoint(ValueError):
    """The text is not the address of a Workload API; the message says what one looks like."""


def read_endpoint(configured: str | None) -> str:
    """The endpoint to follow: the configured one, else the environment's; raises NotAnEndpoint."""
    endpoint = configured or os.environ.get(SOCKET_VARIABLE, "")
    if not endpoint:
        raise NotAnEndpoint(f"no socket of the Workload API is configured, and {SOCKET_VARIABLE} is not set")
    grpc_target(endpoint)
    return endpoint


def grpc_target(endpoint: str) -> str:
    """The endpoint `unix:///path` or `tcp://IP:PORT` in gRPC's words; raises NotAnEndpoint."""
    if endpoint.startswith(_UNIX_PREFIX):
        path = endpoint.removeprefix(_UNIX_PREFIX)
        path = path.removeprefix("//") if path.startswith("///") else path
        if path.startswith("/") and not path.startswith("//") and not {"?", "#", "%"} & set(path):
            return f"{_UNIX_PREFIX}{path}"
    elif endpoint.startswith(_TCP_PREFIX):
        host, _, port = endpoint.removeprefix(_TCP_PREFIX).rpartition(":")
        bare = host.removeprefix("[").removesuffix("]")
        if port.isascii() and port.isdigit() and _is_ip(bare):
            return f"ipv6:[{bare}]:{port}" if ":" in bare else f"ipv4:{bare}:{port}"
    raise NotAnEndpoint(f"{endpoint!r:.200}: write unix:///absolute/path or tcp://IP:PORT")


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
