"""Commands to paste into another terminal while the mesh runs: curl through the Envoys, and `authz task`."""

import shlex
import sys

from authz.demo.hops import TASKS
from authz.demo.mesh import Mesh


def things_to_try(mesh: Mesh) -> str:
    """The text, with this mesh's ports, files and tasks in it."""
    lookup = mesh.task_ids["lookup"]
    config = ["--config", str(mesh.authz.config_file)]
    authz = [sys.executable, "-m", "authz"]
    steps = [
        ("the research agent reads a contact, and may", curl(mesh, "research", "/contacts/7", lookup)),
        ("it deletes one, and may not", [*curl(mesh, "research", "/contacts/7", lookup), "-X", "DELETE"]),
        ("another agent does not get in on that task", curl(mesh, "payroll", "/contacts/7", lookup)),
        ("what was decided, and why", ["tail", "-n", "3", str(mesh.authz.audit_file)]),
        ("the task ends; then try the first command again", [*authz, "task", "end", *config, lookup]),
        ("the tasks there are", [*authz, "task", "list", *config]),
        ("a task of your own", [*authz, "task", "start", *config, *TASKS["lookup"].options]),
    ]
    told = [f"# {what}\n{shlex.join(command)}\n" for what, command in steps]
    return "\n".join(["\nThe mesh is up until Ctrl-C. In another terminal:\n", *told])


def curl(mesh: Mesh, who: str, path: str, task_id: str) -> list[str]:
    """A curl command that asks the crm tool through its Envoy; curl verifies the DNS name, not the SPIFFE ID."""
    remote, caller = mesh.remote("crm"), mesh.caller(who)
    files = [("--cacert", caller.bundle_file)]
    if caller.credentials:
        files += [("--cert", caller.credentials.certificate_file), ("--key", caller.credentials.private_key_file)]
    command = ["curl", "-sS", *(str(word) for option in files for word in option)]
    command += ["--resolve", f"{remote.host}:{remote.door.port}:{remote.door.host}"]
    return [*command, "-H", f"x-task-id: {task_id}", f"https://{remote.host}:{remote.door.port}{path}"]
