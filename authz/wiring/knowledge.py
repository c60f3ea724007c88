"""All that a configuration names, read and validated; and the pipeline that stands on it."""

from dataclasses import dataclass
from pathlib import Path

from authz.catalog.file import load_catalog
from authz.catalog.http import HttpCatalog
from authz.config import Settings, load_settings
from authz.core.errors import Problem, Unusable, collecting
from authz.core.memory import Memory
from authz.pipeline import Pipeline
from authz.policy.cached import CachedPolicy
from authz.policy.cedar import CedarPolicy
from authz.policy.source import load_policies
from authz.tasks.carriers import HandleCarrier
from authz.wire.decode import decode
from authz.wire.denials import JsonRpcDenials
from authz.wire.encode import Encoder
from authz.wiring.trust import Trust

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Knowledge:
    """All that the configuration names, read and validated."""

    settings: Settings
    trust: Trust
    catalog: HttpCatalog
    policy: CedarPolicy


def read(config_file: Path) -> Knowledge:
    """Read the configuration and what it names; raises Unusable with the problems of every part, not of the first."""
    settings, problems = load_settings(config_file), list[Problem]()
    with collecting(problems):
        trust = Trust.read(config_file, settings)
    with collecting(problems):
        catalog = load_catalog(settings.catalog.file)
    if problems:
        raise Unusable(*problems)
    policy = load_policies(settings.policy.directory, catalog.operations, settings.policy.groups)
    return Knowledge(settings, trust, catalog, policy)


def make_pipeline(knowledge: Knowledge, memory: Memory) -> Pipeline:
    """The story, told with these parts."""
    settings = knowledge.settings
    token = settings.identity.jwt
    denials = JsonRpcDenials(settings.denials.jsonrpc_code, settings.denials.jsonrpc_http_status == "as-reason")
    return Pipeline(
        door=knowledge.trust.door(),
        decode=decode,
        verifier=knowledge.trust.verifier(),
        carrier=HandleCarrier(settings.tasks.header),
        memory=memory,
        catalog=knowledge.catalog,
        policy=CachedPolicy(knowledge.policy, max_entries=settings.policy.cache_entries),
        encode=Encoder(settings.tasks.header, (token.header,) if token and not token.forward else (), denials),
        max_staleness_ns=int(settings.tasks.max_staleness_seconds * _NS),
    )
