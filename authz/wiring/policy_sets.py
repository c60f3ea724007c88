"""A policy set with the catalog and the groups that it is for, from a configuration or named one by one.

Neither certificates nor a task store are looked at, so these tools run where a server could not.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from authz.catalog.file import Unset, load_with_unset
from authz.catalog.http import HttpCatalog
from authz.config import load_settings
from authz.core.errors import Place, Problem, Unusable
from authz.core.spiffe import NotASpiffeId, SpiffeId
from authz.policy.cedar import CedarPolicy
from authz.policy.files import PolicyFile
from authz.policy.rego import RegoPolicy
from authz.wiring.engines import RegoTerms, are_rego, is_rego, must_decide_in_process
from authz.wiring.knowledge import policies_for
from authz.wiring.origins import FolderOrigin, Origin, origin_of

Groups = dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Named:
    """What an operator named on the command line; empty for what the configuration is to say."""

    config_file: Path
    catalog_file: Path | None = None
    policies: tuple[Path, ...] = ()
    rule: str = ""  # of policies in Rego, the one that decides
    groups: tuple[str, ...] = ()  # each `NAME=SPIFFE_ID`, or `NAME=` for a group that has nobody yet


@dataclass(frozen=True, slots=True)
class PolicySet:
    """A policy set and what it is for."""

    catalog: HttpCatalog
    policy: CedarPolicy | RegoPolicy
    files: tuple[PolicyFile, ...]
    unset: tuple[Unset, ...]
    groups: Groups


@dataclass(frozen=True, slots=True)
class Parts:
    """Where a policy set and its catalog are, not yet read."""

    catalog_file: Path
    origin: Origin
    groups: Groups
    rego: RegoTerms | None = None  # where they are in Rego

    def read(self) -> PolicySet:
        """Read it; raises Unusable."""
        catalog, unset = load_with_unset(self.catalog_file)
        files = tuple(self.origin.files())
        policy = policies_for(catalog, files, self.groups, rego=self.rego)
        return PolicySet(catalog, policy, files, tuple(unset), self.groups)


def named_origin(places: tuple[Path, ...]) -> Origin:
    """These folders and files together."""
    return FolderOrigin(tuple(Path(os.path.normpath(each)) for each in places))  # so that one policy has one place


def parts_of(named: Named) -> Parts:
    """Where they are; raises Unusable. The configuration is read only where something is not named."""
    groups = _groups(named.groups)
    if named.catalog_file is not None and named.policies:
        rego = _named_terms(named, RegoTerms()) if are_rego(named.policies) else None
        return Parts(named.catalog_file, named_origin(named.policies), groups, rego)
    settings = load_settings(named.config_file)
    in_rego = are_rego(named.policies) if named.policies else is_rego(settings)
    if not in_rego or not named.policies:
        must_decide_in_process(settings, named.config_file)
    return Parts(
        named.catalog_file or settings.catalog.file,
        named_origin(named.policies) if named.policies else origin_of(settings.policy),
        {**settings.policy.groups, **groups},
        _named_terms(named, RegoTerms.of(settings)) if in_rego else None,
    )


def _named_terms(named: Named, terms: RegoTerms) -> RegoTerms:
    return replace(terms, rule=named.rule) if named.rule else terms


def _groups(given: tuple[str, ...]) -> Groups:
    found: Groups = {}
    for text in given:
        name, equals, uri = text.partition("=")
        try:
            members = (SpiffeId.parse(uri).uri,) if uri else ()
        except NotASpiffeId as error:
            raise Unusable(Problem(Place(Path("--group")), f"{text!r}: {error}", "Write NAME=SPIFFE_ID.")) from error
        if not name or not equals:
            raise Unusable(Problem(Place(Path("--group")), f"{text!r} is no group", "Write NAME=SPIFFE_ID, or NAME=."))
        found[name] = (*found.get(name, ()), *members)
    return found
