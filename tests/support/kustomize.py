"""Kustomize, as much of it as k8s/ uses: a folder with a kustomization.yaml in, its resources and files out.

Whatever else a kustomization says is refused, so that a test never looks at less than what a cluster would get. Two
things differ from the real one: generated ConfigMaps keep their plain names, without the hash of their content, and
resources come in the order in which they are written.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FILE_NAME = "kustomization.yaml"

Resource = dict[str, Any]

_KEYS = {"apiVersion", "kind", "resources", "labels", "configMapGenerator", "patches"}
_KINDS_WITH_TEMPLATE = {"Deployment"}


class NotUnderstood(Exception):
    """The kustomization says something that this reading of it would get wrong."""


@dataclass(frozen=True)
class Rendering:
    """The resources a folder stands for, and every file that was read for them."""

    resources: tuple[Resource, ...]
    files: frozenset[Path]

    def only(self, kind: str) -> Resource:
        """The one resource of that kind."""
        (resource,) = self.all(kind)
        return resource

    def all(self, kind: str) -> list[Resource]:
        """The resources of that kind."""
        return [each for each in self.resources if each["kind"] == kind]

    @property
    def pod(self) -> Resource:
        """The specification of the one Deployment's pods."""
        pod: Resource = self.only("Deployment")["spec"]["template"]["spec"]
        return pod

    @property
    def container(self) -> Resource:
        """The one container of these pods."""
        container: Resource
        (container,) = self.pod["containers"]
        return container

    @property
    def mounted(self) -> dict[str, Resource]:
        """The volumes of the one container, by the path at which it sees each."""
        volumes = {each["name"]: each for each in self.pod["volumes"]}
        return {mount["mountPath"]: volumes[mount["name"]] for mount in self.container["volumeMounts"]}


def render(folder: Path) -> Rendering:
    """What `kustomize build` makes of the folder; raises NotUnderstood for all that is not handled here."""
    file = folder / FILE_NAME
    (kustomization,) = _documents(file)
    _only_keys(file, kustomization, _KEYS)
    resources: list[Resource] = []
    files = {file}
    for entry in kustomization.get("resources", []):
        path = (folder / entry).resolve()
        part = render(path) if path.is_dir() else Rendering(tuple(_documents(path)), frozenset({path}))
        resources.extend(part.resources)
        files |= part.files
    for generator in kustomization.get("configMapGenerator", []):
        config_map, sources = _generate(folder, generator)
        resources.append(config_map)
        files |= sources
    for entry in kustomization.get("patches", []):
        _only_keys(file, entry, {"path"})
        patch_file = folder / entry["path"]
        files.add(patch_file)
        for patch in _documents(patch_file):
            resources = _patched(resources, patch)
    for entry in kustomization.get("labels", []):
        _only_keys(file, entry, {"pairs", "includeTemplates"})
        resources = [_labelled(each, entry["pairs"], entry.get("includeTemplates", False)) for each in resources]
    return Rendering(tuple(resources), frozenset(files))


def _documents(file: Path) -> list[Resource]:
    return [each for each in yaml.load_all(file.read_text(), _Loader) if each is not None]


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a repeated key, as Kubernetes does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  yaml's signature
        keys = [key.value for key, _ in node.value]
        if len(set(keys)) < len(keys):
            raise NotUnderstood(f"a repeated key{node.start_mark}")
        return super().construct_mapping(node, deep)


def _only_keys(file: Path, mapping: Mapping[str, object], known: Iterable[str]) -> None:
    unknown = set(mapping) - set(known)
    if unknown:
        raise NotUnderstood(f"{file}: {', '.join(sorted(unknown))}")


def _generate(folder: Path, generator: Mapping[str, Any]) -> tuple[Resource, set[Path]]:
    _only_keys(folder / FILE_NAME, generator, {"name", "files"})
    files = [folder / entry for entry in generator["files"]]
    if any("=" in file.name for file in files):
        raise NotUnderstood(f"{folder / FILE_NAME}: KEY=FILE")
    data = {file.name: file.read_text() for file in files}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]}, "data": data}, set(files)


def _patched(resources: list[Resource], patch: Resource) -> list[Resource]:
    def is_target(resource: Resource) -> bool:
        return (resource["kind"], resource["metadata"]["name"]) == (patch["kind"], patch["metadata"]["name"])

    if sum(map(is_target, resources)) != 1:
        raise NotUnderstood(f"a patch of {patch['kind']} {patch['metadata']['name']}, which is not there once")
    return [_merged(each, patch) if is_target(each) else each for each in resources]


def _merged(old: Any, new: Any) -> Any:  # noqa: ANN401  any YAML
    """A strategic merge, where every list that is patched is one of things with names."""
    if isinstance(old, dict) and isinstance(new, dict):
        if any(key.startswith("$") for key in new):
            raise NotUnderstood(f"the directive in {new}")
        kept = {key: value for key, value in old.items() if key not in new}
        changed = {key: _merged(old.get(key), value) for key, value in new.items() if value is not None}
        return kept | changed
    if isinstance(old, list) and isinstance(new, list):
        if not all(isinstance(each, dict) and "name" in each for each in old + new):
            raise NotUnderstood(f"a patch of a list without names: {new}")
        there, patches = ({each["name"]: each for each in things} for things in (old, new))
        if not patches.keys() <= there.keys():
            raise NotUnderstood(f"a patch that lengthens a list: {new}")
        changed_first = [_merged(there[name], patch) for name, patch in patches.items()]
        return changed_first + [each for name, each in there.items() if name not in patches]
    return new


def _labelled(resource: Resource, pairs: Mapping[str, str], include_templates: bool) -> Resource:  # noqa: FBT001  kustomize's word
    def with_labels(holder: Resource) -> Resource:
        metadata = holder.get("metadata", {})
        return holder | {"metadata": metadata | {"labels": metadata.get("labels", {}) | pairs}}

    labelled = with_labels(resource)
    if not include_templates or "template" not in labelled.get("spec", {}):
        return labelled
    if labelled["kind"] not in _KINDS_WITH_TEMPLATE:
        raise NotUnderstood(f"the template of a {labelled['kind']}")
    return labelled | {"spec": labelled["spec"] | {"template": with_labels(labelled["spec"]["template"])}}
