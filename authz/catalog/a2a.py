"""A2A 1.0 and 0.3, over JSON-RPC and REST: a request in, the one method out, by the name that 1.0 gives it.

A message that also sets up push notifications asks the agent to call a URL of the caller's: that is a method of its
own here, `SendMessageWithPush`, which is denied unless the catalog gives it an entry. Ids of tasks and contexts are the
peer's handles and say nothing about our tasks.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from authz.catalog.bodies import json_body
from authz.catalog.entry import Entry
from authz.catalog.jsonrpc import read_message
from authz.catalog.strict_json import Known
from authz.core.errors import Refused
from authz.core.hop import Hop
from authz.core.reasons import Reason
from authz.core.request import Request

WITH_PUSH = "SendMessageWithPush"

METHODS = frozenset(
    {
        *("SendMessage", "SendStreamingMessage", WITH_PUSH, "GetTask", "ListTasks", "CancelTask", "SubscribeToTask"),
        *("CreateTaskPushNotificationConfig", "GetTaskPushNotificationConfig", "ListTaskPushNotificationConfigs"),
        *("DeleteTaskPushNotificationConfig", "GetExtendedAgentCard"),
    }
)
"""The names that entries can have."""
SENDS = frozenset({"SendMessage", "SendStreamingMessage"})

_BY_OLD_NAME = {
    "message/send": "SendMessage",
    "message/stream": "SendStreamingMessage",
    "tasks/get": "GetTask",
    "tasks/list": "ListTasks",
    "tasks/cancel": "CancelTask",
    "tasks/resubscribe": "SubscribeToTask",
    "tasks/pushNotificationConfig/set": "CreateTaskPushNotificationConfig",
    "tasks/pushNotificationConfig/get": "GetTaskPushNotificationConfig",
    "tasks/pushNotificationConfig/list": "ListTaskPushNotificationConfigs",
    "tasks/pushNotificationConfig/delete": "DeleteTaskPushNotificationConfig",
    "agent/getAuthenticatedExtendedCard": "GetExtendedAgentCard",
}
_PARAMS = Known("message", "configuration", "metadata", "tenant", "id")

# By HTTP method and the end of the path; `{task}` holds the verb too, as in `/tasks/42:cancel`.
REST: Mapping[tuple[str, str], str] = {
    ("POST", "/message:send"): "SendMessage",
    ("POST", "/message:stream"): "SendStreamingMessage",
    ("GET", "/tasks"): "ListTasks",
    ("GET", "/tasks/{a2a_task}"): "GetTask",
    ("POST", "/tasks/{a2a_task}"): "",  # nothing but a verb says what it is
    ("POST", "/tasks/{a2a_task}/pushNotificationConfigs"): "CreateTaskPushNotificationConfig",
    ("GET", "/tasks/{a2a_task}/pushNotificationConfigs"): "ListTaskPushNotificationConfigs",
    ("GET", "/tasks/{a2a_task}/pushNotificationConfigs/{a2a_config}"): "GetTaskPushNotificationConfig",
    ("DELETE", "/tasks/{a2a_task}/pushNotificationConfigs/{a2a_config}"): "DeleteTaskPushNotificationConfig",
    ("GET", "/extendedAgentCard"): "GetExtendedAgentCard",
    ("GET", "/card"): "GetExtendedAgentCard",  # its name in 0.3
}
_TASK = "a2a_task"
_BY_VERB = {
    ("POST", "cancel"): "CancelTask",
    ("POST", "subscribe"): "SubscribeToTask",
    ("GET", "subscribe"): "SubscribeToTask",
}
_VERSION = re.compile(r"(?:0\.3|1\.0)(?:\.[0-9]{1,4})?|")


@dataclass(frozen=True, slots=True)
class A2aEndpoint:
    """An agent's JSON-RPC path."""

    resource: str
    methods: Mapping[str, Entry]
    reads_more_than_target: ClassVar[bool] = True

    def read(self, request: Request, parameters: Mapping[str, str]) -> Hop:
        """The hop that the message is; raises Refused."""
        _must_be_of_a_known_version(request)
        message = read_message(request)
        method = _BY_OLD_NAME.get(message.method, message.method)
        return _hop(self.methods, method, parameters, message.params)


@dataclass(frozen=True, slots=True)
class A2aRestRoute:
    """One of an agent's REST routes; `method` is empty where the verb behind the task's id says all."""

    resource: str
    methods: Mapping[str, Entry]
    method: str
    reads_more_than_target: ClassVar[bool] = True

    def read(self, request: Request, parameters: Mapping[str, str]) -> Hop:
        """The hop that the request is; raises Refused."""
        _must_be_of_a_known_version(request)
        method = self.method
        task, colon, verb = parameters.get(_TASK, "").partition(":")
        if colon:
            if not self.resource.endswith("{" + _TASK + "}"):
                raise Refused(Reason.MESSAGE_AMBIGUOUS, "a task's id with a colon in the middle of the path")
            method = _BY_VERB.get((request.method, verb), "")
            parameters = {**parameters, _TASK: task}
        given: dict[str, Any] = {"path": parameters} if parameters else {}
        if request.query:
            given["query_text"] = request.query
        if request.method == "POST" and (method in SENDS or request.body.content):
            body = json_body(request)
            if not isinstance(body, dict):
                raise Refused(Reason.MESSAGE_MALFORMED, "the body is not an object")
            given = {**body, **given} if method in SENDS else {**given, "body": body}
        return _hop(self.methods, method, parameters, given)


def _hop(methods: Mapping[str, Entry], method: str, parameters: Mapping[str, str], given: Mapping[str, Any]) -> Hop:
    _PARAMS.must_not_be_shadowed(given)
    if method in SENDS and _has_push(given):
        method = WITH_PUSH
    entry = methods.get(method)
    if entry is None:
        raise Refused(Reason.ACTION_UNKNOWN, f"no such entry: A2A {method[:200] or 'without a known verb'}")
    message = given.get("message")
    if method in SENDS or method == WITH_PUSH:
        if not isinstance(message, dict):
            raise Refused(Reason.MESSAGE_MALFORMED, "there is no message")
        # The id is new in every retry of the same message, and means nothing: approvals could never match it.
        given = {**given, "message": {name: value for name, value in message.items() if name != "messageId"}}
    return entry.hop(parameters, given)


def _has_push(given: Mapping[str, Any]) -> bool:
    """Whether the message sets up push notifications. Protobuf's JSON has two spellings for each name."""
    configuration = given.get("configuration")
    if configuration is None:
        return False
    if not isinstance(configuration, dict):
        raise Refused(Reason.MESSAGE_MALFORMED, "the configuration is not an object")
    return any(
        "pushnotification" in name.replace("_", "").casefold() and value is not None
        for name, value in configuration.items()
    )


def _must_be_of_a_known_version(request: Request) -> None:
    values = request.headers.get("a2a-version", ("",))
    if len(values) != 1 or not _VERSION.fullmatch(values[0]):
        raise Refused(Reason.PROTOCOL_VERSION, f"a2a-version {values!r:.200}")
