"""One trust domain run by SPIRE: registration entries in, a Workload API that attests processes out.

A server and an agent, both real, on loopback and in a folder. The agent proves its node by a join token, and knows a
workload by the user and the executable of the process that asks. What SPIRE is told to do, it is told by its own
command line.
"""

import json
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from authz.demo.children import Child, Command
from authz.demo.envoys import LOOPBACK
from authz.demo.spire_programs import SpirePrograms

_START_SECONDS = 60.0
_TOKEN_SECONDS = 600
_FETCH_SECONDS = 20
_SHORTEST_SVID_SECONDS = 15

_SERVER_CONFIGURATION = """\
server {{
    trust_domain = "{trust_domain}"
    bind_address = "{host}"
    bind_port = "{port}"
    socket_path = "{folder}/server.sock"
    data_dir = "{folder}/server"
    log_level = "INFO"
    ca_ttl = "24h"
    agent_ttl = "1h"
    default_x509_svid_ttl = "1h"
    # Twice a second and not every 5 seconds, so that the demo does not wait for what it has registered.
    experimental {{ cache_reload_interval = "500ms" }}
}}
plugins {{
    DataStore "sql" {{
        plugin_data {{
            database_type = "sqlite3"
            connection_string = "{folder}/server/datastore.sqlite3"
        }}
    }}
    KeyManager "disk" {{ plugin_data {{ keys_path = "{folder}/server/keys.json" }} }}
    NodeAttestor "join_token" {{ plugin_data {{}} }}
}}
"""

_AGENT_CONFIGURATION = """\
agent {{
    trust_domain = "{trust_domain}"
    server_address = "{host}"
    server_port = "{port}"
    trust_bundle_path = "{folder}/bootstrap.pem"
    join_token = "{join_token}"
    socket_path = "{folder}/agent.sock"
    data_dir = "{folder}/agent"
    log_level = "INFO"
    experimental {{ sync_interval = "1s" }}
}}
plugins {{
    # On disk, so that the agent can be started again: its token counts once, and then the SVID it has.
    KeyManager "disk" {{ plugin_data {{ directory = "{folder}/agent" }} }}
    NodeAttestor "join_token" {{ plugin_data {{}} }}
    # The digest of the executable would be taken anew for every caller, and an Envoy has 100 MB.
    WorkloadAttestor "unix" {{
        plugin_data {{
            discover_workload_path = true
            workload_size_limit = -1
        }}
    }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A registration entry: the processes of `program` are `spiffe_id`, and may know the trust domains named.

    SPIRE renews an SVID at half of its life, which begins ten seconds before it is issued.
    """

    spiffe_id: str
    program: Path
    svid_seconds: int
    federates_with: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.svid_seconds < _SHORTEST_SVID_SECONDS:
            raise ValueError(f"an SVID of {self.svid_seconds} s may expire before SPIRE renews it")


