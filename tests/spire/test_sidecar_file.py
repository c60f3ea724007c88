"""The sidecar whose certificate and bundles come from SPIRE is the hardened sidecar in everything else."""

import copy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from authz.core.errors import Unavailable
from authz.demo.envoys import Address, binary, load_configuration
from authz.demo.spire_sidecar import SpireSidecar, configure_spire, load_spire_configuration

ROOT = Path(__file__).parents[2]
_FROM_FILES = ("tls_certificates", "validation_context")
_FROM_SPIRE = ("tls_certificate_sds_secret_configs", "combined_validation_context")


def tls_contexts(tree: Any) -> list[dict[str, Any]]:  # noqa: ANN401  a tree of YAML
    """Those of the door, then of the authz cluster."""
    (door,) = tree["static_resources"]["listeners"]
    authz = clusters(tree)["authz"]
    sockets = (door["filter_chains"][0]["transport_socket"], authz["transport_socket"])
    return [each["typed_config"]["common_tls_context"] for each in sockets]


def clusters(tree: Any) -> dict[str, Any]:  # noqa: ANN401  a tree of YAML
    """The clusters by name."""
    return {each["name"]: each for each in tree["static_resources"]["clusters"]}


def test_all_but_the_certificates_is_equal() -> None:
    """envoy/spire.yaml is envoy/envoy.yaml but for where certificates come from: nothing is weaker for using SPIRE."""
    hardened, spire = load_configuration(), load_spire_configuration()
    del spire["node"]
    spire["static_resources"]["clusters"].remove(clusters(spire)["spire_agent"])
    for tree, keys in ((hardened, _FROM_FILES), (spire, _FROM_SPIRE)):
        for context in tls_contexts(tree):
            for key in keys:
                del context[key]
    assert hardened == spire


def test_only_authz_may_decide() -> None:
    """The SPIFFE ID that Envoy demands of authz is the same with SPIRE as with files."""
    files, spire = tls_contexts(load_configuration())[1], tls_contexts(load_spire_configuration())[1]
    expected = files["validation_context"]["match_typed_subject_alt_names"]
    assert (
        expected == spire["combined_validation_context"]["default_validation_context"]["match_typed_subject_alt_names"]
    )


def test_callers_of_federated_trust_domains_may_come_and_authz_is_of_our_own() -> None:
    """The door believes every trust domain that the agent knows, each by its own bundle; authz only our own's."""
    found = [
        each["combined_validation_context"]["validation_context_sds_secret_config"]["name"]
        for each in tls_contexts(load_spire_configuration())
    ]
    assert found == ["ALL", "ROOTCA"]


def test_the_file_is_valid_as_it_stands(tmp_path: Path) -> None:
    """Envoy accepts envoy/spire.yaml unchanged and without a warning, and needs no other file."""
    shutil.copy(ROOT / "envoy" / "spire.yaml", tmp_path)
    assert "[warning]" not in validated(tmp_path / "spire.yaml")


def test_what_the_demo_runs_is_valid(tmp_path: Path) -> None:
    """The file with the demo's addresses in their places is valid too, and the file's own tree stays as it was."""
    sidecar = SpireSidecar(
        name="crm",
        program=Path("envoy"),
        service=Address("127.0.0.1", 8080),
        authz=Address("127.0.0.1", 9000),
        workload_api=tmp_path / "agent.sock",
        check_timeout_seconds=5,
    )
    tree = load_spire_configuration()
    before = copy.deepcopy(tree)
    (tmp_path / "spire.yaml").write_text(yaml.safe_dump(configure_spire(tree, sidecar)))
    validated(tmp_path / "spire.yaml")
    assert before == tree


def validated(file: Path) -> str:
    """What Envoy says of a file that it accepts."""
    try:
        command: list[str | Path] = [binary(), "--mode", "validate", "--config-path", file, "--disable-hot-restart"]
    except Unavailable as error:
        pytest.skip(str(error))
    said = subprocess.run(command, cwd=file.parent, capture_output=True, text=True, timeout=120, check=False)
    assert said.returncode == 0, said.stderr
    return said.stderr
