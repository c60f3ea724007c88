"""Dockerfile and .dockerignore, read and held against k8s/ and pyproject.toml. Nothing here builds the image."""

import json
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

from authz import __version__
from tests.support.kustomize import Rendering

PROJECT = Path(__file__).parents[2]


class Instruction(NamedTuple):
    """One instruction of a Dockerfile."""

    name: str
    text: str


def instructions() -> list[Instruction]:
    """The Dockerfile's instructions, with continued lines joined and comments left out."""
    lines = [line for line in (PROJECT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def last_stage() -> list[Instruction]:
    """The instructions of the stage that becomes the image."""
    everything = instructions()
    begins = max(index for index, each in enumerate(everything) if each.name == "FROM")
    return everything[begins:]


def the(name: str) -> str:
    """What the one instruction of that name in the last stage says."""
    (text,) = (each.text for each in last_stage() if each.name == name)
    return text


def copied() -> list[str]:
    """What is copied out of the checkout."""
    copies = [each.text.split() for each in instructions() if each.name == "COPY" and "--from=" not in each.text]
    return [source for words in copies for source in words[:-1]]


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps the path out; the last pattern that matches it, or a folder it is in, decides."""
    lines = (PROJECT / ".dockerignore").read_text().splitlines()
    verdict = False
    for pattern in (line for line in lines if line and not line.startswith("#")):
        folders = [PurePosixPath(path), *PurePosixPath(path).parents][:-1]
        if any(matches(str(folder), pattern.removeprefix("!")) for folder in folders):
            verdict = not pattern.startswith("!")
    return verdict


def matches(path: str, pattern: str) -> bool:
    """Docker's patterns, as far as the file uses them: `*` stays within one name, `**/` is any folders or none."""
    if pattern.startswith("**/"):
        return any(matches("/".join(path.split("/")[index:]), pattern[3:]) for index in range(len(path.split("/"))))
    names, patterns = path.split("/"), pattern.split("/")
    return len(names) == len(patterns) and all(map(fnmatch, names, patterns))


def test_everything_copied_is_there() -> None:
    """The image can be built from a checkout: each file and folder that is copied exists, and is not ignored."""
    assert [source for source in copied() if not (PROJECT / source).exists() or ignored(source)] == []


def test_the_wheel_has_all_that_its_build_needs() -> None:
    """What pyproject.toml builds the wheel from is copied before it is built."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", "LICENSE", project["project"]["readme"], *wheel["packages"], *wheel["force-include"]}
    assert needed <= set(copied())


@pytest.mark.parametrize(
    "path",
    [".git/config", ".venv/bin/python", "authz/__pycache__/config.pyc", "tls.key", "k8s/base/deployment.yaml", ".env"],
)
def test_the_context_holds_no_more_than_is_needed(path: str) -> None:
    """History, environments, compiled files and stray keys never reach the build."""
    assert ignored(path)


def test_sources_do_reach_the_build() -> None:
    """Ignoring is not so broad that the package itself stays out."""
    assert [ignored("authz/core/task.py"), ignored("authz/policy/schema.cedarschema")] == [False, False]


def test_the_user_is_the_deployments(rendering: Rendering) -> None:
    """Image and pod agree on one numeric user, which is not root."""
    pod = rendering.pod["securityContext"]
    assert f"{pod['runAsUser']}:{pod['runAsGroup']}" == the("USER")
    assert not the("USER").startswith("0:")


def test_every_stage_is_a_python_of_one_named_version() -> None:
    """No stage takes `latest`, and both take the same image, so that compiled packages fit where they run."""
    images = {each.text.split()[0] for each in instructions() if each.name == "FROM"}
    (image,) = images
    assert re.fullmatch(r"python:3\.12-slim-[a-z]+", image)


def test_nothing_is_fetched_by_address() -> None:
    """Packages come from pip alone, at the versions that the tests ran with, and pip keeps no cache in the image."""
    runs = [each.text for each in instructions() if each.name == "RUN"]
    assert "ADD" not in {each.name for each in instructions()}
    assert not re.search(r"https?://|curl|wget|git ", " ".join(runs))
    pips = re.findall(r"pip (?:--python \S+ )?(wheel|install) ([^&]*)", " ".join(runs))
    assert [verb for verb, _ in pips] == ["wheel", "install"]
    assert ["--no-cache-dir" in options for _, options in pips] == [True, True]
    assert "--constraint constraints.txt" in pips[1][1]


def test_the_image_starts_the_server(rendering: Rendering) -> None:
    """Run without arguments, the image serves with the configuration that the pod mounts, as the Deployment asks."""
    assert json.loads(the("ENTRYPOINT")) == ["authz"]
    assert rendering.container["args"] == json.loads(the("CMD"))
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    assert "authz" in project["project"]["scripts"]


def test_stopping_is_draining() -> None:
    """`docker stop` sends the signal on which the server drains."""
    assert the("STOPSIGNAL") == "SIGTERM"


def test_ports_are_the_pods(rendering: Rendering) -> None:
    """The image tells the ports that the pod names."""
    assert [str(each["containerPort"]) for each in rendering.container["ports"]] == the("EXPOSE").split()


def test_the_image_says_which_version_it_is() -> None:
    """The labels name the version, as registries show it."""
    assert f'org.opencontainers.image.version="{__version__}"' in the("LABEL")


def test_no_health_check_of_dockers() -> None:
    """Health is asked over gRPC by whoever runs the image; none is started inside it."""
    assert the("HEALTHCHECK") == "NONE"
