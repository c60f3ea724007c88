"""Checks that others recorded, through decoding and the catalog: each is an operation, or is refused for a reason."""

import json
from collections import Counter
from typing import Any

from google.protobuf.json_format import ParseDict

from authz.catalog.http import HttpCatalog
from authz.core.hop import Hop
from authz.wire.decode import decode
from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from tests.support import corpora
from tests.support.catalogs import catalog_of, entry
from tests.support.messages import attempt, service_of
from tests.support.refusals import outcome

NO_CHECK = "Envoy refused it itself"


def taken_for(catalog: HttpCatalog, document: dict[str, Any]) -> str:
    """The action that a check is, or the reason why it is none."""
    message = ParseDict(document, CheckRequest()).SerializeToString()
    found = outcome(lambda: catalog.classify(decode(message)))
    return found.operation.action if isinstance(found, Hop) else found.id


def test_the_header_shapes_that_envoy_passes_on() -> None:
    """Of 18 strange headers those that could replace the path refuse the hop; the others change nothing of it."""
    probes = json.loads((corpora.folder("envoy-captured") / "http_checkrequests.json").read_text())
    shapes = [probe for probe in probes if "header_case" in probe]
    assert len({probe["header_case"] for probe in shapes}) == 18
    catalog = catalog_of(entry("/h"), hosts=["svc.example"])
    found = {
        (probe["mode"], probe["header_case"]): taken_for(catalog, probe["check_request"])
        if probe.get("check_request")
        else NO_CHECK
        for probe in shapes
    }
    for mode, refused_by_envoy in (
        ("no_normalisation", {"te-cl", "colon-method", "nul"}),
        ("hardened", {"te-cl", "colon-method", "nul", "underscore"}),
    ):
        others = {case: result for (its_mode, case), result in found.items() if its_mode == mode}
        assert {case for case, result in others.items() if result == NO_CHECK} == refused_by_envoy
        assert {case for case, result in others.items() if result == "path_ambiguous"} == {"x-envoy-original-path"}
        assert set(others.values()) == {NO_CHECK, "path_ambiguous", "crm.read"}


def test_the_checks_of_opa_envoy_plugin() -> None:
    """Of its 43 checks those that name method, host and path are read; a real Envoy always names them."""
    cases = json.loads((corpora.folder("opa-envoy-plugin") / "check_cases.json").read_text())
    assert len(cases) == 43
    catalog = catalog_of(entry("/api/v1/products"), entry("/my/test/path"), hosts=["192.168.99.100"])
    counts: Counter[tuple[str, str]] = Counter()
    completed: Counter[str] = Counter()
    for case in cases:
        http = case["request"]["attributes"]["request"]["http"]
        lacking = next((name for name in ("method", "host", "path") if not http.get(name)), "nothing")
        counts[lacking, taken_for(catalog, case["request"])] += 1
        whole = {"method": "GET", "host": "192.168.99.100", "path": "/api/v1/products", **http}
        completed[taken_for(catalog, {"attributes": {"request": {"http": whole}}})] += 1
    assert counts == {("nothing", "crm.read"): 21, ("host", "host_ambiguous"): 20, ("method", "method_ambiguous"): 2}
    assert completed == {"crm.read": 43}, "with what they lack they are all read"


def test_a_grpc_call_that_only_has_raw_headers() -> None:
    """A gRPC server that asks without Envoy sends pseudo-headers alone; the call is the same one."""
    catalog = service_of(grpc={"com.book.BookService": {"Get": attempt("book.read")}})
    pairs = {
        ":method": "POST",
        ":authority": "crm.example.org",
        ":path": "/com.book.BookService/Get",
        "content-type": "application/grpc",
    }
    headers = [{"key": name, "value": value} for name, value in pairs.items()]
    http: dict[str, Any] = {"header_map": {"headers": headers}}
    assert taken_for(catalog, {"attributes": {"request": {"http": http}}}) == "book.read"
    repeated = {"header_map": {"headers": [*headers, {"key": ":path", "value": "/com.book.BookService/Put"}]}}
    assert taken_for(catalog, {"attributes": {"request": {"http": repeated}}}) == "request_malformed"
    contradicted = {**http, "path": "/com.book.BookService/Put"}
    assert taken_for(catalog, {"attributes": {"request": {"http": contradicted}}}) == "request_malformed"
