"""The methods of the task service: their names, and their messages as bytes and back, for clients and servers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from authz.api.pb.authz.tasks.v1 import tasks_pb2 as pb

SERVICE = "authz.tasks.v1.Tasks"


@dataclass(frozen=True, slots=True)
class Method:
    """One method: a name, and the types of its messages."""

    name: str
    request: type[Message]
    response: type[Message]

    @property
    def path(self) -> str:
        """How gRPC names it."""
        return f"/{SERVICE}/{self.name}"

    @property
    def read_request(self) -> Callable[[bytes], Any]:
        """Bytes in, the request's message out."""
        return self.request.FromString

    @property
    def read_response(self) -> Callable[[bytes], Any]:
        """Bytes in, the response's message out."""
        return self.response.FromString


START = Method("Start", pb.StartRequest, pb.StartResponse)
DELEGATE = Method("Delegate", pb.DelegateRequest, pb.StartResponse)
ISSUE_TOKEN = Method("IssueToken", pb.IssueTokenRequest, pb.IssueTokenResponse)
GET = Method("Get", pb.GetRequest, pb.GetResponse)
LIST = Method("List", pb.ListRequest, pb.ListResponse)
WATCH = Method("Watch", pb.WatchRequest, pb.WatchResponse)
END = Method("End", pb.EndRequest, pb.EndResponse)
SUSPEND = Method("Suspend", pb.SuspendRequest, pb.SuspendResponse)
RESUME = Method("Resume", pb.ResumeRequest, pb.ResumeResponse)
APPROVE = Method("Approve", pb.ApproveRequest, pb.ApproveResponse)
DENY = Method("Deny", pb.DenyRequest, pb.DenyResponse)
GET_KEYS = Method("GetKeys", pb.GetKeysRequest, pb.GetKeysResponse)


def serialize(message: Message) -> bytes:
    """A message as bytes."""
    return message.SerializeToString()
