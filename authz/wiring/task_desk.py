"""Where commands bring their demands: to a task service over mTLS, or to the embedded store itself.

Both take the service's own messages, so a command does not know which one answers.
"""

import getpass
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import grpc
import grpc.aio

from authz.api.failures import DETAILS_KEY, Failed, read_failure
from authz.api.messages import NotADemand
from authz.api.methods import WATCH, Method, serialize
from authz.config import Settings, load_settings
from authz.core.decision import Verdict
from authz.core.errors import Place, Problem, Unusable
from authz.core.identity import Identity, Proof
from authz.core.memory import Memory
from authz.core.query import Query
from authz.core.record import Arrival, Record
from authz.core.spiffe import SpiffeId
from authz.lifecycle import Lifecycle, Limits, OperatorRules
from authz.server.checks import arrive
from authz.server.task_methods import malformed, unary_methods
from authz.server.task_service import TaskService
from authz.tasks.token import TokenIssuer
from authz.wiring.knowledge import read_catalog, token_keys, token_terms
from authz.wiring.stores import TaskStore, open_store
from authz.wiring.tasks import classes_of

CALL_SECONDS = 10.0
_DAY_SECONDS = 86400.0
_OPERATOR = SpiffeId.parse("spiffe://operator.invalid/local")


class Desk(Protocol):
    """Takes demands."""

    async def call(self, method: Method, request: Any) -> Any:  # noqa: ANN401  the method's messages
        """The response; raises Failed."""
        ...

    def watch(self, request: Any) -> AsyncIterator[Any]:  # noqa: ANN401  as above
        """Responses until the caller has enough; raises Failed."""
        ...


@dataclass(frozen=True, slots=True)
class Credentials:
    """With what a command proves itself to a service, and by what it knows it."""

    certificate_file: Path
    private_key_file: Path
    authorities_file: Path
    server_name: str | None = None  # a DNS name in the server's SVID, where the address is none


class RemoteDesk:
    """A task service, over mTLS."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def call(self, method: Method, request: Any) -> Any:  # noqa: ANN401  as the protocol
        """The service's response."""
        try:
            return await self._channel.unary_unary(method.path, serialize, method.read_response)(
                request, timeout=CALL_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            raise _failure(error) from error

    async def watch(self, request: Any) -> AsyncIterator[Any]:  # noqa: ANN401  as the protocol
        """The service's responses."""
        try:
            async for message in self._channel.unary_stream(WATCH.path, serialize, WATCH.read_response)(request):
                yield message
        except grpc.aio.AioRpcError as error:
            raise _failure(error) from error


class LocalDesk:
    """The embedded store. Whoever may write its file may do all that its rules allow, so no policy is asked."""

    def __init__(self, service: TaskService) -> None:
        self._service = service
        self._methods = {method.name: handle for method, handle in unary_methods(service)}

    async def call(self, method: Method, request: Any) -> Any:  # noqa: ANN401  as the protocol
        """The response, from this very process."""
        try:
            return await self._methods[method.name](request, arrive(()))
        except NotADemand as error:
            raise malformed(error) from error

    def watch(self, request: Any) -> AsyncIterator[Any]:  # noqa: ANN401  as the protocol
        """Responses, from this very process."""
        return self._service.watch(request, arrive(()))


@asynccontextmanager
async def open_desk(config_file: Path, address: str | None, credentials: Credentials | None) -> AsyncIterator[Desk]:
    """The task service at the address, or else the store that the configuration names; raises Unusable."""
    if address is not None:
        async with _channel(address, credentials) as channel:
            yield RemoteDesk(channel)
        return
    settings = load_settings(config_file)
    async with open_store(settings.tasks, Memory(1)) as store:
        yield LocalDesk(_operator_service(settings, store))


def _operator_service(settings: Settings, store: TaskStore) -> TaskService:
    limits = Limits(_DAY_SECONDS * 31, 7, _DAY_SECONDS)
    if (service := settings.tasks.service) is not None:
        limits = Limits(service.max_lifetime_seconds, service.max_depth, service.max_approval_seconds)
    lifecycle = Lifecycle(policy=_NoPolicy(), classes_of=classes_of(read_catalog(settings).operations), limits=limits)
    keys, token = token_keys(settings.tasks), settings.tasks.token
    return TaskService(
        rules=OperatorRules(lifecycle, f"operator:{getpass.getuser()}"),
        caller=_Operator(),
        keeper=store,
        reader=store,
        news=store,
        audit=_NoAudit(),
        issuer=TokenIssuer(keys, token_terms(token)) if token is not None and keys is not None else None,
    )


class _Operator:
    def prove(self, arrival: Arrival) -> Identity:  # noqa: ARG002  the file's permissions have decided
        return Identity(_OPERATOR, Proof.CERTIFICATE, float("inf"))


class _NoPolicy:
    def decide(self, query: Query) -> Verdict:  # noqa: ARG002  nothing is permitted: it is never asked
        return Verdict(frozenset(), frozenset(), (), "")


class _NoAudit:
    def append(self, record: Record, duration_seconds: float) -> None:
        """The log is the server's, which may be on another machine."""


def _channel(address: str, credentials: Credentials | None) -> grpc.aio.Channel:
    if credentials is None:
        remedy = "Give --certificate, --key and --bundle: the service proves its callers."
        raise Unusable(Problem(Place(Path(address)), "no credentials for the task service", remedy))
    files = (credentials.authorities_file, credentials.private_key_file, credentials.certificate_file)
    try:
        roots, key, chain = (file.read_bytes() for file in files)
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise Unusable(Problem(Place(Path(str(error.filename))), what, "Name a PEM file.")) from error
    options = [("grpc.ssl_target_name_override", credentials.server_name)] if credentials.server_name else []
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(roots, key, chain), options)


def _failure(error: grpc.aio.AioRpcError) -> Failed:
    metadata = dict(error.trailing_metadata() or ())
    details = metadata.get(DETAILS_KEY, b"")
    return read_failure(error.code(), error.details() or "", details if isinstance(details, bytes) else b"")
