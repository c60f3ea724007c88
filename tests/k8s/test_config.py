"""The shipped configuration, laid out as the pod sees it, in the hands of the real command."""

import subprocess
import sys
from pathlib import Path

from authz.config import Settings
from tests.support.kustomize import Rendering

EXIT_UNUSABLE = 2


def test_the_shipped_configuration_is_usable(config_file: Path) -> None:
    """With a certificate and a trust bundle brought by the operator, the server would start on what k8s/base ships."""
    checked = config_check(config_file)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_a_missing_trust_bundle_is_named(config_file: Path) -> None:
    """Without the operator's trust bundle the configuration is refused, and the message names the file to bring."""
    (config_file.parent / "bundles" / "example.org.pem").unlink()
    checked = config_check(config_file)
    assert checked.returncode == EXIT_UNUSABLE
    assert "bundles/example.org.pem" in checked.stderr
    assert "Traceback" not in checked.stderr


def test_every_file_that_the_configuration_names_is_mounted(base: Rendering, settings: Settings) -> None:
    """authz.yaml and the Deployment agree on where certificate, key, authorities, bundle, catalog and policies are."""
    assert settings.server.tls
    (bundle,) = settings.identity.trust_domains.values()
    files = [
        settings.server.tls.certificate_file,
        settings.server.tls.private_key_file,
        settings.server.tls.client_ca_file,
        bundle.bundle_file,
        settings.catalog.file,
        settings.policy.directory,
    ]
    assert [each.exists() for each in files] == [True] * 6
    policies = {each["metadata"]["name"]: each["data"] for each in base.all("ConfigMap")}["authz-policies"]
    assert set(policies) == {each.name for each in settings.policy.directory.glob("*.cedar")}


def config_check(config_file: Path) -> subprocess.CompletedProcess[str]:
    """`authz config check` on the file."""
    command = [sys.executable, "-m", "authz", "config", "check", "--config", str(config_file)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
