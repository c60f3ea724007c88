"""The task service as its callers meet it: `authz task --server` over mTLS, against a server that also answers checks."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.server.test_serve import credentials
from tests.support.commands import Ended, authz
from tests.support.servers import Server, free_port, serve
from tests.support.world import DOMAIN, ENVOY, RESEARCH, SUPPORT, World

PORTAL = f"spiffe://{DOMAIN}/portal"
REVIEWER = f"spiffe://{DOMAIN}/reviewer"

POLICIES = f"""\
@id("portal-runs-tasks")
permit (principal == Agent::"{PORTAL}", action, resource in Dataset::"authz.tasks");

@id("agents-delegate")
permit (principal, action == Action::"authz.task.delegate", resource);

@id("agents-get-tokens")
permit (principal, action == Action::"authz.task.issue_token", resource);

@id("reviewers-approve")
permit (principal == Agent::"{REVIEWER}", action == Action::"authz.task.approve", resource);

@id("agents-would-approve")
permit (principal == Agent::"{SUPPORT}", action == Action::"authz.task.approve", resource);

@id("no-task-for-research-alone")
forbid (principal, action == Action::"authz.task.start", resource)
when {{ context.arguments has agents && context.arguments.agents.contains("{RESEARCH}") }};

@id("writes-need-review")
@step_up("review")
forbid (principal, action == Action::"crm.contact.write", resource);
"""


@dataclass(frozen=True)
class Mesh:
    """A server with its task service, and workloads with their SVIDs on disk."""

    world: World
    server: Server
    tasks_address: str

    def task(self, who: str, command: str, *arguments: object) -> Ended:
        """`authz task COMMAND --server ...` as this workload."""
        return authz("task", command, *self.options(who), *arguments)

    def options(self, who: str) -> list[object]:
        """How a workload reaches the service."""
        name = who.rpartition("/")[2]
        folder = self.world.folder
        self.world.svid(who).write(folder, name)
        files = ["--certificate", folder / f"{name}.pem", "--key", folder / f"{name}.key"]
        return ["--server", self.tasks_address, *files, "--bundle", folder / "bundle.pem"]

    def start(self, who: str = PORTAL, *more: str, agent: str = SUPPORT) -> dict[str, Any]:
        """A task of the agent's, as `authz task start --json` prints it."""
        what = ["--owner", "alice", "--purpose", "ticket 4711", "--grant", "read,write:crm.contacts"]
        limits = ["--grant", "delegate:authz.tasks", "--ceiling", "internal", "--expires-in", "15m"]
        ended = self.task(who, "start", "--agent", agent, *what, *limits, "--json", *more)
        assert ended.status == 0, ended.err
        document: dict[str, Any] = json.loads(ended.out)
        return document

    def hop(self, headers: dict[str, str], *, agent: str = SUPPORT, method: str = "GET") -> str:
        """How the server decides a hop: `allow`, or the reason."""
        response = self.server.check(self.world.check(None, agent=agent, headers=headers, method=method))
        if response.status.code == 0:
            return "allow"
        reason: str = response.dynamic_metadata.fields["reason"].string_value
        return reason


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """One server for all tests: tasks are made per test."""
    port, tasks_port = free_port(), free_port()
    folder = tmp_path_factory.mktemp("tasks")
    tasks = {
        "sqlite_file": "tasks.db",
        "carriers": ["handle", "token"],
        "token": {"trust_domain": DOMAIN, "keys_file": "token-keys.json"},
        "service": {"listen": f"127.0.0.1:{tasks_port}", "max_depth": 2},
    }
    world = World.guarded(folder, server={"listen": f"127.0.0.1:{port}"}, tasks=tasks)
    (folder / "policies" / "tasks.cedar").write_text(POLICIES)
    with serve(world.config_file, f"localhost:{port}", credentials(world, world.svid(ENVOY))) as running:
        yield Mesh(world, running, f"localhost:{tasks_port}")


def handle(task: dict[str, Any]) -> dict[str, str]:
    """The header that names a task by its id."""
    return {"x-task-id": task["id"]}


