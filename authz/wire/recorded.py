"""Recorded checks: a file that a person has, to the bytes that Envoy would have sent.

Read are the protobuf's JSON form, alone or as `check_request` beside `_meta.grpc_metadata`, and the bytes themselves.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError

from authz.core.errors import Place, Problem, Unusable
from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest


@dataclass(frozen=True, slots=True)
class RecordedCheck:
    """The bytes of a CheckRequest and the metadata of the call that brought it."""

    message: bytes
    metadata: tuple[tuple[str, str], ...]


def read_recorded(file: Path) -> RecordedCheck:
    """The check in `file` (`.bin`: bytes, else JSON); raises Unusable where it cannot be read as one."""
    try:
        content = file.read_bytes()
        if file.suffix == ".bin":
            return RecordedCheck(content, ())
        document = json.loads(content)
    except (OSError, ValueError) as error:
        raise Unusable(
            Problem(Place(file), f"cannot be read: {error}", "Give a CheckRequest as JSON or bytes.")
        ) from error
    if not isinstance(document, dict):
        raise Unusable(Problem(Place(file), "not a JSON object", "Give a CheckRequest as JSON or bytes."))
    return _from_json(file, document)


def _from_json(file: Path, document: dict[str, Any]) -> RecordedCheck:
    check: dict[str, Any] = document
    pairs: list[tuple[str, str]] = []
    if isinstance(document, dict) and "check_request" in document:
        check = document["check_request"]
        pairs = document.get("_meta", {}).get("grpc_metadata", [])
    try:
        metadata = tuple((str(name), str(value)) for name, value in pairs)
        return RecordedCheck(ParseDict(check, CheckRequest()).SerializeToString(), metadata)
    except (ParseError, AttributeError, TypeError, ValueError) as error:
        problem = Problem(Place(file), f"not a CheckRequest: {error}", "Record it from Envoy, or correct the field.")
        raise Unusable(problem) from error
