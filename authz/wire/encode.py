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
from authz.core.decision import Allow, Decision, Deny, StepUp
from authz.core.reasons import Reason
from authz.core.record import Record
from authz.wire.denials import Form, JsonRpcDenials, form
from authz.wire.pb.envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption, QueryParameter
from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse, DeniedHttpResponse, OkHttpResponse
from authz.wire.pb.envoy.type.v3.http_status_pb2 import HttpStatus

DENIALS = JsonRpcDenials()

_OK = 0
_SOME_ID = "ffffffff-ffff-7fff-bfff-ffffffffffff"  # no clock makes it
_MAX_PARTS = 4096
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
        self._parts = lru_cache(_MAX_PARTS)(self._parts_around_the_id)

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
        told = _told(record, None)
        id = told["decision_id"]
        if wanted is not NO_AMENDMENTS or len(id) != len(_SOME_ID) or not id.isascii():
            return self._allowing(record.task.id, told, wanted)
        before, after = self._parts(record.task.id, told["agent"], told["action"])
        return before + id.encode() + after

    def _parts_around_the_id(self, task_id: str, agent: str, action: str) -> tuple[bytes, bytes]:
        """An allow without amendments, before and after its decision id: the rest is the same for many hops."""
        told = _told_of(Allow.word, _SOME_ID, "", agent, task_id, action)
        before, id, after = self._allowing(task_id, told, NO_AMENDMENTS).rpartition(_SOME_ID.encode())
        if not id or _SOME_ID.encode() in before:
            raise ValueError("the decision id does not stand in the answer once")
        return before, after

    def _allowing(self, task_id: str, told: Mapping[str, str], wanted: Amendments) -> bytes:
        ok = OkHttpResponse(
            # The upstream gets the one value that was decided on, whatever form the client's header had.
            headers=[*_amended(wanted.headers), _set(self._task_header, task_id)],
            headers_to_remove=(*wanted.removed_headers, *self._removed_headers),
            response_headers_to_add=_amended(wanted.response_headers),
            query_parameters_to_set=[QueryParameter(key=name, value=value) for name, value in wanted.query_set],
            query_parameters_to_remove=wanted.query_removed,
        )
        response = CheckResponse(ok_response=ok, dynamic_metadata=_metadata(told, wanted))
        response.status.code = _OK
        return response.SerializeToString(deterministic=True)

    def _deny(self, record: Record, reason: Reason) -> bytes:
        told = {"error": "denied", "reason": reason.id, "decision_id": record.arrival.decision_id, **_remedy(record)}
        said = reason in _SAID_BY_POLICIES and record.verdict is not None
        wanted = record.verdict.amendments if said and record.verdict else NO_AMENDMENTS
        worded = form(record.request, reason, told, self._denials)
        return _denial(reason, told, _metadata(_told(record, reason), wanted), worded, wanted)


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


def _metadata(told: Mapping[str, str], wanted: Amendments) -> Struct:
    """For Envoy's access log, in the namespace `envoy.filters.http.ext_authz`; what is ours no policy replaces."""
    metadata = Struct()
    metadata.update(wanted.metadata)  # type: ignore[arg-type]  # what Amendments hold is JSON
    for name, value in told.items():
        metadata.fields[name].string_value = value
    return metadata


def _told(record: Record, reason: Reason | None) -> dict[str, str]:
    return _told_of(
        _word(record.decision),
        record.arrival.decision_id,
        reason.id if reason else "",
        record.identity.spiffe_id.uri if record.identity else "",
        record.task.id if record.task else "",
        record.hop.operation.action if record.hop else "",
    )


def _told_of(decision: str, decision_id: str, reason: str, agent: str, task: str, action: str) -> dict[str, str]:  # noqa: PLR0913, PLR0917  all that is told
    return {
        "decision": decision,
        "decision_id": decision_id,
        "reason": reason,
        "agent": agent,
        "task": task,
        "action": action,
    }


def _word(decision: Decision) -> str:
    match decision:
        case Allow():
            return "allow"
        case Deny():
            return "deny"
        case StepUp():
            return "step_up"


_UNRECORDED = {"error": "denied", "reason": Reason.INTERNAL_ERROR.id, "decision_id": ""}
FALLBACK = _denial(
    Reason.INTERNAL_ERROR, _UNRECORDED, Struct(), form(None, Reason.INTERNAL_ERROR, _UNRECORDED, DENIALS)
)
"""The answer where no better one can be made."""
