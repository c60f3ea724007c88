"""The shipped configuration, laid out as the pod sees it, in the hands of the real command."""

import subprocess
import sys
from pathlib import Path, PurePosixPath

from authz.config import Settings
from tests.support.kustomize import Rendering

EXIT_UNUSABLE = 2


def test_the_shipped_configuration_is_usable(config_file: Path) -> None:
    """The server would start on what k8s/base ships; its SVID and trust bundles come from the node's Workload API."""
    checked = config_check(config_file)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_an_empty_allow_list_is_refused(config_file: Path) -> None:
    """An operator who takes the example's Envoy off the list, and puts none on it, is told before the rollout."""
    shipped = config_file.read_text()
    emptied = shipped.replace("    - spiffe://example.org/tool/crm\n", "    []\n")
    assert emptied != shipped
    config_file.write_text(emptied)
    checked = config_check(config_file)
    assert checked.returncode == EXIT_UNUSABLE
    assert "envoys lists the SPIFFE IDs that may ask" in checked.stderr
    assert "Traceback" not in checked.stderr


def test_the_socket_is_that_of_the_csi_driver(base: Rendering, settings: Settings) -> None:
    """authz.yaml looks for the Workload API where the Deployment mounts it, by the SPIFFE CSI driver and read-only."""
    assert settings.identity.workload_api.socket
    socket = PurePosixPath(settings.identity.workload_api.socket.removeprefix("unix://"))
    volume = base.mounted[str(socket.parent)]
    assert volume["csi"] == {"driver": "csi.spiffe.io", "readOnly": True}


def test_every_file_that_the_configuration_names_is_mounted(base: Rendering, settings: Settings) -> None:
    """authz.yaml and the Deployment agree on where catalog and policies are, and no other file is named."""
    assert settings.server.svid == "workload-api"
    assert {each.bundle for each in settings.identity.trust_domains.values()} == {"workload-api"}
    assert settings.catalog.file.exists()
    assert settings.policy.directory is not None
    assert settings.policy.directory.exists()
    policies = {each["metadata"]["name"]: each["data"] for each in base.all("ConfigMap")}["authz-policies"]
    assert set(policies) == {each.name for each in settings.policy.directory.glob("*.cedar")}


def config_check(config_file: Path) -> subprocess.CompletedProcess[str]:
    """`authz config check` on the file."""
    command = [sys.executable, "-m", "authz", "config", "check", "--config", str(config_file)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
