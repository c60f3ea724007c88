"""All that a configuration names, read and validated; and the pipeline that stands on it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from authz.catalog.file import Unset, load_catalog, load_with_unset
from authz.catalog.http import HttpCatalog
from authz.config import Settings, TaskSettings, TokenSettings, load_settings
from authz.core.demand import ARGUMENTS, OPERATIONS
from authz.core.errors import Problem, Unusable, collecting
from authz.core.hop import Operation
from authz.core.memory import Memory
from authz.pipeline import Pipeline
from authz.policy.cedar import CedarPolicy
from authz.policy.fields import Kind
from authz.policy.files import PolicyFile
from authz.policy.rego import RegoPolicy
from authz.policy.schema import Vocabulary
from authz.policy.source import load_policies
from authz.ports import Carrier
from authz.tasks.carriers import EitherCarrier, HandleCarrier
from authz.tasks.token import HEADER as TOKEN_HEADER
from authz.tasks.token import TokenCarrier, TokenTerms
from authz.tasks.token_keys import TokenKeys
from authz.wire.denials import JsonRpcDenials
from authz.wire.encode import Encoder
from authz.wiring.engines import LoadedPolicy, RegoTerms, decode_for, is_rego, opa_reach
from authz.wiring.origins import Origin, origin_of
from authz.wiring.trust import Trust

_NS = 1_000_000_000
_REMEMBERED = 10_000
_KINDS: Mapping[type, Kind] = {frozenset: Kind.SET, int: Kind.LONG, str: Kind.STRING, bool: Kind.BOOL}


@dataclass(frozen=True, slots=True)
class Knowledge:
    """All that the configuration names, read and validated."""

    settings: Settings
    trust: Trust
    catalog: HttpCatalog
    policy: LoadedPolicy
    origin: Origin  # of the policies
    token_keys: TokenKeys | None
    unset: tuple[Unset, ...] = ()  # entries of the catalog whose requests are denied until they are filled in


def read(config_file: Path, settings: Settings | None = None, origin: Origin | None = None) -> Knowledge:
    """Read the configuration, unless it was read already, and what it names; policies from this origin, if any.

    Raises Unusable with the problems of every part, not of the first.
    """
    settings, problems = settings or load_settings(config_file), list[Problem]()
    with collecting(problems):
        trust = Trust.read(config_file, settings)
    with collecting(problems):
        catalog, unset = load_with_unset(settings.catalog.file)
    with collecting(problems):
        keys = token_keys(settings.tasks)
    if settings.policy.opa is not None:
        with collecting(problems):
            opa_reach(settings.policy.opa)
    if problems:
        raise Unusable(*problems)
    origin = origin or origin_of(settings.policy)
    policy = read_policy(settings, catalog, origin)
    return Knowledge(settings, trust, catalog, policy, origin, keys, tuple(unset))


def read_policy(
    settings: Settings, catalog: HttpCatalog, origin: Origin | None = None, breathe: Callable[[], None] = lambda: None
) -> LoadedPolicy:
    """The policies from their origin, for this catalog; raises Unusable. `breathe` is called between portions.

    Without an origin it is the one that the settings name.
    """
    files, rego = (origin or origin_of(settings.policy)).files(), RegoTerms.of(settings) if is_rego(settings) else None
    return policies_for(catalog, files, settings.policy.groups, breathe, rego)


def read_catalog(settings: Settings) -> HttpCatalog:
    """The catalog that the settings name; raises Unusable."""
    return load_catalog(settings.catalog.file)


def policies_for(
    catalog: HttpCatalog,
    files: Sequence[PolicyFile],
    groups: Mapping[str, tuple[str, ...]],
    breathe: Callable[[], None] = lambda: None,
    rego: RegoTerms | None = None,
) -> CedarPolicy | RegoPolicy:
    """The policies in the files, for this catalog; raises Unusable. `breathe` as in `read_policy`.

    They are Cedar's, or in Rego where it is said how those are asked.
    """
    if rego is not None:
        _, _, arguments = _spoken_of(catalog, groups)
        return rego.load(files, groups, arguments)
    return load_policies(files, *_spoken_of(catalog, groups), breathe=breathe)


def vocabulary_of(catalog: HttpCatalog, groups: Mapping[str, tuple[str, ...]]) -> Vocabulary:
    """What policies can speak of in this catalog; raises NotAVocabulary."""
    return Vocabulary.of(*_spoken_of(catalog, groups))


def _spoken_of(
    catalog: HttpCatalog, groups: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[Operation, ...], Mapping[str, tuple[str, ...]], dict[str, Kind]]:
    types = {**catalog.argument_types, **ARGUMENTS}
    arguments = {name: _KINDS[its_type] for name, its_type in types.items()}
    return (*catalog.operations, *OPERATIONS.values()), groups, arguments


def token_keys(tasks: TaskSettings) -> TokenKeys | None:
    """The keys in their file, which may still have to be made: none, then, and no token counts."""
    if tasks.token is None:
        return None
    keys = TokenKeys(tasks.token.keys_file)
    if tasks.token.keys_file.exists():
        keys.load()
    return keys


def token_terms(token: TokenSettings) -> TokenTerms:
    """What tokens of ours are like."""
    return TokenTerms(token.trust_domain, token.max_lifetime_seconds, stand_alone=token.stand_alone)


def _carrier(tasks: TaskSettings, keys: TokenKeys | None) -> Carrier:
    handle = HandleCarrier(tasks.header)
    if "token" not in tasks.carriers or tasks.token is None or keys is None:
        return handle
    token = TokenCarrier(keys, token_terms(tasks.token), cache_entries=_REMEMBERED)
    return EitherCarrier(handle, token, TOKEN_HEADER) if "handle" in tasks.carriers else token


def make_pipeline(knowledge: Knowledge, memory: Memory) -> Pipeline:
    """The story, told with these parts."""
    settings = knowledge.settings
    token = settings.identity.jwt
    denials = JsonRpcDenials(settings.denials.jsonrpc_code, settings.denials.jsonrpc_http_status == "as-reason")
    return Pipeline(
        door=knowledge.trust.door(),
        decode=decode_for(settings),
        verifier=knowledge.trust.verifier(),
        carrier=_carrier(settings.tasks, knowledge.token_keys),
        memory=memory,
        catalog=knowledge.catalog,
        policy=knowledge.policy,
        encode=Encoder(settings.tasks.header, (token.header,) if token and not token.forward else (), denials),
        max_staleness_ns=int(settings.tasks.max_staleness_seconds * _NS),
    )
