"""k8s/: what an operator applies, held against Kubernetes' schemas, itself and the server's settings."""

from copy import deepcopy
from pathlib import Path, PurePosixPath

import kubernetes_validate
import pytest

from authz import __version__
from authz.config import Settings
from authz.server.health import AUTHORIZATION
from tests.support.kustomize import Rendering, Resource

K8S = Path(__file__).parents[2] / "k8s"
KUBERNETES_VERSIONS = ("1.31", "1.37")  # the oldest that docs/kubernetes.md promises, and the newest with a schema here
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def test_every_file_is_listed(base: Rendering, persistent: Rendering) -> None:
    """No manifest, policy or configuration file lies about in k8s/ that kustomize does not read."""
    assert {path for path in K8S.rglob("*") if path.is_file()} == base.files | persistent.files


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_resources_are_what_kubernetes_accepts(rendering: Rendering, version: str) -> None:
    """Every resource is valid, without unknown fields, in the oldest and the newest Kubernetes that we name."""
    for resource in rendering.resources:
        kubernetes_validate.validate(resource, version, strict=True)


def test_the_schemas_refuse_a_misspelt_field(base: Rendering) -> None:
    """A field that Kubernetes does not know is found, however deep: the check above can fail."""
    deployment = deepcopy(base.only("Deployment"))
    deployment["spec"]["template"]["spec"]["containers"][0]["securityContext"]["readonlyRootFilesystem"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, KUBERNETES_VERSIONS[-1], strict=True)


def test_resources_name_no_namespace(rendering: Rendering) -> None:
    """The manifests go into whichever namespace the operator chooses."""
    assert [each["kind"] for each in rendering.resources if "namespace" in each["metadata"]] == []


def test_resources_carry_the_recommended_labels(rendering: Rendering) -> None:
    """Every resource says what it belongs to, in Kubernetes' own label names, and which version it is."""
    expected = {
        "app.kubernetes.io/name": "authz",
        "app.kubernetes.io/instance": "authz",
        "app.kubernetes.io/component": "authorization",
        "app.kubernetes.io/version": __version__,
    }
    holders = [*rendering.resources, rendering.only("Deployment")["spec"]["template"]]
    for holder in holders:
        assert expected == holder["metadata"]["labels"]


def test_the_image_is_this_version(rendering: Rendering) -> None:
    """The Deployment runs the version that it ships with, never a tag that moves."""
    assert f"authz:{__version__}" == rendering.container["image"]


