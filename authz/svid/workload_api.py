"""The SPIFFE Workload API, followed: its streams in; trust bundles and our own SVID, as they change, out.

Everything runs on the event loop that `start` is called on, so updates and checks never meet in two threads. Of the
`spiffe` library we take the messages and the reading of JWK sets, not its watchers: they refuse a whole update for one
bad bundle of any trust domain, end for good on an error, tell a status code as text alone, and leave their threads.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import grpc
import grpc.aio

from authz.core.errors import Unavailable
from authz.svid.bundle_store import BundleStore
from authz.svid.endpoint import grpc_target
from authz.svid.own import OwnIdentity
from authz.svid.workload_messages import (
    JwtAuthorities,
    NotReadable,
    X509Authorities,
    read_jwt,
    read_x509,
    trust_bundles,
)

_X509, _JWT = "FetchX509SVID", "FetchJWTBundles"
_METADATA = (("workload.spiffe.io", "true"),)
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 10.0
# These say that we ask for what is not there, and are not to be retried; but agents are upgraded, so we ask anew.
_NOT_RETRIED = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED})
_ASK_ANEW_SECONDS = 300.0
_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # or a new channel inherits the pauses of the one before
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.http2.max_pings_without_data", 0),  # we never send data; without this, pings would soon cease
)
# An agent that hangs is found out. Agents in Go call it abuse when pings come more often than every 5 minutes.
_PING_SECONDS, _LONGEST_PONG_SECONDS = 330.0, 20.0
_log = logging.getLogger("authz.svid")


@dataclass(slots=True)
class Stream:
    """One of the Workload API's streams, as it stands. `lost_at_ns` is CLOCK_BOOTTIME, None while it is up."""

    method: str
    lost_at_ns: int | None
    why_lost: str = "not reached yet"
    updates: int = 0
    faults: int = 0  # parts of updates that could not be used
    losses: int = 0
    failures_in_a_row: int = 0  # calls that ended before they told anything
    told_faults: tuple[str, ...] = ()  # of the last update, for the log
    updated_unix_seconds: float | None = None
    first: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Authorities:
    """How many authorities of a trust domain are in force."""

    x509: int
    jwt: int


