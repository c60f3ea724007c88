"""How OPA is reached: TLS on both sides, a bearer token, a Unix socket; and what OPA does on its own beside us."""

import asyncio
import datetime as dt
import functools
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from authz.config import OpaSettings
from authz.core.errors import Unavailable, Unusable
from authz.demo.ca import DevelopmentCa
from authz.policy.breaker import Breaker
from authz.policy.opa_client import OpaClient, OpaReach
from authz.wiring.engines import opa_reach
from authz.wiring.gauges import opa_gauges
from tests.support.opa import running_opa
from tests.support.servers import free_port, until

RULE = "/v1/data/authz/decision"
ALLOWS = "package authz\n\ndecision := true\n"
FOR_TOKENS = """
package system.authz

default allow := false

allow if input.identity == "right"
"""
DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def ca() -> DevelopmentCa:
    """Who signs the certificates of OPA and of ours."""
    return DevelopmentCa("example.org")


def ask(reach: OpaReach) -> tuple[int, bytes]:
    """One question."""

    async def asked() -> tuple[int, bytes]:
        client = OpaClient(reach, 5.0, Breaker(5, 1.0))
        try:
            return await client.post(b'{"input": {}}')
        finally:
            client.close()

    return asyncio.run(asked())


def policies(folder: Path, text: str = ALLOWS) -> Path:
    """A folder with that policy."""
    folder.mkdir()
    (folder / "decision.rego").write_text(text)
    return folder


@contextmanager
def secured(ca: DevelopmentCa, tmp_path: Path, *options: str, **changes: object) -> Iterator[OpaReach]:
    """An OPA that speaks TLS, and how it is reached; `changes` are of its certificate."""
    certificate, key = ca.mint(**{"dns": ("localhost",), **changes}).write(tmp_path, "opa")  # type: ignore[arg-type]  # fields of many types
    authorities = tmp_path / "authorities.pem"
    authorities.write_text(ca.bundle_pem)
    tls = ("--tls-cert-file", str(certificate), "--tls-private-key-file", str(key))
    with running_opa(policies(tmp_path / "opa-policies"), *tls, *options) as address:
        url = f"https://localhost:{address.rpartition(':')[2]}{RULE}"
        yield OpaReach(url, authorities_file=authorities)


def test_opa_over_tls_is_asked(ca: DevelopmentCa, tmp_path: Path) -> None:
    """With the authority that signed OPA's certificate, and its name in the URL, there is an answer."""
    with secured(ca, tmp_path) as reach:
        assert ask(reach) == (200, b'{"result":true}\n')


def test_an_opa_that_is_not_the_one_that_was_meant_is_not_believed(ca: DevelopmentCa, tmp_path: Path) -> None:
    """Another authority, or another name than the certificate's: no question is put, and the hop is denied."""
    foreign = tmp_path / "foreign.pem"
    foreign.write_text(DevelopmentCa("evil.example").bundle_pem)
    with secured(ca, tmp_path) as reach:
        with pytest.raises(Unavailable, match="certificate verify failed"):
            ask(replace(reach, authorities_file=foreign))
        with pytest.raises(Unavailable, match="certificate verify failed"):
            ask(replace(reach, authorities_file=None))
        with pytest.raises(Unavailable, match="certificate verify failed"):
            ask(replace(reach, url=reach.url.replace("localhost", "127.0.0.1")))


def test_an_opa_whose_certificate_is_past_its_time_is_not_believed(ca: DevelopmentCa, tmp_path: Path) -> None:
    """An expired certificate proves nothing."""
    long_ago = dt.datetime.now(dt.UTC) - 3 * DAY
    with secured(ca, tmp_path, not_before=long_ago) as reach, pytest.raises(Unavailable, match="expired"):
        ask(reach)


def test_an_opa_that_speaks_no_tls_is_not_asked(tmp_path: Path) -> None:
    """Plain text where TLS was meant is no answer."""
    with (
        running_opa(policies(tmp_path / "policies")) as address,
        pytest.raises(Unavailable),
    ):
        ask(OpaReach(f"https://{address}{RULE}"))


def test_we_show_our_certificate_where_opa_asks_for_one(ca: DevelopmentCa, tmp_path: Path) -> None:
    """With it there is an answer, and without it there is none."""
    ours = ca.mint("spiffe://example.org/authz").write(tmp_path, "ours")
    (tmp_path / "clients.pem").write_text(ca.bundle_pem)
    mutual = ("--authentication", "tls", "--tls-ca-cert-file", str(tmp_path / "clients.pem"))
    with secured(ca, tmp_path, *mutual) as reach:
        with pytest.raises(Unavailable):
            ask(reach)
        assert ask(replace(reach, certificate_file=ours[0], private_key_file=ours[1]))[0] == 200


