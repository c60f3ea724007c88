"""A server process whose hops and tasks rules in Rego decide: no Cedar and no second program."""

import os
import signal
from pathlib import Path

from tests.server.test_serve import credentials
from tests.server.test_task_service import PORTAL, Mesh, handle
from tests.support.commands import authz_process
from tests.support.rego import DENIES, RULES, policy, rego_world, write_rules
from tests.support.servers import free_port, serve, until
from tests.support.world import ENVOY, World

OF_TASKS = f"""package authz

permits contains "portal-runs-tasks" if {{
    input.agent.id == "{PORTAL}"
    input.operation.service == "authz"
}}
"""


def plain(address: str) -> dict[str, object]:
    """A server section in plain text."""
    return {"listen": address, "transport": "plaintext", "drain_seconds": 0, "stop_grace_seconds": 1}


def test_a_server_allows_denies_and_follows_its_files(tmp_path: Path) -> None:
    """`authz serve` with policy.engine: rego decides by the rules, and by others after a SIGHUP."""
    address = f"127.0.0.1:{free_port()}"
    write_rules(tmp_path)
    world = World(tmp_path, settings={"policy": policy(), "server": plain(address)})
    with serve(world.config_file, address) as running:
        task = world.start_task()
        assert running.check(world.check(task.id)).status.code == 0
        assert running.check(world.check(task.id, agent=PORTAL)).status.code != 0
        (tmp_path / "rules" / "crm.rego").write_text(DENIES)
        os.kill(running.process.pid, signal.SIGHUP)
        until(lambda: running.check(world.check(task.id)).status.code != 0)
        (tmp_path / "rules" / "crm.rego").write_text(RULES)
        os.kill(running.process.pid, signal.SIGHUP)
        until(lambda: running.check(world.check(task.id)).status.code == 0)
        log = running.log()
    assert "unsendable" not in log
    assert "Traceback" not in log


def test_the_task_service_asks_the_rules_too(tmp_path: Path) -> None:
    """Tasks are started and ended by whom the rules permit that, and by nobody else."""
    port, tasks_port = free_port(), free_port()
    tasks = {"sqlite_file": "tasks.db", "service": {"listen": f"127.0.0.1:{tasks_port}", "max_depth": 2}}
    write_rules(tmp_path, OF_TASKS)
    world = World.guarded(tmp_path, server={"listen": f"127.0.0.1:{port}"}, tasks=tasks, policy=policy())
    with serve(world.config_file, f"localhost:{port}", credentials(world, world.svid(ENVOY))) as running:
        mesh = Mesh(world, running, f"localhost:{tasks_port}")
        task = mesh.start()
        assert mesh.hop(handle(task)) == "allow"
        assert "policy_permits_nothing" in mesh.task(ENVOY, "end", task["id"]).err
        assert mesh.task(PORTAL, "end", task["id"]).status == 0
        assert mesh.hop(handle(task)) == "task_ended"


def test_a_server_with_rules_that_cannot_be_used_does_not_start(tmp_path: Path) -> None:
    """It says the file, the line and what to do; `authz config check` does too."""
    world = rego_world(tmp_path)
    (tmp_path / "rules" / "crm.rego").write_text(RULES.replace("count(permits)", "walk(permits)"))
    for command in ("serve", "config check"):
        ended = authz_process(*command.split(), "--config", world.config_file)
        assert ended.status == 2
        assert "rules/crm.rego:6:5: walk is not a function that is evaluated in process" in ended.err
