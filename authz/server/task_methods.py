"""The task service as gRPC takes it: each method with its messages, and failures told as statuses."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

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
from authz.server.task_failures import Context, Failed, fail
from authz.server.task_service import TaskService


def task_handlers(service: TaskService) -> grpc.GenericRpcHandler:
    """The service's methods, as a server takes them."""
    unary: list[tuple[Method, Callable[[Any, Context], Awaitable[Any]]]] = [
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
    ]
    handlers = {
        method.name: grpc.unary_unary_rpc_method_handler(_telling(handle), method.read_request, serialize)
        for method, handle in unary
    }
    handlers[WATCH.name] = grpc.unary_stream_rpc_method_handler(_streaming(service), WATCH.read_request, serialize)
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


def _telling(handle: Callable[[Any, Context], Awaitable[Any]]) -> Callable[[Any, Context], Awaitable[Any]]:
    async def told(request: Any, context: Context) -> Any:  # noqa: ANN401  any message
        try:
            return await handle(request, context)
        except NotADemand as error:
            await fail(context, _malformed(error))
        except Failed as error:
            await fail(context, error)

    return told


def _streaming(service: TaskService) -> Callable[[Any, Context], AsyncIterator[Any]]:
    async def told(request: Any, context: Context) -> AsyncIterator[Any]:  # noqa: ANN401  any message
        try:
            async for message in service.watch(request, context):
                yield message
        except NotADemand as error:
            await fail(context, _malformed(error))
        except Failed as error:
            await fail(context, error)

    return told


def _malformed(error: NotADemand) -> Failed:
    return Failed(grpc.StatusCode.INVALID_ARGUMENT, "request_malformed", str(error), field=error.field)
