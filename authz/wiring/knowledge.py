"""All that a configuration names, read and validated; and the pipeline that stands on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from authz.catalog.file import load_catalog
from authz.catalog.http import HttpCatalog
from authz.config import ServerSettings, Settings, load_settings
from authz.core.errors import Problem, Unusable
from authz.core.memory import Memory
from authz.pipeline import Pipeline
from authz.policy.cached import CachedPolicy
from authz.policy.cedar import CedarPolicy
from authz.policy.source import load_policies
from authz.server.tls import TlsMaterial
from authz.svid.bundles import Bundles, BundleSource, load_bundle_file
from authz.svid.x509 import X509Verifier
from authz.wire.decode import decode
from authz.wire.encode import Encoder

_CERTIFICATES_REMEMBERED = 10_000
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Knowledge:
    """All that the configuration names, read and validated."""

    settings: Settings
    bundles: Bundles
    catalog: HttpCatalog
    policy: CedarPolicy
    tls: TlsMaterial | None


def read(config_file: Path) -> Knowledge:
    """Read the configuration and what it names; raises Unusable with the problems of every part, not of the first."""
    settings = load_settings(config_file)
    problems: list[Problem] = []
    trust_bundles = []
    for domain, where in settings.identity.trust_domains.items():
        with _collecting(problems):
            trust_bundles.append(load_bundle_file(domain, where.bundle_file))
    tls = None
    with _collecting(problems):
        tls = _tls(settings.server)
    with _collecting(problems):
        catalog = load_catalog(settings.catalog.file)
    if problems:
        raise Unusable(*problems)
    policy = load_policies(settings.policy.directory, catalog.operations, settings.policy.groups)
    return Knowledge(settings, Bundles.of(trust_bundles), catalog, policy, tls)


def make_pipeline(knowledge: Knowledge, memory: Memory) -> Pipeline:
    """The story, told with these parts."""
    settings = knowledge.settings
    return Pipeline(
        decode=decode,
        verifier=X509Verifier(BundleSource(knowledge.bundles), cache_entries=_CERTIFICATES_REMEMBERED),
        memory=memory,
        catalog=knowledge.catalog,
        policy=CachedPolicy(knowledge.policy, max_entries=settings.policy.cache_entries),
        encode=Encoder(settings.tasks.header),
        task_header=settings.tasks.header,
        max_staleness_ns=int(settings.tasks.max_staleness_seconds * _NS),
    )


def _tls(server: ServerSettings) -> TlsMaterial | None:
    if server.tls is None:
        return None
    return TlsMaterial.read(server.tls.certificate_file, server.tls.private_key_file, server.tls.client_ca_file)


@contextmanager
def _collecting(problems: list[Problem]) -> Iterator[None]:
    try:
        yield
    except Unusable as error:
        problems.extend(error.problems)
