"""Paths that others collected to get around authorization, held against catalogs that protect `/admin`."""

import json
from collections import Counter
from functools import partial
from typing import Any

import pytest

from authz.catalog.http import HttpCatalog
from authz.core.hop import Hop
from authz.core.request import Request
from tests.support import corpora
from tests.support.catalogs import Entry, catalog_of, entry, request
from tests.support.refusals import outcome
from tests.support.upstreams import readings

HOST = "svc.example"
DEEPEST = 12


def admin(path: str) -> Entry:
    """A protected route."""
    return entry(path, action="svc.admin", sensitivity="restricted", **{"class": "admin"})


def public(path: str) -> Entry:
    """A route that anybody may use."""
    return entry(path, action="svc.public", sensitivity="public")


def parameters(count: int) -> str:
    """The end of a template that takes anything of so many segments."""
    return "".join(f"/{{p{index}}}" for index in range(count))


PROTECTED = [admin(f"/admin{parameters(count)}{end}") for count in range(DEEPEST) for end in ("", "/")]
ANYTHING = [public(parameters(count) + end) for count in range(DEEPEST) for end in ("", "/") if count or end]
SOME = catalog_of(*PROTECTED, public("/public/{name}"), hosts=[HOST])  # of the rest is public
ALL = catalog_of(*PROTECTED, *ANYTHING, hosts=[HOST])


def found(catalog: HttpCatalog, hop: Request) -> str:
    """The action that the request is, or the reason why it is none."""
    result = outcome(partial(catalog.classify, hop))
    return result.operation.action if isinstance(result, Hop) else str(result)


def is_under_admin(path: str) -> bool:
    """Whether an upstream may serve `/admin`, or what is below it, for this path."""
    return any(segments[:1] == ("admin",) for segments in readings(path))


def read(corpus: str, file: str) -> Any:  # noqa: ANN401  any JSON
    """A file of a corpus."""
    return json.loads((corpora.folder(corpus) / file).read_text())


def path_confusion() -> list[tuple[str, str]]:
    """Every path of the three collections, with the normal form that its collector gives."""
    istio = [(case["in"], case["out"]) for case in read("path-confusion", "istio_normalization.json")]
    envoy = read("path-confusion", "envoy_path_utility.json")
    groups = ("canonical", "merge_slashes", "strip_query_fragment")
    pairs = [(raw, normal) for group in groups for raw, normal in envoy[group]]
    alone = [*envoy["invalid"], *read("path-confusion", "bypass403.json")["paths"]]
    return [*istio, *pairs, *((raw, raw) for raw in alone)]


@pytest.mark.parametrize(
    ("catalog", "counts"),
    [
        (SOME, {"path_ambiguous": 392, "action_unknown": 63, "svc.admin": 14, "path_missing": 2}),
        (ALL, {"path_ambiguous": 397, "svc.public": 58, "svc.admin": 14, "path_missing": 2}),
    ],
    ids=["some of the rest is public", "all of the rest is public"],
)
def test_no_collected_path_gets_around_the_protection(catalog: HttpCatalog, counts: dict[str, int]) -> None:
    """Of 471 paths of Istio, Envoy and SecLists, none of the 106 that may be `/admin` upstream is public."""
    cases = path_confusion()
    assert counts == Counter(found(catalog, request(raw, host=HOST)) for raw, _ in cases)
    hostile = [raw for raw, normal in cases if is_under_admin(raw) or is_under_admin(normal)]
    assert len(hostile) == 106
    assert "svc.public" not in {found(catalog, request(raw, host=HOST)) for raw in hostile}


@pytest.mark.parametrize(
    ("prefix", "hostile"),
    [("/public", 9), ("/public/.", 9), ("/public/..", 104), ("/public/x/../..", 104), ("/public/%2e%2e", 100)],
)
def test_no_collected_path_gets_around_it_behind_a_public_one(prefix: str, hostile: int) -> None:
    """The same paths behind a public one: each that an upstream may lead back to `/admin` is refused."""
    paths = [prefix + raw for raw, _ in path_confusion() if is_under_admin(prefix + raw)]
    assert len(paths) == hostile
    for catalog in (SOME, ALL):
        assert {"path_ambiguous"} == {found(catalog, request(path, host=HOST)) for path in paths}


@pytest.mark.parametrize(
    ("catalog", "counts"),
    [
        (SOME, {"path_ambiguous": 111, "action_unknown": 81, "svc.admin": 47}),
        (ALL, {"path_ambiguous": 117, "svc.public": 69, "svc.admin": 47, "action_unknown": 6}),
    ],
    ids=["some of the rest is public", "all of the rest is public"],
)
def test_no_captured_request_gets_around_the_protection(catalog: HttpCatalog, counts: dict[str, int]) -> None:
    """Of 239 checks that a real Envoy sent, with and without normalisation, none that may be `/admin` is public."""
    probes = [each for each in read("envoy-captured", "http_checkrequests.json") if each.get("check_request")]
    outcomes: Counter[str] = Counter()
    hostile = 0
    for probe in probes:
        http = probe["check_request"]["attributes"]["request"]["http"]
        headers = {name: (value,) for name, value in http["headers"].items()}
        hop = request(http["path"], method=http["method"], host=http["host"], headers=headers)
        outcomes[found(catalog, hop)] += 1
        if is_under_admin(http["path"]) or is_under_admin(probe.get("upstream_path", "")):
            hostile += 1
            assert found(catalog, hop) != "svc.public", http["path"]
    assert counts == outcomes
    assert hostile == 135


@pytest.mark.parametrize(("name", "value"), [("X-rewrite-url", "/admin"), ("X-Original-URL", "/admin")])
def test_collected_headers_do_not_get_around_it(name: str, value: str) -> None:
    """Headers that are known to replace the path are refused, on a path that would be public."""
    collected = read("path-confusion", "bypass403.json")["headers"]
    assert [name, value] in collected
    hop = request("/public/x", host=HOST, headers={name.lower(): (value,)})
    assert found(SOME, hop) == "path_ambiguous"
