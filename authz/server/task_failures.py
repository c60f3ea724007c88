"""How calls of the task service fail: a gRPC status, with a google.rpc.ErrorInfo that programs can act on."""

from typing import NoReturn, TypeAlias

import grpc
import grpc.aio
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from authz.core.reasons import Reason
from authz.core.record import Arrival

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"

_DOMAIN = "authz"
_STATUS_OF_HTTP = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}


class Failed(Exception):
    """A call fails: its status, a stable word for programs, and a sentence for people."""

    def __init__(self, code: grpc.StatusCode, reason: str, message: str, **facts: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.facts = facts


def refusal(reason: Reason, arrival: Arrival) -> Failed:
    """The failure that a denial is. Its detail stays in the audit record, under the decision's id."""
    code = _STATUS_OF_HTTP[reason.http_status]
    return Failed(code, reason.id, reason.meaning, decision_id=arrival.decision_id)


async def fail(context: Context, error: Failed) -> NoReturn:
    """End the call with a status that tells programs and people what to do."""
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=_DOMAIN, metadata=error.facts)
    detail = any_pb2.Any()
    detail.Pack(info)
    status = status_pb2.Status(code=error.code.value[0], message=error.message, details=[detail])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    await context.abort(error.code, error.message)
    raise AssertionError  # abort raises
