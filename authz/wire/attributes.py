"""The attributes of a check in, as JSON out: in the words and types that opa-envoy-plugin gives its policies.

It is not protobuf's JSON form (envoyauth/protomap.go): a number of 64 bits is a number, an enum its number, and a
timestamp has seconds and nanoseconds. Rego takes every text to be greater than every number, so the types matter.
"""

import math
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value

from authz.core.errors import Refused
from authz.core.reasons import Reason

_MOST = 2**63


def described(message: Message) -> dict[str, object]:
    """The fields that are set, by their names in JSON; raises Refused for a number that JSON has not."""
    if isinstance(message, Struct):
        return {name: _plain(value) for name, value in message.fields.items()}
    return {field.json_name: _field(value) for field, value in message.ListFields()}


def _field(value: Any) -> object:  # noqa: ANN401  as protobuf types it
    if isinstance(value, Mapping):
        return {str(name): _one(each) for name, each in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Message):
        return [_one(each) for each in value]
    return _one(value)


def _one(value: object) -> object:
    match value:
        case Message():
            return described(value)
        case bytes():
            return b64encode(value).decode()
        case _:
            return value


def _plain(value: Value) -> object:
    """A value of a Struct; whole numbers are written as such."""
    match value.WhichOneof("kind"):
        case "number_value":
            return _number(value.number_value)
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return described(value.struct_value)
        case "list_value":
            return _all(value.list_value)
        case _:
            return None


def _all(values: ListValue) -> list[object]:
    return [_plain(value) for value in values.values]


def _number(number: float) -> int | float:
    if not math.isfinite(number):
        raise Refused(Reason.REQUEST_MALFORMED, "the metadata hold a number that JSON has not")
    return int(number) if number.is_integer() and abs(number) < _MOST else number
