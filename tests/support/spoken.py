"""Services that speak MCP, A2A and others, behind a real Envoy that asks the real server."""

import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from authz.core.hop import Sensitivity
from authz.core.task import Grant, Task
from authz.demo.envoys import LOOPBACK, Address, Envoy
from tests.support.envoy import SERVICE_ID, Yard, hardened, settled
from tests.support.servers import free_port, serve
from tests.support.world import SUPPORT, World

SPEAKER_HOST = "mail.example.org"
START_SECONDS = 30


@dataclass
class Reached:
    """An ASGI application that counts what reaches the one that it wraps: method, path as it was sent, and body."""

    inner: Any
    requests: list[tuple[str, str, bytes]] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI's own types
        """Pass on, and note."""
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        body = bytearray()

        async def noting() -> Any:  # noqa: ANN401  as above
            message = await receive()
            if message["type"] == "http.request":
                body.extend(message.get("body", b""))
            if message["type"] == "http.request" and not message.get("more_body"):
                self.requests.append((scope["method"], scope["raw_path"].decode("latin-1"), bytes(body)))
            return message

        await self.inner(scope, noting, send)


@contextmanager
def application(app: Any, address: Address) -> Iterator[None]:  # noqa: ANN401  any ASGI application
    """Serve the application on loopback until the block ends."""
    config = uvicorn.Config(app, LOOPBACK, address.port, log_level="warning", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="application")
    thread.start()
    try:
        deadline = time.monotonic() + START_SECONDS
        while not server.started:
            assert thread.is_alive(), "the application did not start"
            assert time.monotonic() < deadline, "the application did not start in time"
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join()


@dataclass(frozen=True)
class Speaker:
    """The application, the Envoy before it, and the world of the server that is asked."""

    yard: Yard
    world: World
    envoy: Envoy
    reached: Reached

    @property
    def url(self) -> str:
        """Where clients call."""
        return f"https://{self.envoy.door.host}:{self.envoy.door.port}"

    def task(self, *grants: str, **changes: object) -> Task:
        """A task of the support agent with these grants, up to confidential data."""
        granted = tuple(map(Grant.parse, grants))
        return self.world.start_task(**{"grants": granted, "ceiling": Sensitivity.CONFIDENTIAL, **changes})

    def headers(self, task: Task) -> dict[str, str]:
        """What every request of a client on this task carries."""
        return {"host": SPEAKER_HOST, "x-task-id": task.id}

    def tls(self) -> ssl.SSLContext:
        """How the support agent proves itself, and whom it believes."""
        context = ssl.create_default_context(cafile=str(self.yard.bundle_file))
        context.check_hostname = False  # SVIDs have no DNS names
        certificate, key = self.world.svid(SUPPORT).write(self.world.folder, "agent")
        context.load_cert_chain(certificate, key)
        return context

    def records(self, task: Task) -> list[Any]:
        """The lines of the audit log that are about the task."""
        lines = (self.world.folder / "audit.jsonl").read_text().splitlines()
        return [record for record in map(json.loads, lines) if record["task"] == task.id]


@contextmanager
def speaking(  # noqa: PLR0913  what is spoken, where, and under which rules
    yard: Yard,
    folder: Path,
    app: Any,  # noqa: ANN401  any ASGI application
    catalog: str,
    policies: str,
    *,
    normalizes_paths: bool = True,
    **settings: Mapping[str, object],
) -> Iterator[Speaker]:
    """The application behind an Envoy that asks a server with this catalog and these policies."""
    service, authz = Address(LOOPBACK, free_port()), Address(LOOPBACK, free_port())
    health = f"{LOOPBACK}:{free_port()}"
    listen = {"listen": f"{LOOPBACK}:{authz.port}", "health_listen": health, "envoys": [SERVICE_ID]}
    world = World.guarded(folder, ca=yard.ca, server={**listen, "stop_grace_seconds": 0}, **settings)
    (folder / "catalog.yaml").write_text(catalog)
    (folder / "policies" / "crm.cedar").write_text(policies)
    reached = Reached(app)
    with ExitStack() as stack:
        stack.enter_context(application(reached, service))
        stack.enter_context(serve(world.config_file, health))
        envoy = yard.envoy(service, authz, normalizes_paths=normalizes_paths)  # ended with the yard
        speaker = Speaker(yard, world, envoy, reached)
        caller = yard.caller(world.svid(SUPPORT))
        settled(caller, hardened(envoy, SPEAKER_HOST), "GET", "/unknown")  # until Envoy knows its authz
        yield speaker
