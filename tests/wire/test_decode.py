"""What Envoy sends, read faithfully, and what is no request, refused."""

import base64
import json
from functools import partial

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st

from authz.core.errors import Refused
from authz.core.reasons import Reason
from authz.core.request import Request
from authz.wire.decode import decode
from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from tests.support import corpora
from tests.support.refusals import outcome

NOT_HTTP = {"tcp_mtls", "tcp_tls_no_client_cert"}
REFUSED = {Reason.REQUEST_MALFORMED, Reason.REQUEST_NOT_HTTP}


def check(**http: object) -> bytes:
    """The bytes of a check about the given HTTP request."""
    return ParseDict({"attributes": {"request": {"http": http}}}, CheckRequest()).SerializeToString()


def raw(*headers: tuple[str, bytes]) -> dict[str, object]:
    """A header map with raw values, as `encode_raw_headers` sends it."""
    return {"headers": [{"key": key, "raw_value": base64.b64encode(value).decode()} for key, value in headers]}


def test_every_recorded_check_is_read_or_refused_for_a_reason() -> None:
    """All 55 checks recorded from a real Envoy are read; only those of the TCP filter are refused, as not HTTP."""
    files = sorted(corpora.folder("checkrequests").glob("*.bin"))
    outcomes = {file.stem: outcome(partial(decode, file.read_bytes())) for file in files}
    assert len(outcomes) == 55
    assert dict.fromkeys(NOT_HTTP, Reason.REQUEST_NOT_HTTP) == {
        name: found for name, found in outcomes.items() if not isinstance(found, Request)
    }


@pytest.mark.parametrize("name", ["get_mtls_h1", "raw_dup_headers", "grpc_call", "connect", "multi_san"])
def test_the_fields_are_those_of_the_recording(name: str) -> None:
    """Method, host, path, principal and certificate are what Envoy recorded."""
    folder = corpora.folder("checkrequests")
    attributes = json.loads((folder / f"{name}.json").read_text())["check_request"]["attributes"]
    http, source = attributes["request"]["http"], attributes["source"]
    request = decode((folder / f"{name}.bin").read_bytes())
    assert request.method == http["method"]
    assert request.host == http["host"]
    assert request.path == http.get("path", "")
    assert request.unverified_principal == source.get("principal", "")
    assert request.unverified_certificate == source.get("certificate", "")


def test_captured_checks_are_all_read() -> None:
    """All 239 hostile paths, headers and bodies that Envoy let through are read without a fault."""
    folder = corpora.folder("envoy-captured")
    hostile = json.loads((folder / "http_checkrequests.json").read_text())
    documents = [each["check_request"] for each in hostile if each.get("check_request")]
    assert len(documents) == 239
    for document in documents:
        message = ParseDict(document, CheckRequest()).SerializeToString()
        request = decode(message)
        assert request.path == document["attributes"]["request"]["http"].get("path", "")


def test_repeated_raw_headers_stay_apart() -> None:
    """A header sent twice has two values, in order, whatever their case."""
    message = check(method="GET", path="/", header_map=raw(("x-task-id", b"one"), ("X-Task-Id", b"two")))
    assert decode(message).headers["x-task-id"] == ("one", "two")


def test_different_bytes_never_become_the_same_value() -> None:
    """Raw header bytes that are not UTF-8 are told apart."""
    values = {decode(check(path="/", header_map=raw(("a", bytes([byte]))))).headers["a"] for byte in range(128, 256)}
    assert len(values) == 128


def test_a_grpc_server_that_asks_for_itself_sends_raw_headers_alone() -> None:
    """Method, host and path are taken from the pseudo-headers where the fields are empty (gRFC A92)."""
    headers = raw((":method", b"POST"), (":path", b"/pkg.Service/Method"), (":authority", b"svc.example.org"))
    request = decode(check(header_map=headers))
    assert (request.method, request.host, request.path) == ("POST", "svc.example.org", "/pkg.Service/Method")


@pytest.mark.parametrize(
    ("field", "header"),
    [
        ({"path": "/a"}, (":path", b"/b")),
        ({"host": "a"}, (":authority", b"b")),
        ({"path": "/adm!in"}, (":path", b"/adm\xffin")),
    ],
)
def test_a_field_that_contradicts_its_pseudo_header_is_refused(
    field: dict[str, str], header: tuple[str, bytes]
) -> None:
    """What Envoy shows twice must be the same both times, so that a byte hidden behind `!` is found."""
    with pytest.raises(Refused) as refused:
        decode(check(**field, header_map=raw(header)))
    assert refused.value.reason is Reason.REQUEST_MALFORMED


def test_a_pseudo_header_given_twice_is_refused() -> None:
    """Two paths in one request are not one request."""
    with pytest.raises(Refused) as refused:
        decode(check(path="/a", header_map=raw((":path", b"/a"), (":path", b"/b"))))
    assert refused.value.reason is Reason.REQUEST_MALFORMED


def test_nothing_at_all_is_refused() -> None:
    """An empty message names no HTTP request."""
    with pytest.raises(Refused) as refused:
        decode(b"")
    assert refused.value.reason is Reason.REQUEST_NOT_HTTP


def test_a_mebibyte_of_header_is_read() -> None:
    """Large headers are read, not refused by accident: deciding about them is for later steps."""
    assert len(decode(check(path="/", headers={"x": "y" * 2**20})).headers["x"][0]) == 2**20


@given(st.binary(max_size=200))
def test_random_bytes_are_read_or_refused(message: bytes) -> None:
    """No bytes whatever raise anything but Refused."""
    found = outcome(lambda: decode(message))
    assert isinstance(found, Request) or found in REFUSED


@given(st.data())
def test_damaged_checks_are_read_or_refused(data: st.DataObject) -> None:
    """A recorded check with a piece cut out, doubled or overwritten raises nothing but Refused."""
    message = (corpora.folder("checkrequests") / "get_mtls_h1.bin").read_bytes()
    start = data.draw(st.integers(0, len(message)))
    end = data.draw(st.integers(start, min(len(message), start + 64)))
    middle = data.draw(st.one_of(st.just(b""), st.just(message[start:end] * 2), st.binary(max_size=8)))
    found = outcome(lambda: decode(message[:start] + middle + message[end:]))
    assert isinstance(found, Request) or found in REFUSED
