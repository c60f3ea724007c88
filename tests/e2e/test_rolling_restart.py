"""Two servers behind one Envoy are restarted in turn while agents call: no hop is lost, and none is let through."""

import copy
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from authz.demo import envoys
from authz.demo.agents import Answered
from authz.demo.envoys import Address, Sidecar, Tree
from authz.demo.tools import Tool
from tests.support.envoy import SERVICE_ID, Yard, hardened, yard
from tests.support.mesh import respond
from tests.support.servers import Server, free_port, serve
from tests.support.world import HOST, SUPPORT, World

__all__ = ["yard"]  # the fixture

CALLERS = 3
SETTLING_SECONDS = 3.0  # until Envoy has seen that a server is back: two health checks


class Replica:
    """One of the servers: its configuration, and its present process."""

    def __init__(self, world: World, name: str, stack: ExitStack) -> None:
        self.port, self._health, self._stack = free_port(), f"127.0.0.1:{free_port()}", stack
        settings = yaml.safe_load(world.config_file.read_text())
        settings["server"] |= {"listen": f"127.0.0.1:{self.port}", "health_listen": self._health}
        settings["audit"]["file"] = f"{name}.jsonl"
        self._config_file = world.folder / f"{name}.yaml"
        self._config_file.write_text(yaml.safe_dump(settings))
        self.start()

    def start(self) -> None:
        """Let it serve."""
        self.server: Server = self._stack.enter_context(serve(self._config_file, self._health))

    def stop(self) -> None:
        """Tell it to stop, and wait until it has."""
        self.server.process.send_signal(signal.SIGTERM)
        assert self.server.process.wait(timeout=60) == 0


def with_second(configure: Callable[[Tree, Sidecar], Tree], port: int) -> Callable[[Tree, Sidecar], Tree]:
    """As the sidecar is configured, with a second address of authz."""

    def configured(hardened_tree: Tree, sidecar: Sidecar) -> Tree:
        tree = configure(hardened_tree, sidecar)
        (cluster,) = (each for each in tree["static_resources"]["clusters"] if each["name"] == "authz")
        endpoints = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
        second = copy.deepcopy(endpoints[0])
        second["endpoint"]["address"] = envoys.socket_address(Address("127.0.0.1", port))
        endpoints.append(second)
        return tree

    return configured


@pytest.mark.parametrize("lane", ["fast", "portable"])
def test_a_rolling_restart_loses_no_hop(yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lane: str) -> None:
    """SIGTERM to one server after the other, each started anew before the next: every hop is answered with 200."""
    server = {"envoys": [SERVICE_ID], "drain_seconds": 5, "lane": lane}
    world = World.guarded(tmp_path, ca=yard.ca, server=server)
    with ExitStack() as stack:
        service = stack.enter_context(Tool("service", respond))
        one, two = (Replica(world, name, stack) for name in ("one", "two"))
        monkeypatch.setattr(envoys, "configure", with_second(envoys.configure, two.port))
        envoy = yard.envoy(service.address, Address("127.0.0.1", one.port))
        agent, remote = yard.caller(world.svid(SUPPORT)), hardened(envoy, HOST)
        headers = [("x-task-id", world.start_task().id)]
        agent.call_patiently(remote, "GET", "/contacts/42", headers)
        time.sleep(SETTLING_SECONDS)
        before, leave = len(service.received), threading.Event()

        def keep_calling() -> Counter[object]:
            told = Counter[object]()
            while not leave.is_set():
                outcome = agent.call(remote, "GET", "/contacts/42", headers)
                told[outcome.status if isinstance(outcome, Answered) else outcome] += 1
            return told

        with ThreadPoolExecutor(CALLERS) as pool:
            callers = [pool.submit(keep_calling) for _ in range(CALLERS)]
            for replica in (one, two):
                replica.stop()
                replica.start()
                time.sleep(SETTLING_SECONDS)
            leave.set()
            told = sum((caller.result() for caller in callers), Counter[object]())
        assert set(told) == {200}, told
        assert len(service.received) - before == told[200] > 100
        assert f"checks take the {lane} lane" in one.server.log()