def test_a_bearer_token_is_shown_and_read_anew(tmp_path: Path) -> None:
    """OPA refuses another token than its own; once the file holds the right one, the next question has it."""
    folder, token = policies(tmp_path / "policies"), tmp_path / "token"
    (folder / "authz.rego").write_text(FOR_TOKENS)
    with running_opa(folder, "--authentication", "token", "--authorization", "basic") as address:
        reach = OpaReach(f"http://{address}{RULE}", token_file=token)
        token.write_text("wrong\n")
        assert ask(reach)[0] == 401
        token.write_text("right\n")
        assert ask(reach)[0] == 200
        token.write_text("right\r\nX-Other: 1\n\n")
        assert ask(reach)[0] == 200, "the rest of the file is none of the header's"
        token.write_text("two words\n")
        with pytest.raises(Unavailable, match="bearer token"):
            ask(reach)
        token.unlink()
        with pytest.raises(Unavailable):
            ask(reach)


def test_opa_on_a_unix_socket_is_asked(tmp_path: Path) -> None:
    """A socket in the file system needs no port; where it is not, the hop is denied."""
    file = tmp_path / "opa.sock"
    reach = OpaReach(f"http://localhost{RULE}", socket=file)
    with pytest.raises(Unavailable):
        ask(reach)
    with running_opa(policies(tmp_path / "policies"), socket_file=file):
        assert ask(reach)[0] == 200


def test_files_that_cannot_be_used_stop_the_start(ca: DevelopmentCa, tmp_path: Path) -> None:
    """A key that is not the certificate's, rubbish for authorities, an empty token: said with the file, at start."""
    certificate, _ = ca.mint("spiffe://example.org/a").write(tmp_path, "a")
    _, key = ca.mint("spiffe://example.org/b").write(tmp_path, "b")
    empty = tmp_path / "empty"
    empty.write_text("")
    https, plain = f"https://opa.example.org{RULE}", f"http://127.0.0.1:1{RULE}"
    for fields in (
        {"url": https, "certificate_file": certificate, "private_key_file": key},
        {"url": https, "authorities_file": empty},
        {"url": plain, "token_file": empty},
    ):
        with pytest.raises(Unusable, match=r"policy\.opa cannot be used"):
            opa_reach(settings(tmp_path, **fields))


def settings(folder: Path, **fields: object) -> OpaSettings:
    """As they stand in a configuration in that folder."""
    return OpaSettings.model_validate(fields, context={"folder": folder})


def test_settings_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    """A certificate without its key, and certificates where nothing is encrypted."""
    (tmp_path / "a").write_text("x")
    with pytest.raises(ValueError, match="go together"):
        settings(tmp_path, url=f"https://opa.example.org{RULE}", certificate_file=tmp_path / "a")
    with pytest.raises(ValueError, match="https alone"):
        settings(tmp_path, url=f"http://127.0.0.1:1{RULE}", authorities_file=tmp_path / "a")


def test_the_metrics_tell_what_became_of_questions(tmp_path: Path) -> None:
    """Up is the last question's fate, and each fate is counted."""

    async def asked() -> dict[str, dict[str, float]]:
        client = OpaClient(OpaReach(f"http://{address}{RULE}"), 5.0, Breaker(1, 60.0))
        await client.post(b'{"input": {}}')
        await client.post(b"no question")
        found = {gauge.name: gauge for gauge in opa_gauges(client)}
        up = found["authz.policy.engine.up"].read
        assert [value for value, _ in up()] == [1]
        client._reach = OpaReach(f"http://127.0.0.1:{free_port()}{RULE}")
        client._own = threading.local()  # connections that are open lead to where they led
        for _ in range(2):
            with pytest.raises(Unavailable):
                await client.post(b'{"input": {}}')
        assert [value for value, _ in up()] == [0]
        client.close()
        told = found["authz.policy.engine.questions"].read()
        return {"": {attributes["authz.outcome"]: value for value, attributes in told}}

    with running_opa(policies(tmp_path / "policies")) as address:
        told = asyncio.run(asked())
    assert told == {"": {"answered": 1, "refused": 1, "unreachable": 1, "left_alone": 1}}


def bundle(text: str) -> bytes:
    """A bundle of OPA's with that policy."""
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            member = tarfile.TarInfo("decision.rego")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
        return file.getvalue()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_a_bundle_of_opas_own_counts_from_the_next_question_on(tmp_path: Path) -> None:
    """OPA follows its bundle server by itself; nothing of an older bundle is remembered here."""
    served, empty = tmp_path / "served", tmp_path / "empty"
    served.mkdir()
    empty.mkdir()
    (served / "bundle.tar.gz").write_bytes(bundle("package authz\n\ndecision := false\n"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(served)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    polling = "bundles.ours.polling"
    options = [f"services.ours.url=http://127.0.0.1:{server.server_port}", "bundles.ours.service=ours"]
    options += [
        "bundles.ours.resource=bundle.tar.gz",
        f"{polling}.min_delay_seconds=1",
        f"{polling}.max_delay_seconds=1",
    ]
    try:
        with running_opa(empty, *(part for each in options for part in ("--set", each))) as address:
            reach = OpaReach(f"http://{address}{RULE}")
            until(lambda: ask(reach)[1].startswith(b'{"result":false'))
            (served / "bundle.tar.gz").write_bytes(bundle(ALLOWS))
            until(lambda: ask(reach)[1].startswith(b'{"result":true'))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
