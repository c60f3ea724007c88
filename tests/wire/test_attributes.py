"""The attributes of a check as opa-envoy-plugin gives them: its names, and its types."""

import json

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st

from authz.core.errors import Refused
from authz.core.reasons import Reason
from authz.core.request import MAX_SHOWN_BODY_BYTES
from authz.wire.attributes import described
from authz.wire.decode import decode_with_attributes
from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest


def test_numbers_enums_times_and_bytes_have_the_plugins_types() -> None:
    """A size can be compared with a number, as in the plugin; in protobuf's own JSON it would be a text."""
    document = {
        "attributes": {
            "source": {"address": {"socketAddress": {"address": "10.0.0.1", "portValue": 5, "protocol": "UDP"}}},
            "destination": {"labels": {"a": "b"}},
            "request": {
                "time": "2026-01-02T03:04:05.5Z",
                "http": {"size": "12", "rawBody": "AAE=", "headerMap": {"headers": [{"key": "a", "rawValue": "YQ=="}]}},
            },
            "contextExtensions": {"k": "v"},
            "metadataContext": {"filterMetadata": {"x": {"n": 1, "f": 1.5, "none": None, "l": [-1, {"a": True}, "b"]}}},
            "tlsSession": {"sni": "s"},
        }
    }
    assert described(ParseDict(document, CheckRequest()).attributes) == {
        "source": {"address": {"socketAddress": {"address": "10.0.0.1", "portValue": 5, "protocol": 1}}},
        "destination": {"labels": {"a": "b"}},
        "request": {
            "time": {"seconds": 1767323045, "nanos": 500000000},
            "http": {"size": 12, "rawBody": "AAE=", "headerMap": {"headers": [{"key": "a", "rawValue": "YQ=="}]}},
        },
        "contextExtensions": {"k": "v"},
        "metadataContext": {"filterMetadata": {"x": {"n": 1, "f": 1.5, "none": None, "l": [-1, {"a": True}, "b"]}}},
        "tlsSession": {"sni": "s"},
    }


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_has_not_is_refused(number: float) -> None:
    """Metadata that no JSON can hold deny, and are no fault of the server's."""
    check = CheckRequest()
    check.attributes.request.http.method = "GET"
    check.attributes.metadata_context.filter_metadata["a"].fields["b"].number_value = number
    with pytest.raises(Refused) as refused:
        decode_with_attributes(check.SerializeToString())
    assert refused.value.reason is Reason.REQUEST_MALFORMED


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_other_number_is_kept(number: float) -> None:
    """For all numbers: what stands in the JSON is the number."""
    check = CheckRequest()
    check.attributes.metadata_context.filter_metadata["a"].fields["b"].number_value = number
    text = json.dumps(described(check.attributes))
    assert json.loads(text)["metadataContext"]["filterMetadata"]["a"]["b"] == number


@pytest.mark.parametrize("name", ["body", "raw_body"])
@pytest.mark.parametrize(("size", "is_shown"), [(MAX_SHOWN_BODY_BYTES, True), (MAX_SHOWN_BODY_BYTES + 1, False)])
def test_a_large_body_is_left_out(name: str, size: int, is_shown: bool) -> None:  # noqa: FBT001  a parameter
    """What Envoy passes on beyond the bound is for the catalog alone."""
    check = CheckRequest()
    setattr(check.attributes.request.http, name, b"1" * size if name == "raw_body" else "1" * size)
    request = decode_with_attributes(check.SerializeToString())
    assert len(request.body.content) == size
    http = request.attributes["request"]["http"]  # type: ignore[index]  # JSON
    assert bool(http.keys() & {"body", "rawBody"}) is is_shown