def test_a_task_is_started_used_delegated_and_ended(mesh: Mesh) -> None:
    """The whole life of an errand: each agent does what its task covers, and the end of the first ends the second."""
    task = mesh.start()
    assert mesh.hop(handle(task)) == "allow"
    assert mesh.hop({"txn-token": task["token"]}) == "allow"
    narrowed = ["--grant", "read:crm.contacts", "--ceiling", "internal", "--expires-in", "5m", "--json"]
    delegated = mesh.task(SUPPORT, "delegate", task["id"], "--agent", RESEARCH, "--purpose", "look", *narrowed)
    assert delegated.status == 0, delegated.err
    child = json.loads(delegated.out)
    assert (child["delegated_by"], child["owner"], child["started_by"]) == (task["id"], "alice", SUPPORT)
    assert mesh.hop({"txn-token": child["token"]}, agent=RESEARCH) == "allow"
    assert mesh.hop(handle(child), agent=RESEARCH, method="PUT") == "action_not_granted"
    assert mesh.task(PORTAL, "end", task["id"]).status == 0
    assert mesh.hop(handle(child), agent=RESEARCH) == "task_ended"
    assert mesh.hop({"txn-token": child["token"]}, agent=RESEARCH) == "task_ended"


def test_a_suspended_task_stands_still_with_all_below_it(mesh: Mesh) -> None:
    """Suspending denies the next hop, resuming allows the one after."""
    task = mesh.start()
    assert mesh.task(PORTAL, "suspend", task["id"]).out == f"{task['id']} suspended\n"
    assert mesh.hop(handle(task)) == "task_suspended"
    assert mesh.task(PORTAL, "resume", task["id"]).status == 0
    assert mesh.hop(handle(task)) == "allow"


@pytest.mark.parametrize(
    ("who", "command", "reason"),
    [
        (SUPPORT, "end", "policy_permits_nothing"),
        (RESEARCH, "suspend", "policy_permits_nothing"),
        (RESEARCH, "token", "task_of_another_agent"),
    ],
)
def test_who_may_not_is_told_so(mesh: Mesh, who: str, command: str, reason: str) -> None:
    """A caller without a policy in its favour is refused with the reason and the decision's id, and nothing changes."""
    task = mesh.start()
    ended = mesh.task(who, command, task["id"])
    assert ended.status == 1
    assert f"({reason}, decision " in ended.err
    assert mesh.hop(handle(task)) == "allow"


def test_policies_see_for_whom_a_task_is(mesh: Mesh) -> None:
    """Who may start tasks may still be forbidden to start them for some agents."""
    arguments = ["--agent", RESEARCH, "--owner", "alice", "--purpose", "p", "--grant", "read:crm"]
    ended = mesh.task(PORTAL, "start", *arguments, "--ceiling", "internal", "--expires-in", "1m")
    assert (ended.status, "policy_forbids" in ended.err) == (1, True)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (["--grant", "delete:crm.contacts"], "delegation_widens"),
        (["--grant", "read:crm"], "delegation_widens"),
        (["--grant", "read:crm.contacts", "--ceiling", "restricted"], "delegation_widens"),
        (["--grant", "read:crm.contacts", "--expires-in", "16m"], "delegation_widens"),
        (["--grant", "read:crm.contacts", "--agent", SUPPORT], "delegation_loops"),
    ],
)
def test_a_delegation_only_narrows(mesh: Mesh, changes: list[str], reason: str) -> None:
    """Wider grants, a higher ceiling, a longer life and an agent from above are refused when the child is made."""
    task = mesh.start()
    plain = ["--agent", RESEARCH, "--purpose", "look", "--ceiling", "internal", "--expires-in", "5m"]
    ended = mesh.task(SUPPORT, "delegate", task["id"], *plain, *changes)
    assert (ended.status, f"({reason}," in ended.err) == (1, True), ended.err


