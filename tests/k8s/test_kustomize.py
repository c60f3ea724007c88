"""The reading of kustomize that the other tests stand on."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.kustomize import FILE_NAME, NotUnderstood, Resource, render

K8S = Path(__file__).parents[2] / "k8s"
HASHED = re.compile(r"(?P<name>.+)-[a-z0-9]{10}")


@pytest.mark.parametrize("folder", ["base", "overlays/persistent"])
def test_agrees_with_kustomize(folder: str) -> None:
    """What the tests look at is what kustomize would apply."""
    expected = real_rendering(K8S / folder)
    assert by_name(expected) == by_name(list(render(K8S / folder).resources))


def test_every_mounted_config_map_is_the_generated_one() -> None:
    """Kustomize finds each place that names a generated ConfigMap, so that a changed file becomes a new pod."""
    (deployment,) = (each for each in run_kustomize(K8S / "base") if each["kind"] == "Deployment")
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    mounted = {each["name"]: each["configMap"]["name"] for each in volumes if "configMap" in each}
    assert [volume for volume, name in mounted.items() if HASHED.fullmatch(name)] == ["config", "policies"]


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ("namespace: other", "namespace"),
        ("labels: [{pairs: {a: b}, includeSelectors: true}]", "includeSelectors"),
        ("configMapGenerator: [{name: c, literals: [a=b]}]", "literals"),
        ("patches: [{path: p.yaml, target: {kind: Service}}]", "target"),
        ("patches: [{path: p.yaml}]", "Deployment absent"),
        ("kind: Kustomization\nkind: Kustomization", "repeated key"),
    ],
)
def test_refuses_what_it_does_not_understand(tmp_path: Path, more: str, named: str) -> None:
    """A kustomization that says more than these tests can follow is refused by them, not half read."""
    (tmp_path / "p.yaml").write_text("{kind: Deployment, metadata: {name: absent}}")
    (tmp_path / FILE_NAME).write_text(more)
    with pytest.raises(NotUnderstood, match=named):
        render(tmp_path)


def run_kustomize(folder: Path) -> list[Resource]:
    """The resources as the real program renders them; skips where there is none."""
    if program := shutil.which("kustomize"):
        command = [program, "build", str(folder)]
    elif program := shutil.which("kubectl"):
        command = [program, "kustomize", str(folder)]
    else:
        pytest.skip("neither kustomize nor kubectl is on the PATH")
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    return list(yaml.safe_load_all(output))


def real_rendering(folder: Path) -> list[Resource]:
    """As above, with the generated names as they are written in the kustomization."""
    resources = run_kustomize(folder)
    text = yaml.safe_dump_all(resources)
    for resource in resources:
        if resource["kind"] == "ConfigMap":
            hashed = resource["metadata"]["name"]
            match = HASHED.fullmatch(hashed)
            assert match
            text = text.replace(hashed, match["name"])
    return list(yaml.safe_load_all(text))


def by_name(resources: list[Resource]) -> dict[tuple[str, str], Resource]:
    """The resources by kind and name."""
    return {(each["kind"], each["metadata"]["name"]): each for each in resources}
