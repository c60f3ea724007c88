"""The task service as gRPC takes it: each method with its messages, who calls, and failures told as statuses."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, NoReturn

import grpc
import grpc.aio

from authz.api.failures import DETAILS_KEY, Failed, details_of
from authz.api.messages import NotADemand
from authz.api.methods import (
    APPROVE,
    DELEGATE,
    DENY,
    END,
    GET,
    GET_KEYS,
    ISSUE_TOKEN,
    LIST,
    RESUME,
    SERVICE,
    START,
    SUSPEND,
    WATCH,
    Method,
    serialize,
)
from authz.core.record import Arrival
from authz.server.aio import peer_of
from authz.server.checks import arrive
from authz.server.task_service import TaskService

Handle = Callable[[Any, Arrival], Awaitable[Any]]
"""A message and how it came in, the message that answers it out; raises Failed or NotADemand."""


def unary_methods(service: TaskService) -> Sequence[tuple[Method, Handle]]:
    """The methods that answer once."""
    return (
        (START, service.start),
        (DELEGATE, service.delegate),
        (ISSUE_TOKEN, service.issue_token),
        (GET, service.get),
        (LIST, service.list),
        (END, service.end),
        (SUSPEND, service.suspend),
        (RESUME, service.resume),
        (APPROVE, service.approve),
        (DENY, service.deny),
        (GET_KEYS, service.get_keys),
    )


def task_handlers(service: TaskService) -> grpc.GenericRpcHandler:
    """The service's methods, as a server takes them."""
    handlers = {
        method.name: grpc.unary_unary_rpc_method_handler(_telling(handle), method.read_request, serialize)
        for method, handle in unary_methods(service)
    }
    handlers[WATCH.name] = grpc.unary_stream_rpc_method_handler(_streaming(service), WATCH.read_request, serialize)
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


def malformed(error: NotADemand) -> Failed:
    """The failure that a field is which does not hold what it should."""
    return Failed(grpc.StatusCode.INVALID_ARGUMENT, "request_malformed", str(error), field=error.field)


def _telling(handle: Handle) -> Callable[[Any, Any], Awaitable[Any]]:
    async def told(request: Any, context: Any) -> Any:  # noqa: ANN401  any message, grpc's own context
        try:
            return await handle(request, _arrival(context))
        except NotADemand as error:
            await _fail(context, malformed(error))
        except Failed as failed:
            await _fail(context, failed)

    return told


def _streaming(service: TaskService) -> Callable[[Any, Any], AsyncIterator[Any]]:
    async def told(request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: ANN401  as above
        try:
            async for message in service.watch(request, _arrival(context)):
                yield message
        except Failed as failed:
            await _fail(context, failed)

    return told


def _arrival(context: Any) -> Arrival:  # noqa: ANN401  as above
    return arrive(context.invocation_metadata() or (), peer_of(context))


async def _fail(context: Any, failed: Failed) -> NoReturn:  # noqa: ANN401  as above
    context.set_trailing_metadata(((DETAILS_KEY, details_of(failed)),))
    await context.abort(failed.code, failed.message)
    raise AssertionError  # abort raises
