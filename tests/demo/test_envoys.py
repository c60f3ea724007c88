"""Finding Envoy, and giving it the operators' configuration with other addresses."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from authz.core.errors import Unavailable
from authz.demo.envoys import Address, Sidecar, Tree, binary, configure, load_configuration

ROOT = Path(__file__).parents[2]


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
