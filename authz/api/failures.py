"""How calls of the task service fail: a gRPC status, with a google.rpc.ErrorInfo that programs can act on."""

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from authz.core.reasons import Reason
from authz.core.record import Arrival

DETAILS_KEY = "grpc-status-details-bin"
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


def details_of(failed: Failed) -> bytes:
    """The failure's google.rpc.Status, as it stands in the trailing metadata."""
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason=failed.reason, domain=_DOMAIN, metadata=failed.facts))
    return bytes(
        status_pb2.Status(code=failed.code.value[0], message=failed.message, details=[detail]).SerializeToString()
    )


def read_failure(code: grpc.StatusCode, message: str, details: bytes) -> Failed:
    """The failure that a server told; one that told no details is named by its status."""
    info = error_details_pb2.ErrorInfo()
    for detail in status_pb2.Status.FromString(details).details:
        if detail.Unpack(info):
            return Failed(code, info.reason, message, **dict(info.metadata))
    return Failed(code, code.name.lower(), message)