def test_an_approval_lets_one_hop_go_on(mesh: Mesh) -> None:
    """What needs a review is stopped, approved by someone else, allowed once, and stopped again."""
    task = mesh.start()
    assert mesh.hop(handle(task), method="PUT") == "step_up_required"
    (asked,) = json.loads(mesh.task(PORTAL, "get", task["id"], "--json").out)["access_requests"]
    approve = [task["id"], asked["digest"], "--kind", "review"]
    own = mesh.task(SUPPORT, "approve", *approve)
    assert (own.status, "approval_of_ones_own" in own.err) == (1, True)
    unasked = mesh.task(REVIEWER, "approve", task["id"], asked["digest"], "--kind", "other")
    assert (unasked.status, "approval_unasked" in unasked.err) == (1, True)
    assert mesh.task(REVIEWER, "approve", *approve).status == 0
    assert mesh.hop(handle(task), method="PUT") == "allow"
    assert mesh.hop(handle(task), method="PUT") == "step_up_required"
    assert mesh.task(PORTAL, "deny", task["id"], asked["digest"]).status == 0
    assert mesh.hop(handle(task), method="PUT") == "approval_denied"


def test_a_budget_is_spent_hop_by_hop(mesh: Mesh) -> None:
    """After as many allowed hops as the task may have, the next is refused."""
    task = mesh.start(PORTAL, "--hops", "3")
    assert [mesh.hop(handle(task)) for _ in range(4)] == ["allow", "allow", "allow", "budget_exhausted"]


def test_a_token_is_for_its_agent_and_its_task(mesh: Mesh) -> None:
    """Another agent cannot use it, and it does not go with the handle of another task."""
    task, other = mesh.start(), mesh.start()
    assert mesh.hop({"txn-token": task["token"]}, agent=RESEARCH) == "token_of_another_agent"
    assert mesh.hop({"txn-token": task["token"], **handle(other)}) == "token_of_another_task"
    assert mesh.hop({"txn-token": task["token"], **handle(task)}) == "allow"
    assert mesh.hop({"txn-token": f"{task['token']},{task['token']}"}) == "token_repeated"


def test_the_keys_of_tokens_are_public(mesh: Mesh) -> None:
    """Whoever verifies tokens gets the public keys, and no private part of them."""
    keys = json.loads(mesh.task(RESEARCH, "keys").out)["keys"]
    assert keys
    assert all("d" not in key and key["kty"] == "EC" for key in keys)


def test_a_caller_without_a_certificate_is_nobody(mesh: Mesh) -> None:
    """The service shakes no hand with a client that shows no SVID."""
    ended = authz("task", "list", "--server", mesh.tasks_address)
    assert (ended.status, "--certificate" in ended.err) == (2, True)


def test_a_watcher_hears_of_changes(mesh: Mesh) -> None:
    """`authz task watch` tells the task as it is, and again when it ends."""
    task = mesh.start()
    command = [sys.executable, "-m", "authz", "task", "watch", *map(str, mesh.options(PORTAL)), "--json", task["id"]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watcher:
        try:
            assert watcher.stdout is not None
            assert json.loads(watcher.stdout.readline())["state"] == "active"
            assert mesh.task(PORTAL, "end", task["id"]).status == 0
            assert json.loads(watcher.stdout.readline())["state"] == "ended"
        finally:
            watcher.terminate()


def test_changes_are_audited(mesh: Mesh) -> None:
    """Each demand leaves a line in the audit log: who, what, about which task, and the answer."""
    task = mesh.start()
    line = mesh.world.last_record()
    assert (line["agent"], line["action"], line["task"]) == (PORTAL, "authz.task.start", task["id"])
    assert line["decision"] == "allow"


def test_private_keys_are_the_owners_alone(mesh: Mesh) -> None:
    """The file of token keys can be read by nobody else, and no key stands in the server's log."""
    file = Path(mesh.world.folder) / "token-keys.json"
    assert file.stat().st_mode & 0o077 == 0
    secret = json.loads(file.read_text())["keys"][0]["d"]
    assert secret not in mesh.server.log()
