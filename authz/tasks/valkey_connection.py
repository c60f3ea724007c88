"""How to reach the primary: in go the operator's settings, out come clients of the server that may be written to.

Retries are not the client's: each use has a time budget of its own, and whoever runs out of it says so.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster, SSLConnection
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from authz.core.errors import Place, Problem, Unavailable, Unusable

MIN_VERSION = (7, 0)
MAX_CONNECTIONS = 16
_BEAT_KEPT_MS = 60_000

Kind = Literal["single", "sentinel", "cluster"]


@dataclass(frozen=True, slots=True)
class Access:
    """With what we prove ourselves, and by what we know the servers."""

    user: str | None = None
    password_file: Path | None = None
    authorities_file: Path | None = None  # given: TLS
    certificate_file: Path | None = None
    private_key_file: Path | None = None

    def options(self) -> Mapping[str, Any]:
        """What clients take. The password is read anew each time, so that it may be changed; raises Unusable."""
        found: dict[str, Any] = {"username": self.user}
        if self.password_file is not None:
            found["password"] = _read(self.password_file).strip()
        if self.authorities_file is not None:
            found |= {
                "ssl": True,
                "ssl_cert_reqs": ssl.CERT_REQUIRED,
                "ssl_check_hostname": True,
                "ssl_min_version": ssl.TLSVersion.TLSv1_2,
                "ssl_ca_data": _read(self.authorities_file),
            }
            for option, file in (("ssl_certfile", self.certificate_file), ("ssl_keyfile", self.private_key_file)):
                if file is not None:
                    _read(file)
                    found[option] = str(file)
        return found


@dataclass(frozen=True, slots=True)
class Servers:
    """Where they are, and of what kind: one primary, Sentinels that know it, or nodes of a cluster."""

    addresses: tuple[tuple[str, int], ...]
    kind: Kind = "single"
    sentinel_name: str = ""  # of the primary, among those that the Sentinels watch
    database: int = 0
    access: Access = field(default_factory=Access)
    timeout_seconds: float = 1.0  # of one use


@dataclass(frozen=True, slots=True)
class Proof:
    """That a server is the primary which so many of those who could be promoted follow: they know of a write to it."""

    min_replicas: int
    beat: str  # the key that is written
    wait_ms: int

    def ask_in(self, pipe: Pipeline) -> None:
        """Have the pipeline's last reply tell how many follow. WAIT is about the writes of its own connection."""
        pipe.set(self.beat, b"", px=_BEAT_KEPT_MS)
        pipe.wait(self.min_replicas, self.wait_ms)


class PrimaryReach:
    """Finds the primary as the settings say."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    async def client(self, key: str, connections: int) -> Redis:
        """A client of the primary that keeps this key, with so many connections; raises Unavailable or Unusable."""
        servers = self._servers
        options: dict[str, Any] = {
            "db": servers.database,
            "socket_timeout": servers.timeout_seconds,
            "socket_connect_timeout": servers.timeout_seconds,
            "retry": Retry(NoBackoff(), 0),
            **servers.access.options(),
        }
        try:
            host, port = await self._address(key, options)
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(f"no primary of the task store is known: {_told(error)}") from error
        if options.pop("ssl", False):
            options["connection_class"] = SSLConnection
        pool = BlockingConnectionPool(
            host=host, port=port, max_connections=connections, timeout=servers.timeout_seconds, **options
        )
        return Redis.from_pool(pool)

    async def _address(self, key: str, options: Mapping[str, Any]) -> tuple[str, int]:
        servers = self._servers
        if servers.kind == "sentinel":
            of_sentinel = {name: value for name, value in options.items() if name != "db"}
            sentinel = Sentinel(list(servers.addresses), sentinel_kwargs=of_sentinel)  # type: ignore[no-untyped-call]  # the library's
            try:
                host, port = await sentinel.discover_master(servers.sentinel_name)
            finally:
                for each in sentinel.sentinels:
                    await each.aclose()
            return str(host), int(port)
        if servers.kind == "cluster":
            of_cluster = {name: value for name, value in options.items() if name != "db"}
            (host, port), *_ = servers.addresses
            async with RedisCluster(host=host, port=port, **of_cluster) as cluster:
                node = cluster.get_node_from_key(key)
                if node is None:
                    raise Unavailable("the cluster has no node for the tasks' slot")
                return str(node.host), int(node.port)
        return servers.addresses[0]


async def must_serve(client: Redis, servers: str) -> tuple[str, str]:
    """The server is a primary, of a version that we know, and never drops what it was told to keep.

    Returns what tells one life of a server, and one line of its history, from another. Raises Unusable, RedisError or
    OSError.
    """
    role = await client.execute_command("ROLE")  # type: ignore[no-untyped-call]  # the library's
    if role[0] != b"master":
        raise RedisError(f"{servers} is a {role[0].decode()}, not the primary")
    about = await client.info()
    version = str(about.get("valkey_version") or about.get("redis_version", "0"))
    if tuple(map(int, version.split(".")[:2])) < MIN_VERSION:
        raise _unusable(servers, f"the server's version is {version}", "Run Valkey, or Redis 7.0 or later.")
    policy = about.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        what = f"the server's maxmemory-policy is {policy}: when it is full it would drop what it was told to keep"
        raise _unusable(servers, what, "Set maxmemory-policy to noeviction.")
    return str(about.get("run_id", "")), str(about.get("master_replid", ""))


def _unusable(servers: str, what: str, remedy: str) -> Unusable:
    return Unusable(Problem(Place(Path(servers)), what, remedy))


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        what = f"cannot be read: {getattr(error, 'strerror', None) or error}"
        raise Unusable(Problem(Place(file), what, "Name a file that this user may read.")) from error


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
