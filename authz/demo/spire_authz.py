"""The real authz over SPIRE: `authz serve`, which proves itself and knows its trust bundles by the Workload API."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from authz.demo.children import Child
from authz.demo.server import AuthzServer, authz_command, environment, free_addresses, started_id

_FILES = Path(__file__).parent / "files"


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """A task to start, for an agent of any trust domain."""

    agent_id: str
    grant: str
    purpose: str = "answer a customer"

    @property
    def words(self) -> tuple[str, ...]:
        """The options of `authz task start`."""
        who = ("--owner", "alice@example.org", "--agent", self.agent_id, "--purpose", self.purpose)
        return (*who, "--grant", self.grant, "--ceiling", "internal", "--expires-in", "1h")


class SpireAuthz(AuthzServer):
    """A started server, which listens once SPIRE has told it who it is. Whoever makes one must `stop` it."""

    def __init__(self, folder: Path, workload_api: Path) -> None:
        """Write the configuration, catalog and policies, and start serving. Raises Unavailable."""
        self.config_file = folder / "authz.yaml"
        self.audit_file = folder / "audit.jsonl"
        self.address, self._health = free_addresses(2)
        shutil.copy(_FILES / "catalog.yaml", folder)
        shutil.copytree(_FILES / "policies", folder / "policies")
        shutil.copy(_FILES / "spire" / "partners.cedar", folder / "policies")
        settings = yaml.safe_load((_FILES / "spire" / "authz.yaml").read_text(encoding="utf-8"))
        for key, address in {"listen": self.address, "health_listen": self._health}.items():
            settings["server"][key] = f"{address.host}:{address.port}"
        settings["identity"]["workload_api"]["socket"] = f"unix://{workload_api}"
        self.config_file.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        command = [*authz_command("serve"), "--config", str(self.config_file)]
        self._child = Child("authz", command, folder / "authz.log", environment())

    def start_errand(self, errand: Errand) -> str:
        """Start a task by the command line, and return its id; raises Unavailable."""
        return started_id(self._command("task", "start", *errand.words, "--json").output())
