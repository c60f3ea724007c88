"""The policy engines: how each reads its policies, and the one that is asked in another process.

Policies in process are a `LoadedPolicy`, whichever language they are in; only the tools look at what is behind it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from authz.config import OpaSettings, RegoSettings, Settings
from authz.core.errors import Place, Problem, Unusable
from authz.policy.breaker import Breaker
from authz.policy.fields import Kind
from authz.policy.files import PolicyFile, is_cedar, is_policy, policy_files
from authz.policy.opa import OpaPolicy
from authz.policy.opa_client import OpaClient, OpaReach
from authz.policy.plugin_question import PluginQuestion
from authz.policy.question import FactsQuestion, Question
from authz.policy.rego import RegoPolicy
from authz.policy.rego_input import facts_input, plugin_input
from authz.policy.rego_source import load_rego
from authz.ports import Decode, Policy
from authz.tasks.token import HEADER as TOKEN_HEADER
from authz.wire.decode import decode, decode_with_attributes


class LoadedPolicy(Policy, Protocol):
    """Policies that are asked in process, and can be replaced by others."""

    @property
    def version(self) -> str:
        """A digest of what they were read from."""
        ...

    @property
    def ids(self) -> frozenset[str]:
        """The names of the policies, or of the rules."""
        ...

    @property
    def counts(self) -> Mapping[str, int]:
        """What it has counted, by the rest of the metric's name."""
        ...

    def make_ready(self) -> Iterator[None]:
        """In the thread that will ask them: make what belongs to that thread, a portion at a time."""
        ...

    def leave(self) -> None:
        """In that thread, once it asks them no more: let go of what belongs to it."""
        ...

    def let_go(self, breathe: Callable[[], None]) -> None:
        """In any thread: free the rest a portion at a time."""
        ...


@dataclass(frozen=True, slots=True)
class RegoTerms:
    """How rules in Rego are asked in process."""

    rule: str = "data.authz.decision"
    sees_requests: bool = False
    guarded: frozenset[str] = frozenset()  # headers that no policy changes
    hidden: frozenset[str] = frozenset()  # headers that no policy sees

    @classmethod
    def of(cls, settings: Settings) -> "RegoTerms":
        """As the settings say."""
        rego = settings.policy.rego or RegoSettings()
        sees_requests = settings.policy.input != "authz"
        return cls(rego.rule, sees_requests, guarded_headers(settings), credential_headers(settings))

    def load(
        self,
        files: Sequence[PolicyFile],
        groups: Mapping[str, tuple[str, ...]],
        arguments: Mapping[str, Kind],
    ) -> RegoPolicy:
        """The rules in the files, for a catalog with these arguments; raises Unusable."""
        if self.sees_requests:
            words = plugin_input(PluginQuestion(groups, self.hidden), arguments)
        else:
            words = facts_input(groups, arguments)
        return load_rego(files, self.rule, words, self.guarded)


def is_rego(settings: Settings) -> bool:
    """Whether the policies of the folder are in Rego. Beside an OPA they are Cedar's."""
    return settings.policy.engine == "rego"


def are_rego(places: tuple[Path, ...]) -> bool:
    """Whether the policies there are in Rego; raises Unusable where they are in two languages."""
    names = [name for place in places for name in _names(place) if is_policy(name)]
    found = {is_cedar(name) for name in names}
    if len(found) > 1:
        what = "holds policies in Cedar and in Rego, and one engine decides"
        raise Unusable(Problem(Place(places[0]), what, "Keep them in folders of their own."))
    return found == {False}


def _names(place: Path) -> list[str]:
    if place.is_dir():
        return [path.name for path in place.iterdir()]
    with suppress(Unusable):  # what is wrong with it is said where it is read
        return [file.name for file in policy_files((place,))]
    return [place.name]


def make_opa(settings: Settings) -> OpaPolicy | None:
    """OPA, where the settings have it decide; else none."""
    opa = settings.policy.opa
    if opa is None:
        return None
    breaker = Breaker(opa.max_failures, opa.rest_seconds)
    return OpaPolicy(
        OpaClient(opa_reach(opa), opa.timeout_seconds, breaker), make_question(settings), guarded_headers(settings)
    )


def opa_reach(opa: OpaSettings) -> OpaReach:
    """Where it is and what is shown to it; raises Unusable where a file cannot be used."""
    files = opa.authorities_file, opa.certificate_file, opa.private_key_file, opa.token_file
    reach = OpaReach(opa.url, opa.socket, *files)
    try:
        reach.connection(opa.timeout_seconds)
        reach.headers()
    except OSError as error:
        named = next((file for file in files if file), Path(opa.url))
        remedy = "Give a certificate with its key, and authorities, in PEM; a token file's first line is the token."
        raise Unusable(Problem(Place(named), f"policy.opa cannot be used: {error}", remedy)) from error
    return reach


def make_question(settings: Settings) -> Question:
    """How policies in Rego are asked."""
    if settings.policy.input == "authz":
        return FactsQuestion(settings.policy.groups)
    return PluginQuestion(settings.policy.groups, credential_headers(settings))


def decode_for(settings: Settings) -> Decode:
    """The reading of a CheckRequest that holds what policies are to see."""
    return decode if settings.policy.input == "authz" else decode_with_attributes


def guarded_headers(settings: Settings) -> frozenset[str]:
    """Those that no policy changes, for they say who calls and on whose errand."""
    return credential_headers(settings) | {settings.tasks.header}


def credential_headers(settings: Settings) -> frozenset[str]:
    """Those whose values prove something to us, and so are shown to nobody else."""
    jwt = settings.identity.jwt
    return frozenset({TOKEN_HEADER, *([jwt.header] if jwt else [])})


def must_decide_in_process(settings: Settings, config_file: Path) -> None:
    """Policies in process decide hops, so a tool may say how; raises Unusable."""
    if settings.policy.engine == "opa":
        what = "policy.engine is opa: its policies decide hops, and the tools know those that decide in process alone"
        remedy = (
            "Name the Rego files with --policy to ask them in process, or use the tools of OPA (opa test, opa eval) "
            "and its decision log, by the decision id in the audit log."
        )
        raise Unusable(Problem(Place(config_file), what, remedy))
