"""The manifests, rendered; and the configuration of the pod, laid out as a kubelet would."""

from pathlib import Path

import pytest

from authz.config import Settings, load_settings
from tests.support.kustomize import Rendering, render

PROJECT = Path(__file__).parents[2]
BASE = PROJECT / "k8s" / "base"
PERSISTENT = PROJECT / "k8s" / "overlays" / "persistent"

CONFIG_FOLDER = "/etc/authz"


@pytest.fixture(scope="session")
def base() -> Rendering:
    """k8s/base."""
    return render(BASE)


@pytest.fixture(scope="session")
def persistent() -> Rendering:
    """k8s/overlays/persistent."""
    return render(PERSISTENT)


@pytest.fixture(params=[BASE, PERSISTENT], ids=lambda folder: str(folder.relative_to(PROJECT)))
def rendering(request: pytest.FixtureRequest) -> Rendering:
    """Each folder that an operator can apply, in turn."""
    folder: Path = request.param
    return render(folder)


@pytest.fixture
def config_file(base: Rendering, tmp_path: Path) -> Path:
    """authz.yaml as the pod sees it, beside all that is mounted with it, under a root of its own."""
    contents = {each["metadata"]["name"]: each["data"] for each in base.all("ConfigMap")}
    for path, volume in base.mounted.items():
        if "configMap" in volume:
            lay_out(tmp_path / path.lstrip("/"), contents[volume["configMap"]["name"]])
    return tmp_path / CONFIG_FOLDER.lstrip("/") / "authz.yaml"


@pytest.fixture
def settings(config_file: Path) -> Settings:
    """What authz.yaml says."""
    return load_settings(config_file)


def lay_out(folder: Path, data: dict[str, str]) -> None:
    """Write the files as a kubelet does: in a dated folder, behind `..data`, with a link for each in its place."""
    dated = folder / "..2026_11_25_12_00_00.1"
    dated.mkdir(parents=True)
    (folder / "..data").symlink_to(dated.name)
    for name, text in data.items():
        (dated / name).write_text(text)
        (folder / name).symlink_to(Path("..data") / name)
