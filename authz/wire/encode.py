"""Record in, CheckResponse bytes out: the only place where a CheckResponse is made.

Envoy takes a response without a status for an allow, ignores a denied response whose status is 0, and shows no
status message to anyone. So every denial carries a non-zero status *and* an HTTP status of its own, and the function
is total: a record that cannot be written becomes a fixed denial.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import assert_never

from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import BoolValue

from authz.core.amendments import NO_AMENDMENTS, Amendments, Headers
from authz.core.decision import Allow, Deny, StepUp
from authz.core.reasons import Reason
from authz.core.record import Record
from authz.wire.denials import Form, JsonRpcDenials, form
from authz.wire.pb.envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption, QueryParameter
from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse, DeniedHttpResponse, OkHttpResponse
from authz.wire.pb.envoy.type.v3.http_status_pb2 import HttpStatus

DENIALS = JsonRpcDenials()

_OK = 0
_REMEMBERED = 4096
_SAID_BY_POLICIES = frozenset({Reason.POLICY_FORBIDS, Reason.POLICY_PERMITS_NOTHING})
_GRPC_STATUS = {400: 3, 401: 16, 403: 7, 429: 8, 503: 14}
"""google.rpc.Code for each HTTP status in use: INVALID_ARGUMENT, UNAUTHENTICATED, and so on."""


class Encoder:
    """The `Encode` port, for a configured task header, and headers that are for us alone (all lower-case)."""

    def __init__(
        self, task_header: str, removed_headers: tuple[str, ...] = (), denials: JsonRpcDenials = DENIALS
    ) -> None:
        self._task_header = task_header
        self._removed_headers = removed_headers
        self._denials = denials
        self._plain_allowing = lru_cache(_REMEMBERED)(self._allowing)

    def __call__(self, record: Record) -> bytes:
        """The answer for Envoy; never empty, and an allow for nothing but an Allow."""
        try:
            match record.decision:
                case Allow():
                    return self._allow(record)
                case Deny(reason=reason):
                    return self._deny(record, reason)
                case StepUp():
                    return self._deny(record, record.decision.reason)
                case _:
                    assert_never(record.decision)
        except Exception:  # noqa: BLE001  whatever could not be written is a denial
            return FALLBACK

    def _allow(self, record: Record) -> bytes:
        if record.task is None:
            raise ValueError("an allow without a task")
        wanted = record.verdict.amendments if record.verdict else NO_AMENDMENTS
        task_id, agent, action = record.task.id, _agent(record), _action(record)
        if wanted is NO_AMENDMENTS:
            answer = self._plain_allowing(task_id, agent, action)
        else:
            answer = self._allowing(task_id, agent, action, wanted)
        return answer + _naming(record.arrival.decision_id)

    def _allowing(self, task_id: str, agent: str, action: str, wanted: Amendments = NO_AMENDMENTS) -> bytes:
        """The answer but for the name of the decision: the same for all hops that are alike."""
        # The upstream gets the one value that was decided on, whatever form the client's header had.
        ok = OkHttpResponse(
            headers=[*_amended(wanted.headers), _set(self._task_header, task_id)],
            headers_to_remove=(*wanted.removed_headers, *self._removed_headers),
            response_headers_to_add=_amended(wanted.response_headers),
            query_parameters_to_set=[QueryParameter(key=name, value=value) for name, value in wanted.query_set],
            query_parameters_to_remove=wanted.query_removed,
        )
        found = {"decision": Allow.word, "reason": "", "agent": agent, "task": task_id, "action": action}
        response = CheckResponse(ok_response=ok, dynamic_metadata=_metadata(found, wanted))
        response.status.code = _OK
        return response.SerializeToString()

    def _deny(self, record: Record, reason: Reason) -> bytes:
        told = {"error": "denied", "reason": reason.id, "decision_id": record.arrival.decision_id, **_remedy(record)}
        said = reason in _SAID_BY_POLICIES and record.verdict is not None
        wanted = record.verdict.amendments if said and record.verdict else NO_AMENDMENTS
        worded = form(record.request, reason, told, self._denials)
        found = {
            "decision": record.decision.word,
            "decision_id": record.arrival.decision_id,
            "reason": reason.id,
            "agent": _agent(record),
            "task": record.task.id if record.task else "",
            "action": _action(record),
        }
        return _denial(reason, told, _metadata(found, wanted), worded, wanted)


def _remedy(record: Record) -> dict[str, object]:
    """The kinds of approval that would turn the denial into an allow, and the access request to name to approvers."""
    if not isinstance(record.decision, StepUp):
        return {}
    remedy: dict[str, object] = {"step_up": sorted(record.decision.kinds)}
    if record.access_request is not None:
        remedy["access_request"] = record.access_request.digest
    return remedy


def _denial(
    reason: Reason, told: Mapping[str, object], metadata: Struct, worded: Form, wanted: Amendments = NO_AMENDMENTS
) -> bytes:
    headers = [] if wanted.body is not None else [_set("content-type", "application/json")]
    headers += _amended(wanted.headers)
    headers += [_set("x-authz-reason", reason.id), _set("x-authz-decision-id", str(told["decision_id"]))]
    if reason.http_status == 401:  # noqa: PLR2004  RFC 9110, 15.5.2: a 401 names the scheme that would help
        headers.append(_set("www-authenticate", "X509-SVID"))
    status = HttpStatus(code=wanted.http_status or worded.http_status)  # type: ignore[arg-type]  # an open enum
    denied = DeniedHttpResponse(
        status=status, headers=headers, body=worded.body if wanted.body is None else wanted.body
    )
    response = CheckResponse(denied_response=denied, dynamic_metadata=metadata)
    response.status.code = _GRPC_STATUS[reason.http_status]
    return response.SerializeToString()


def _set(name: str, value: str) -> HeaderValueOption:
    """Replace the header. Envoy 1.40 ignores `append_action` here; `append: false` means "set" in every version."""
    return HeaderValueOption(header=HeaderValue(key=name, value=value), append=BoolValue(value=False))


def _amended(headers: Headers) -> Iterator[HeaderValueOption]:
    """Each header set to its first value, and what follows appended to that."""
    for name, values in headers:
        for number, value in enumerate(values):
            header = HeaderValue(key=name, value=value)
            yield HeaderValueOption(header=header, append=BoolValue(value=number > 0))


def _metadata(found: Mapping[str, str], wanted: Amendments) -> Struct:
    """For Envoy's access log, in the namespace `envoy.filters.http.ext_authz`; what is ours no policy replaces."""
    metadata = Struct()
    metadata.update(wanted.metadata)  # type: ignore[arg-type]  # what Amendments hold is JSON
    for name, value in found.items():
        metadata.fields[name].string_value = value
    return metadata


def _naming(decision_id: str) -> bytes:
    """The part of a CheckResponse that names the decision in its metadata.

    A message in the wire format may go on with another of its type: what both hold is merged, and of two entries of a
    map the last counts (Protocol Buffers, Encoding, "Last One Wins").
    """
    name = decision_id.encode()
    return _before_a_name(len(name)) + name


@lru_cache
def _before_a_name(length: int) -> bytes:
    """What stands before it. It is the last of the part, so all but its length is the same for all."""
    name = "-" * length
    part = CheckResponse(dynamic_metadata=_metadata({"decision_id": name}, NO_AMENDMENTS)).SerializeToString()
    return part.removesuffix(name.encode())


def _agent(record: Record) -> str:
    return record.identity.spiffe_id.uri if record.identity else ""


def _action(record: Record) -> str:
    return record.hop.operation.action if record.hop else ""


_UNRECORDED = {"error": "denied", "reason": Reason.INTERNAL_ERROR.id, "decision_id": ""}
FALLBACK = _denial(
    Reason.INTERNAL_ERROR, _UNRECORDED, Struct(), form(None, Reason.INTERNAL_ERROR, _UNRECORDED, DENIALS)
)
"""The answer where no better one can be made."""
