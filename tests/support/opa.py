"""A real OPA: built by `make opa`, or on the PATH."""

import asyncio
import contextlib
import http.client
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from authz.core.record import Record
from authz.policy.opa import OpaPolicy
from authz.server.checks import Checks
from authz.wire.encode import FALLBACK
from tests.server.test_checks import Kept
from tests.support.servers import free_port, until
from tests.support.world import World


def opa_program() -> str:
    """The program; skips where there is none, unless AUTHZ_OPA says that there must be."""
    cache = os.environ.get("AUTHZ_CACHE") or f"{os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'}/authz"
    found = shutil.which("opa", path=f"{cache}/opa/bin") or shutil.which("opa")
    if found is None:
        if os.environ.get("AUTHZ_OPA"):
            pytest.fail("there is no opa, though AUTHZ_OPA says that there is one")
        pytest.skip("there is no opa: make opa builds it")
    return found


@contextmanager
def running_opa(folder: Path, *options: str, socket_file: Path | None = None) -> Iterator[str]:
    """Its HOST:PORT while the block runs, with the policies of the folder; its log is the folder's file `log`."""
    port = free_port()
    address = f"127.0.0.1:{port}" if socket_file is None else f"unix://{socket_file}"
    command = [opa_program(), "run", "--server", "--disable-telemetry", "--addr", address, *options]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, str(folder)], stdout=log, stderr=log)
    try:
        until(lambda: _accepts(port) if socket_file is None else socket_file.exists())
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def put_policy(address: str, text: str) -> None:
    """Give OPA this module in place of the last one that was given so."""
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request("PUT", "/v1/policies/given", text.encode(), {"Content-Type": "text/plain"})
    response = connection.getresponse()
    assert response.status == 200, response.read()
    connection.close()


def answered(
    world: World, opa: OpaPolicy, messages: Sequence[bytes], timeout_seconds: float = 5.0
) -> list[tuple[bytes, Record]]:
    """What Envoy is told of these checks, all at once, and the records, with this engine; which is closed then."""
    running, kept = world.pipeline(), Kept()
    checks = Checks(
        replace(running.pipeline, policy=opa),
        running.store,
        running.store,
        kept,
        Kept(),
        fallback=FALLBACK,
        timeout_seconds=timeout_seconds,
        engine=opa,
    )

    async def run() -> list[bytes]:
        return list(await asyncio.gather(*(checks.answer(message, ()) for message in messages)))

    try:
        return list(zip(asyncio.run(run()), kept.records, strict=True))
    finally:
        opa.close()
        running.close()


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