class WorkloadApiFeed:
    """Keeps the bundle store, and our own SVID, at what the Workload API says; the last word stands while it is lost.

    Only the store's own trust domains are taken. X.509 authorities come from FetchX509SVID, JWT authorities from
    FetchJWTBundles, which is followed `with_jwt` only.
    """

    def __init__(
        self,
        endpoint: str,
        store: BundleStore,
        own: OwnIdentity,
        *,
        with_jwt: bool,
        ping_seconds: float = _PING_SECONDS,
    ) -> None:
        """`endpoint` is that of `read_endpoint`; raises NotAnEndpoint."""
        self._target, self._store, self._own = grpc_target(endpoint), store, own
        pong_seconds = min(ping_seconds, _LONGEST_PONG_SECONDS)
        pings = (("grpc.keepalive_time_ms", ping_seconds), ("grpc.http2.ping_timeout_ms", pong_seconds))
        self._options = (*_OPTIONS, *((name, int(seconds * 1000)) for name, seconds in pings))
        self._take: dict[str, Callable[[bytes], tuple[str, ...]]] = {_X509: self._take_x509}
        if with_jwt:
            self._take[_JWT] = self._take_jwt
        self._authorities: Mapping[str, X509Authorities] = {}
        self._keys: Mapping[str, JwtAuthorities] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.streams: tuple[Stream, ...] = tuple(Stream(method, _boot_ns()) for method in self._take)

    @property
    def lost_at_ns(self) -> int | None:
        """Since when (CLOCK_BOOTTIME) not every stream is up; None while all are."""
        return min((each.lost_at_ns for each in self.streams if each.lost_at_ns is not None), default=None)

    @property
    def authorities(self) -> dict[str, Authorities]:
        """What the last messages hold, for each trust domain that we want of them."""
        x509, jwt = self._authorities, self._keys
        names = sorted(self._store.workload_api_domains)
        return {each: Authorities(len(x509.get(each, ())), len(jwt.get(each, {}))) for each in names}

    def start(self) -> None:
        """Begin to follow, on the running event loop."""
        self._tasks = [
            asyncio.create_task(self._follow(each), name=f"Workload API {each.method}") for each in self.streams
        ]

    async def wait_for_first(self, timeout_seconds: float) -> None:
        """Return once every stream has told something; raises Unavailable where that takes too long, and follows on."""
        waits = (each.first.wait() for each in self.streams)
        try:
            await asyncio.wait_for(asyncio.gather(*waits), timeout_seconds)
        except TimeoutError as error:
            silent = "; ".join(f"{each.method}: {each.why_lost}" for each in self.streams if not each.first.is_set())
            raise Unavailable(f"the Workload API at {self._target} has not answered ({silent})") from error

    async def stop(self) -> None:
        """Follow no longer. Nothing of ours runs or is open behind it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _follow(self, stream: Stream) -> None:
        while True:
            updates, is_not_retried = stream.updates, False
            try:
                await self._receive(stream)
                self._lost(stream, "the agent ended the stream")
            except grpc.aio.AioRpcError as error:
                is_not_retried = error.code() in _NOT_RETRIED
                self._failed(stream, error)
            except NotReadable as error:
                self._lost(stream, str(error))
            except Exception as error:  # noqa: BLE001  a defect must not end the stream for good
                _log.exception("the Workload API's %s", stream.method)
                self._lost(stream, f"{type(error).__name__}: {error}")
            stream.failures_in_a_row = 0 if stream.updates > updates else stream.failures_in_a_row + 1
            await asyncio.sleep(_ASK_ANEW_SECONDS if is_not_retried else _pause_seconds(stream.failures_in_a_row))

    async def _receive(self, stream: Stream) -> None:
        """Take what one call tells, until it ends. Each has a channel of its own, so that no old state slows it."""
        async with grpc.aio.insecure_channel(self._target, options=self._options) as channel:
            call = channel.unary_stream(f"/SpiffeWorkloadAPI/{stream.method}")
            # The requests of both methods are messages without fields: no bytes at all.
            async for message in call(b"", metadata=_METADATA):
                faults = self._take[stream.method](message)
                self._up(stream, faults)
                self._store.put_workload_api(trust_bundles(self._authorities, self._keys), lost_at_ns=self.lost_at_ns)
                stream.first.set()

    def _take_x509(self, message: bytes) -> tuple[str, ...]:
        told = read_x509(message, self._store.workload_api_domains)
        self._authorities = told.authorities
        if told.svid_is_withdrawn:
            self._own.withdraw()
        elif told.svid is not None:
            self._own.replace(told.svid)
        return told.faults

    def _take_jwt(self, message: bytes) -> tuple[str, ...]:
        told = read_jwt(message, self._store.workload_api_domains)
        self._keys = told.authorities
        return told.faults

    def _up(self, stream: Stream, faults: tuple[str, ...]) -> None:
        if stream.lost_at_ns is not None:
            _log.info("the Workload API's %s is up", stream.method)
        stream.lost_at_ns, stream.why_lost = None, ""
        stream.updates += 1
        stream.faults += len(faults)
        stream.updated_unix_seconds = time.time()
        if faults and faults != stream.told_faults:
            _log.error("the Workload API's %s: left out of the update: %s", stream.method, "; ".join(faults))
        stream.told_faults = faults

    def _failed(self, stream: Stream, error: grpc.aio.AioRpcError) -> None:
        code, what = error.code(), f"{error.code().name}: {error.details() or ''}"
        if stream.method == _JWT and code is grpc.StatusCode.UNIMPLEMENTED:
            # An answer, not a loss: this agent has no JWT authorities. No token counts, and certificates go on.
            if not stream.first.is_set() or self._keys:
                _log.error("the Workload API has no JWT bundles (%s), so no token counts", what)
            self._keys, stream.lost_at_ns, stream.why_lost = {}, None, ""
            self._store.put_workload_api(trust_bundles(self._authorities, {}), lost_at_ns=self.lost_at_ns)
            stream.first.set()
        else:
            self._lost(stream, what)

    def _lost(self, stream: Stream, why: str) -> None:
        if stream.lost_at_ns is None:
            stream.lost_at_ns = _boot_ns()
            stream.losses += 1
            self._store.workload_api_lost(stream.lost_at_ns)
        if why != stream.why_lost:
            _log.warning("the Workload API's %s at %s is lost: %s", stream.method, self._target, why)
        stream.why_lost = why


def _pause_seconds(failures: int) -> float:
    """Exponential, with jitter so that the workloads of a node do not all come back in one instant."""
    most = min(_FIRST_PAUSE_SECONDS * 2.0 ** min(failures, 10), _LONGEST_PAUSE_SECONDS)
    return most * random.uniform(0.5, 1.0)  # noqa: S311  no secret


def _boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
