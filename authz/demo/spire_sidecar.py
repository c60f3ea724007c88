"""The sidecar of `envoy/spire.yaml` between given addresses: its certificate and bundles come from an agent, by SDS."""

import copy
from dataclasses import dataclass
from pathlib import Path

import yaml

from authz.demo.children import Child
from authz.demo.envoys import LOOPBACK, Address, Envoy, Tree, set_endpoint, set_timeouts, socket_address

_HERE = Path(__file__).parent
_CONFIGURATIONS = (_HERE / "envoy", _HERE.parents[1] / "envoy")  # in an installed wheel, in a checkout


@dataclass(frozen=True, slots=True, kw_only=True)
class SpireSidecar:
    """What an Envoy stands between, and the Workload API that tells it who it is."""

    name: str
    program: Path  # the Envoy to run, under the path that its registration entry names
    service: Address
    authz: Address
    workload_api: Path
    check_timeout_seconds: float | None = None  # for busy machines; None leaves the file's own


def load_spire_configuration() -> Tree:
    """The tree of the hardened sidecar configuration by SDS."""
    file = next(folder / "spire.yaml" for folder in _CONFIGURATIONS if folder.is_dir())
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def configure_spire(hardened: Tree, sidecar: SpireSidecar) -> Tree:
    """The tree with the sidecar's values in their places. Envoy chooses the ports that it listens on."""
    tree = copy.deepcopy(hardened)
    tree["admin"]["address"] = socket_address(Address(LOOPBACK, 0))
    (door,) = tree["static_resources"]["listeners"]
    door["address"] = socket_address(Address(LOOPBACK, 0))
    manager = door["filter_chains"][0]["filters"][0]["typed_config"]
    manager["tracing"]["provider"]["typed_config"]["service_name"] = f"envoy-{sidecar.name}"
    clusters = {cluster["name"]: cluster for cluster in tree["static_resources"]["clusters"]}
    if sidecar.check_timeout_seconds:
        grpc_service = manager["http_filters"][0]["typed_config"]["grpc_service"]
        set_timeouts(grpc_service, clusters["authz"], sidecar.check_timeout_seconds)
    set_endpoint(clusters["service"], socket_address(sidecar.service))
    set_endpoint(clusters["authz"], socket_address(sidecar.authz))
    set_endpoint(clusters["spire_agent"], {"pipe": {"path": str(sidecar.workload_api)}})
    return tree


class SpireEnvoy(Envoy):
    """A started Envoy, which is live once the agent has told it who it is. Whoever makes one must `stop` it."""

    def __init__(self, sidecar: SpireSidecar, folder: Path) -> None:
        """Start it; its configuration, admin address and log are files in the folder. Raises Unavailable."""
        self.name = sidecar.name
        configuration_file = folder / f"envoy-{sidecar.name}.yaml"
        tree = configure_spire(load_spire_configuration(), sidecar)
        configuration_file.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
        self._admin_file = folder / f"envoy-{sidecar.name}.admin"
        self.log_file = folder / f"envoy-{sidecar.name}.log"
        command: list[str | Path] = [sidecar.program, "--config-path", configuration_file]
        command += ["--admin-address-path", self._admin_file, "--concurrency", "1", "--disable-hot-restart"]
        command += ["--file-flush-interval-msec", "100", "--log-level", "warning"]
        self._child = Child(f"Envoy of {sidecar.name}", command, self.log_file)
        self._doors = {}