def test_selectors_select_the_pods(rendering: Rendering) -> None:
    """Deployment, Service, NetworkPolicy, disruption budget and spreading all mean the server's pods."""
    deployment = rendering.only("Deployment")["spec"]
    selectors = [
        deployment["selector"]["matchLabels"],
        rendering.only("Service")["spec"]["selector"],
        rendering.only("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        rendering.only("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        *(each["labelSelector"]["matchLabels"] for each in rendering.pod["topologySpreadConstraints"]),
    ]
    assert selectors == [{"app.kubernetes.io/name": "authz", "app.kubernetes.io/instance": "authz"}] * 6
    assert selectors[0].items() <= deployment["template"]["metadata"]["labels"].items()


def test_the_service_leads_to_the_port_that_is_served(rendering: Rendering, settings: Settings) -> None:
    """Envoy reaches the checks' port through DNS names of the pods, not through one virtual address."""
    service = rendering.only("Service")["spec"]
    (port,) = service["ports"]
    assert service["clusterIP"] == "None"
    assert port_of(settings.server.listen) == container_port(rendering, port["targetPort"]) == port["port"]


def test_probes_ask_the_plain_text_health_port(rendering: Rendering, settings: Settings) -> None:
    """The kubelet can ask for health although it cannot do TLS, and the pod is ready only when checks are answered."""
    assert settings.server.health_listen
    health_port = port_of(settings.server.health_listen)
    assert health_port == container_port(rendering, "grpc-health")
    assert rendering.container["readinessProbe"]["grpc"] == {"port": health_port, "service": AUTHORIZATION}
    assert set(PROBES) <= rendering.container.keys()


def test_want_of_trust_is_no_reason_for_a_restart(rendering: Rendering) -> None:
    """A pod that waits for its SVID, or has lost the Workload API, is not ready; but it is not restarted for that."""
    for name in ("startupProbe", "livenessProbe"):
        assert rendering.container[name]["tcpSocket"] == {"port": "grpc-health"}


def test_checks_are_asked_over_mutual_tls(settings: Settings) -> None:
    """The port that decides is never offered in plain text, and answers listed Envoys, not agents."""
    assert settings.server.transport == "tls"
    assert settings.server.envoys
    assert not [each for each in settings.server.envoys if "/agent/" in each]


def test_only_labelled_envoys_may_ask(rendering: Rendering) -> None:
    """Checks are taken from pods that carry the label, in namespaces that carry theirs, and from no others."""
    checks, health = rendering.only("NetworkPolicy")["spec"]["ingress"]
    assert checks["ports"] == [{"protocol": "TCP", "port": "grpc-check"}]
    assert checks["from"] == [
        {
            "namespaceSelector": {"matchLabels": {"authz-clients": "allowed"}},
            "podSelector": {"matchLabels": {"authz-client": "true"}},
        }
    ]
    assert health == {"ports": [{"protocol": "TCP", "port": "grpc-health"}]}
    assert {"grpc-check", "grpc-health"} == {each["name"] for each in rendering.container["ports"]}


def test_the_server_reaches_only_dns_and_collectors(rendering: Rendering) -> None:
    """A server that is taken over can send to the cluster's DNS and to OTLP collectors, and nowhere else."""
    policy = rendering.only("NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert [[port["port"] for port in rule["ports"]] for rule in policy["egress"]] == [[53, 53], [4317, 4318]]
    for rule in policy["egress"]:
        (peer,) = rule["to"]
        assert peer["podSelector"]["matchLabels"]


def test_everything_mounted_is_shipped(rendering: Rendering) -> None:
    """Nothing has to be made by hand before the pod can start, and there is no key in a Secret: SVIDs are not files."""
    mounted = {volume["configMap"]["name"] for volume in rendering.mounted.values() if "configMap" in volume}
    assert {each["metadata"]["name"] for each in rendering.all("ConfigMap")} == mounted
    assert not [volume for volume in rendering.mounted.values() if "secret" in volume]
    assert rendering.all("Secret") == []


def test_every_volume_is_mounted(rendering: Rendering) -> None:
    """Each volume of the pod is seen by the server, and each is seen once."""
    mounted = [volume["name"] for volume in rendering.mounted.values()]
    assert sorted(each["name"] for each in rendering.pod["volumes"]) == sorted(mounted)


def test_the_server_can_write_only_where_its_tasks_are(rendering: Rendering, settings: Settings) -> None:
    """Of the pod's file system only the folder of the task store, which also holds temporary files, can be written."""
    writable = [each["mountPath"] for each in rendering.container["volumeMounts"] if not each.get("readOnly")]
    assert settings.tasks.sqlite_file is not None
    assert [str(settings.tasks.sqlite_file.parent)] == writable
    assert writable == [each["value"] for each in rendering.container["env"] if each["name"] == "TMPDIR"]


def test_the_container_is_confined(rendering: Rendering) -> None:
    """The pod meets the `restricted` Pod Security Standard, and its root file system is read-only besides."""
    pod, container = rendering.pod["securityContext"], rendering.container["securityContext"]
    assert pod["runAsNonRoot"]
    assert pod["runAsUser"] == pod["runAsGroup"] == pod["fsGroup"]
    assert pod["runAsUser"] > 0
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not rendering.pod.keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"}
    kinds = {kind for volume in rendering.pod["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"configMap", "csi", "emptyDir", "persistentVolumeClaim"}


def test_the_server_has_no_credentials_for_kubernetes(rendering: Rendering) -> None:
    """No token of the Kubernetes API is mounted: the server asks nothing of it."""
    account = rendering.only("ServiceAccount")
    assert account["metadata"]["name"] == rendering.pod["serviceAccountName"]
    assert [account["automountServiceAccountToken"], rendering.pod["automountServiceAccountToken"]] == [False, False]


def test_memory_is_limited_and_cpu_is_not(rendering: Rendering) -> None:
    """The pod asks for what it needs; memory has a limit, and checks are not throttled beyond their time budget."""
    resources = rendering.container["resources"]
    assert {"cpu", "memory", "ephemeral-storage"} == set(resources["requests"])
    assert {"memory", "ephemeral-storage"} == set(resources["limits"])


def test_the_pod_has_time_to_end(rendering: Rendering, settings: Settings) -> None:
    """The kubelet does not kill before draining, calls in flight and the last telemetry are over."""
    server = settings.server
    needed_seconds = server.drain_seconds + 2 * server.stop_grace_seconds
    assert needed_seconds + 5 <= rendering.pod["terminationGracePeriodSeconds"]


def test_one_task_store_at_a_time(rendering: Rendering) -> None:
    """Never do two pods, each with tasks of its own, answer at once during a rollout."""
    deployment = rendering.only("Deployment")["spec"]
    assert deployment["replicas"] == 1
    assert deployment["strategy"] == {"type": "Recreate"}


def test_nodes_can_be_drained(rendering: Rendering) -> None:
    """The disruption budget lets the one replica move: it never holds a node back."""
    budget = rendering.only("PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert "minAvailable" not in budget


def test_telemetry_is_off_until_asked_for(rendering: Rendering) -> None:
    """As shipped, nothing is exported, so that no exporter retries against a collector that is not there."""
    values = {each["name"]: each["value"] for each in rendering.container["env"]}
    assert {"none"} == {values[f"OTEL_{signal}_EXPORTER"] for signal in ("TRACES", "METRICS")}


def test_the_server_starts_with_the_mounted_configuration(rendering: Rendering) -> None:
    """Server and `kubectl exec ... authz task` read the same authz.yaml, which a ConfigMap holds."""
    expected = "/etc/authz/authz.yaml"
    values = {each["name"]: each["value"] for each in rendering.container["env"]}
    assert ["serve", "--config", expected] == rendering.container["args"]
    assert expected == values["AUTHZ_CONFIG"]
    volume = rendering.mounted[str(PurePosixPath(expected).parent)]
    (config,) = (each for each in rendering.all("ConfigMap") if each["metadata"]["name"] == volume["configMap"]["name"])
    assert {"authz.yaml", "catalog.yaml"} == set(config["data"])


def test_the_base_forgets_tasks_with_the_pod(base: Rendering) -> None:
    """In the base, tasks live in the pod's own storage, of a size that cannot fill the node."""
    assert base.mounted["/var/lib/authz"] == {"name": "state", "emptyDir": {"sizeLimit": "1Gi"}}


def test_the_overlay_keeps_tasks(base: Rendering, persistent: Rendering) -> None:
    """The overlay differs from the base in one thing: tasks lie on a volume that one pod at a time may use."""
    claim = persistent.only("PersistentVolumeClaim")
    state = {"name": "state", "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
    assert state == persistent.mounted["/var/lib/authz"]
    assert without_state(base) == without_state(persistent)


def port_of(address: str) -> int:
    """The port of HOST:PORT."""
    return int(address.rpartition(":")[2])


def container_port(rendering: Rendering, name: str) -> int:
    """The container's port of that name."""
    (port,) = (each["containerPort"] for each in rendering.container["ports"] if each["name"] == name)
    return int(port)


def without_state(rendering: Rendering) -> list[Resource]:
    """The resources but for the claim and for the volume of the tasks."""
    resources = deepcopy([each for each in rendering.resources if each["kind"] != "PersistentVolumeClaim"])
    for each in resources:
        if each["kind"] == "Deployment":
            pod = each["spec"]["template"]["spec"]
            pod["volumes"] = [volume for volume in pod["volumes"] if volume["name"] != "state"]
    return resources