class SpireDomain:
    """A trust domain. Whoever makes one must `stop` it; the steps to a serving agent are taken in the order below."""

    def __init__(self, trust_domain: str, folder: Path, programs: SpirePrograms) -> None:
        """The folder is this domain's alone, absolute, and short: its path and a socket's name have 107 bytes."""
        self.trust_domain = trust_domain
        self._folder, self._programs = folder, programs
        self._port = _free_port()
        self._parent_id = ""
        self._children: dict[str, Child] = {}
        for name in ("server", "agent"):
            (folder / name).mkdir(mode=0o700)

    @property
    def socket(self) -> Path:
        """Where the agent serves the Workload API and Envoy's SDS."""
        return self._folder / "agent.sock"

    @property
    def logs(self) -> tuple[Path, ...]:
        """What server and agent say."""
        return tuple(child.log_file for child in self._children.values())

    def start_server(self) -> None:
        """Start it, and return at once; raises Unavailable."""
        text = _SERVER_CONFIGURATION.format(**self._values())
        self._start("server", self._programs.server, text)

    def wait_for_server(self) -> None:
        """Return once the server takes commands; raises Unavailable."""
        self._children["server"].wait_until(lambda: _accepts(self._folder / "server.sock"), _START_SECONDS)

    def bundle(self) -> str:
        """The trust bundle, as a SPIFFE bundle document; raises Unavailable."""
        return self._server("bundle", "show", "-format", "spiffe")

    def federate_with(self, other: "SpireDomain") -> None:
        """Keep the other's trust bundle of now, under its own name; raises Unavailable."""
        file = self._folder / f"{other.trust_domain}.json"
        file.write_text(other.bundle(), encoding="utf-8")
        options = ["-format", "spiffe", "-id", f"spiffe://{other.trust_domain}", "-path", str(file)]
        self._server("bundle", "set", *options)

    def admit_agent(self) -> None:
        """Write the agent's configuration, with a join token that it can use once; raises Unavailable."""
        printed = self._server("token", "generate", "-ttl", str(_TOKEN_SECONDS), "-output", "json")
        join_token = json.loads(printed)["value"]
        self._parent_id = f"spiffe://{self.trust_domain}/spire/agent/join_token/{join_token}"
        bootstrap = self._server("bundle", "show", "-format", "pem")
        (self._folder / "bootstrap.pem").write_text(bootstrap, encoding="utf-8")
        self._agent_configuration = _AGENT_CONFIGURATION.format(**self._values(), join_token=join_token)

    def register(self, workloads: Iterable[Workload]) -> None:
        """Create entries for processes on the admitted agent's node, all in one call; raises Unavailable."""
        file = self._folder / "entries.json"
        entries = {"entries": [self._entry(workload) for workload in workloads]}
        file.write_text(json.dumps(entries), encoding="utf-8")
        self._server("entry", "create", "-data", str(file))

    def start_agent(self) -> None:
        """Start it, and return at once; raises Unavailable."""
        self._start("agent", self._programs.agent, self._agent_configuration)

    def wait_for_agent(self) -> None:
        """Return once the agent has proven its node and serves workloads; raises Unavailable."""
        self._children["agent"].wait_until(lambda: _accepts(self.socket), _START_SECONDS)

    def stop_agent(self) -> None:
        """End the agent alone; `start_agent` brings it back with what it had."""
        self._children["agent"].stop()

    def fetch(self, program: Path, folder: Path) -> None:
        """Let a program that was made of the agent's fetch its own SVID into files; raises Unavailable.

        They are `svid.0.pem`, `svid.0.key`, `bundle.0.pem`, and `federated_bundle.0.N.pem` in no order of the names.
        """
        words = [str(program), "api", "fetch", "x509", "-silent", "-socketPath", str(self.socket)]
        words += ["-write", str(folder), "-timeout", f"{_FETCH_SECONDS}s"]
        _run(f"{program.name}: fetch x509", words)

    def prepare_authority(self) -> str:
        """Put a new authority into the bundle, which signs nothing yet; returns its id. Raises Unavailable."""
        prepared = json.loads(self._server("localauthority", "x509", "prepare", "-output", "json"))
        return str(prepared["prepared_authority"]["authority_id"])

    def activate_authority(self, authority_id: str) -> None:
        """Let the prepared authority sign from now on; raises Unavailable."""
        self._server("localauthority", "x509", "activate", "-authorityID", authority_id)

    def stop(self) -> None:
        """End agent and server. Stopping twice is stopping once."""
        for child in reversed(self._children.values()):
            child.stop()

    def _entry(self, workload: Workload) -> Mapping[str, object]:
        selectors = (f"uid:{os.getuid()}", f"path:{workload.program}")
        return {
            "spiffe_id": workload.spiffe_id,
            "parent_id": self._parent_id,
            "selectors": [{"type": "unix", "value": value} for value in selectors],
            "x509_svid_ttl": workload.svid_seconds,
            "federates_with": [f"spiffe://{name}" for name in workload.federates_with],
        }

    def _values(self) -> Mapping[str, object]:
        return {"trust_domain": self.trust_domain, "host": LOOPBACK, "port": self._port, "folder": self._folder}

    def _start(self, name: str, program: Path, configuration: str) -> None:
        file = self._folder / f"{name}.conf"
        file.touch(mode=0o600)  # the agent's holds its join token
        file.write_text(configuration, encoding="utf-8")
        command: list[str | Path] = [program, "run", "-config", file]
        title = f"{program.name} of {self.trust_domain}"
        self._children[name] = Child(title, command, self._folder / f"{name}.log")

    def _server(self, *words: str) -> str:
        command = [str(self._programs.server), *words, "-socketPath", str(self._folder / "server.sock")]
        return _run(f"spire-server {' '.join(words[:2])}", command)


def _run(name: str, words: Sequence[str]) -> str:
    """What the command printed; it is ended where we are interrupted. Raises Unavailable."""
    command = Command(name, words, os.environ)
    try:
        return command.output()
    finally:
        command.stop()


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _free_port() -> int:
    """A port that is free now. SPIRE's server tells nobody which port it was given, so it cannot be left to choose."""
    with socket.create_server((LOOPBACK, 0)) as opened:
        return int(opened.getsockname()[1])
