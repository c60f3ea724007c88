"""Finding Envoy, and giving it the operators' configuration with other addresses."""

import copy
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from authz.core.errors import Unavailable
from authz.demo.envoys import Address, Sidecar, Tree, binary, configure, load_configuration
from tests.support.envoy import validate

ROOT = Path(__file__).parents[2]
README = ROOT / "envoy" / "README.md"


def sidecar(**changes: object) -> Sidecar:
    """A sidecar with made-up values."""
    values: dict[str, object] = {
        "name": "crm",
        "service": Address("127.0.0.1", 1),
        "authz": Address("127.0.0.1", 2),
        "certificate_file": Path("/some/svid.pem"),
        "private_key_file": Path("/some/svid.key"),
        "bundle_file": Path("/some/bundle.pem"),
    }
    return Sidecar(**{**values, **changes})  # type: ignore[arg-type]


def leaves(tree: Tree, path: str = "") -> Iterator[tuple[str, object]]:
    """Every value of a tree with its path."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, f"{path}.{key}")
    elif isinstance(tree, list):
        for number, value in enumerate(tree):
            yield from leaves(value, f"{path}[{number}]")
    else:
        yield path, tree


def test_the_demo_runs_what_operators_copy() -> None:
    """Between envoy.yaml and what is run differ addresses, file names and the name in traces, and nothing else."""
    before, after = dict(leaves(load_configuration())), dict(leaves(configure(load_configuration(), sidecar())))
    assert before.keys() == after.keys()
    changed = {path.rpartition(".")[2] for path, value in before.items() if after[path] != value}
    assert changed == {"address", "port_value", "filename", "service_name"}


def test_failing_open_must_be_asked_for() -> None:
    """Envoy fails open only where `failure_mode_allow` was given, and that is the only thing it changes."""
    closed = dict(leaves(configure(load_configuration(), sidecar())))
    opened = dict(leaves(configure(load_configuration(), sidecar(failure_mode_allow=True))))
    changed = [path for path, value in closed.items() if opened[path] != value]
    assert [path.rpartition(".")[2] for path in changed] == ["failure_mode_allow"]


def test_the_wheel_carries_the_configuration() -> None:
    """An installed package has envoy.yaml where a checkout has it in envoy/."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"]["envoy"] == "authz/demo/envoy"


def test_the_snippets_for_spire_are_valid(folder_with_svid: Path) -> None:
    """The README's keys for certificates from SPIRE, put where it says, make a configuration that Envoy accepts."""
    keys, cluster = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL))
    tree = load_configuration()
    tree["node"] = {"id": "crm-1", "cluster": "crm"}
    (chain,) = tree["static_resources"]["listeners"][0]["filter_chains"]
    authz = next(each for each in tree["static_resources"]["clusters"] if each["name"] == "authz")
    for holder in (chain, authz):
        context = holder["transport_socket"]["typed_config"]["common_tls_context"]
        names = context["validation_context"].get("match_typed_subject_alt_names", [])
        del context["tls_certificates"], context["validation_context"]
        context |= copy.deepcopy(keys)
        context["combined_validation_context"]["default_validation_context"] = {"match_typed_subject_alt_names": names}
    tree["static_resources"]["clusters"].append(cluster)
    file = folder_with_svid / "spire.yaml"
    file.write_text(yaml.safe_dump(tree))
    said = validate(file, folder_with_svid)
    assert said.returncode == 0, said.stderr


def test_a_missing_envoy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever names an Envoy that is none is told so, in one sentence."""
    monkeypatch.setenv("ENVOY_BIN", "/nowhere/envoy")
    with pytest.raises(Unavailable, match="/nowhere/envoy"):
        binary()


def test_a_named_envoy_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """ENVOY_BIN wins over the Envoy that was installed beside us."""
    program = tmp_path / "envoy"
    program.touch(mode=0o755)
    monkeypatch.setenv("ENVOY_BIN", str(program))
    assert binary() == program
