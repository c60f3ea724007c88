"""Hostile paths through a real Envoy, with and without its normalisation: what is protected is never reached."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from authz.core.hop import Sensitivity
from authz.demo.agents import Answered
from tests.support import corpora
from tests.support.envoy import Yard, hardened, yard
from tests.support.spoken import SPEAKER_HOST, Speaker, speaking
from tests.support.upstreams import readings
from tests.support.world import SUPPORT

__all__ = ["yard"]  # the fixture

DEEPEST = 12
POLICIES = """\
@id("support-does-anything")
permit (principal == Agent::"spiffe://example.org/agent/support", action, resource);
"""


async def application(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI's own types
    """A service that answers everything."""
    if scope["type"] != "http":
        return
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


def catalog() -> str:
    """All below /admin is admin's, and everything else is public."""
    routes = []
    for count in range(DEEPEST):
        end = "".join(f"/{{p{index}}}" for index in range(count))
        shared = {"class": "read", "method": "GET"}
        secret = {"action": "svc.admin", "dataset": "svc.admin", "sensitivity": "restricted", **shared}
        public = {"action": "svc.public", "dataset": "svc.public", "sensitivity": "public", **shared}
        routes += [{**secret, "path": f"/admin{end}{slash}"} for slash in ("", "/")]
        routes += [{**public, "path": end + slash} for slash in ("", "/") if end + slash]
    return json.dumps({"services": {"svc": {"hosts": [SPEAKER_HOST], "routes": routes}}})


@pytest.fixture(scope="module", params=[True, False], ids=["normalised", "as-sent"])
def speaker(yard: Yard, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Speaker]:
    """The service behind Envoy."""
    folder = tmp_path_factory.mktemp("confusion")
    with speaking(yard, folder, application, catalog(), POLICIES, normalizes_paths=request.param) as started:
        yield started


def hostile() -> list[str]:
    """Every collected path, and every one that was captured, that an upstream could take for one below /admin."""
    folder = corpora.folder("path-confusion")
    istio = [case["in"] for case in json.loads((folder / "istio_normalization.json").read_text())]
    envoy = json.loads((folder / "envoy_path_utility.json").read_text())
    pairs = [raw for group in ("canonical", "merge_slashes", "strip_query_fragment") for raw, _ in envoy[group]]
    lists = json.loads((folder / "bypass403.json").read_text())["paths"]
    captured = json.loads((corpora.folder("envoy-captured") / "http_checkrequests.json").read_text())
    paths = [*istio, *pairs, *envoy["invalid"], *lists, *(each.get("raw_path", "") for each in captured)]
    return [each for each in dict.fromkeys(paths) if is_under_admin(each) and is_sendable(each)]


def is_under_admin(path: str) -> bool:
    """Whether an upstream may serve `/admin`, or what is below it, for this path."""
    return any(segments[:1] == ("admin",) for segments in readings(path))


def is_sendable(path: str) -> bool:
    """Whether a request line can carry it."""
    return bool(path) and path.isascii() and path.isprintable() and " " not in path


def test_nothing_protected_is_reached(speaker: Speaker) -> None:
    """A task that may do anything that is public reaches nothing that an upstream could take for protected."""
    task = speaker.task("read:svc", ceiling=Sensitivity.PUBLIC)
    caller, remote = speaker.yard.caller(speaker.world.svid(SUPPORT)), hardened(speaker.envoy, SPEAKER_HOST)
    headers = [("x-task-id", task.id)]
    assert isinstance(sure := caller.call_patiently(remote, "GET", "/public", headers)[0], Answered)
    assert sure.status == 200, "what is public is reached"
    before, paths = len(speaker.reached.requests), hostile()
    assert len(paths) > 80
    answered = 0
    for path in paths:
        outcome = caller.call(remote, "GET", path, headers)
        answered += isinstance(outcome, Answered)
    arrived = [path for _, path, _ in speaker.reached.requests[before:]]
    assert [path for path in arrived if is_under_admin(path)] == []
    assert answered > len(paths) * 0.9
