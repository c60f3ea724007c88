"""A whole mesh in tests: the real server, a real Envoy that asks it, a service that counts what reaches it."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from authz.core.reasons import Reason
from authz.core.task import Task
from authz.demo.agents import Answered, Caller, Remote
from authz.demo.ca import Certificate
from authz.demo.envoys import Address, Envoy
from authz.demo.tools import Reply, Tool
from tests.support.envoy import SERVICE_ID, Yard, hardened, settled
from tests.support.servers import free_port, serve
from tests.support.world import HOST, NOTHING, SUPPORT, World

FAILING = """
@id("fails-on-exports")
forbid (principal, action == Action::"crm.export", resource) when { context.sensitivity * 9223372036854775807 > 0 };
"""


@dataclass(frozen=True)
class Hop:
    """A hop that would be allowed but for what is changed here."""

    method: str = "GET"
    path: str = "/contacts/42"
    host: str = HOST
    headers: tuple[tuple[str, str], ...] = (("x-task-id", "{task}"),)
    agent: str = SUPPORT
    task: dict[str, object] = field(default_factory=dict)


def respond(_received: object) -> Reply:
    """What the service behind Envoy says."""
    return 200, {"reached": True}


@dataclass(frozen=True)
class Mesh:
    """A server, an Envoy before a service that counts what reaches it, and whoever wants to call."""

    yard: Yard
    world: World
    envoy: Envoy
    service: Tool

    def agent(self, uri: str) -> Caller:
        """An agent with a correct SVID."""
        return self.yard.caller(self.world.svid(uri))

    def log(self) -> str:
        """What the server wrote to standard error."""
        return (self.world.folder / "serve.log").read_text()

    def must_deny(self, reason: Reason, caller: Caller, remote: Remote, hop: Hop, task: Task) -> None:
        """The hop is answered with the reason's own status, and does not arrive."""
        before = len(self.service.received)
        headers = [(name, value.format(task=task.id)) for name, value in hop.headers]
        outcome = caller.call(remote, hop.method, hop.path, headers)
        assert isinstance(outcome, Answered), outcome
        assert (outcome.status, outcome.reason) == (reason.http_status, reason.id)
        assert len(self.service.received) == before


class running:  # noqa: N801  a context manager, used like a function
    """A mesh that lives until the block ends; sections of the configuration may be changed, as in `World.guarded`."""

    def __init__(  # noqa: PLR0913  what a mesh is made of
        self,
        yard: Yard,
        folder: Path,
        *,
        failure_mode_allow: bool = False,
        asker: Certificate | None = None,
        server: Mapping[str, object] = NOTHING,
        identity: Mapping[str, object] = NOTHING,
        **settings: object,
    ) -> None:
        """`asker` is what the Envoy shows, where it is not the SVID that is on the allow-list."""
        self._yard, self._mode, self._asker = yard, failure_mode_allow, asker
        self._address = Address("127.0.0.1", free_port())
        health = f"127.0.0.1:{free_port()}"
        listen = {"listen": f"127.0.0.1:{self._address.port}", "health_listen": health, "envoys": [SERVICE_ID]}
        section = {**listen, "stop_grace_seconds": 0, **server}
        self._world = World.guarded(folder, ca=yard.ca, server=section, identity=identity, **settings)
        with (folder / "policies" / "crm.cedar").open("a") as policies:
            policies.write(FAILING)
        self._serving = serve(self._world.config_file, health)
        self._stack = ExitStack()

    def __enter__(self) -> Mesh:
        with self._stack:  # what was started is stopped, should the next not start
            service = self._stack.enter_context(Tool("service", respond))
            self._stack.enter_context(self._serving)
            envoy = self._yard.envoy(
                service.address, self._address, failure_mode_allow=self._mode, careless=True, asker=self._asker
            )
            mesh = Mesh(self._yard, self._world, envoy, service)
            settled(mesh.agent(SUPPORT), hardened(envoy, HOST), "GET", "/contacts/42")  # until Envoy knows its authz
            self._stack = self._stack.pop_all()
        return mesh

    def __exit__(self, *exception: object) -> None:
        self._stack.close()
