"""Wiring: a configuration file in, the running parts out. The only module that knows every class."""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from authz import __version__
from authz.catalog.file import load_catalog
from authz.catalog.http import HttpCatalog
from authz.config import ServerSettings, Settings, load_settings
from authz.core.errors import Problem, Unusable
from authz.core.memory import Memory
from authz.core.outcome import Answer
from authz.core.record import Arrival, Record
from authz.observe.audit import JsonLinesAudit
from authz.observe.fanout import Fanout
from authz.observe.log import LogObserver
from authz.observe.otel import make_telemetry
from authz.pipeline import Pipeline
from authz.policy.cached import CachedPolicy
from authz.policy.cedar import CedarPolicy
from authz.policy.source import load_policies
from authz.server.aio import Limits, TlsMaterial, make_health_server, make_server
from authz.server.checks import Checks, arrive
from authz.server.health import Health
from authz.server.life import Drain, Endpoint, run
from authz.svid.bundles import Bundles, BundleSource, load_bundle_file
from authz.svid.x509 import X509Verifier
from authz.tasks.sqlite import SqliteTasks
from authz.wire.decode import decode
from authz.wire.encode import FALLBACK, Encoder
from authz.wire.recorded import read_recorded

_CERTIFICATES_REMEMBERED = 10_000
_NS = 1_000_000_000

_log = logging.getLogger("authz")


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
    with _collecting(problems):
        catalog = load_catalog(settings.catalog.file)
    if problems:
        raise Unusable(*problems)
    policy = load_policies(settings.policy.directory, catalog.operations, settings.policy.groups)
    return Knowledge(settings, Bundles.of(trust_bundles), catalog, policy, _tls(settings.server))


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


@contextmanager
def open_task_store(config_file: Path) -> Iterator[SqliteTasks]:
    """The task store that the configuration names, for a command's one use."""
    settings = load_settings(config_file)
    store = SqliteTasks(settings.tasks.sqlite_file, Memory(settings.tasks.max_remembered))
    try:
        yield store
    finally:
        store.close()


def decide_recorded(config_file: Path, recorded_file: Path, unix_seconds: float | None) -> Record:
    """How the check in the file is decided, now or at another time. Nothing is audited."""
    knowledge = read(config_file)
    recorded = read_recorded(recorded_file)
    memory = Memory(knowledge.settings.tasks.max_remembered)
    pipeline = make_pipeline(knowledge, memory)
    arrived = arrive(recorded.metadata)
    at = arrived.unix_seconds if unix_seconds is None else unix_seconds
    arrival = Arrival(at, arrived.boot_ns, arrived.decision_id, arrived.traceparent, arrived.tracestate)
    store = SqliteTasks(knowledge.settings.tasks.sqlite_file, memory)
    try:
        store.peek()
        outcome = pipeline.check(arrival, recorded.message)
        if not isinstance(outcome, Answer):
            asyncio.run(store.fetch(outcome.wants))
            outcome = pipeline.check(arrival, recorded.message)
        return outcome.record
    finally:
        store.close()


def serve(config_file: Path) -> None:
    """Serve until told to stop; raises Unusable or Unavailable where that cannot be begun."""
    started = time.perf_counter()
    knowledge = read(config_file)
    asyncio.run(_serve(knowledge, started))


async def _serve(knowledge: Knowledge, started: float) -> None:
    settings = knowledge.settings
    memory = Memory(settings.tasks.max_remembered)
    store = SqliteTasks(settings.tasks.sqlite_file, memory)
    audit = JsonLinesAudit(settings.audit.file)
    telemetry = make_telemetry("authz", __version__)
    checks = Checks(
        make_pipeline(knowledge, memory),
        store,
        audit,
        Fanout((LogObserver(), *telemetry.observers)),
        fallback=FALLBACK,
        timeout_seconds=settings.server.check_timeout_seconds,
        later=asyncio.get_running_loop().call_soon,
    )
    health = Health()
    drain = Drain(settings.server.drain_seconds, settings.server.stop_grace_seconds)
    try:
        await run(
            _endpoints(settings.server, checks, health, knowledge.tls),
            health,
            drain,
            started=lambda: _log.info("serving after %.3f s", time.perf_counter() - started),
        )
    finally:
        telemetry.shutdown(settings.server.stop_grace_seconds)
        audit.close()
        store.close()


def _endpoints(server: ServerSettings, checks: Checks, health: Health, tls: TlsMaterial | None) -> tuple[Endpoint, ...]:
    limits = Limits(server.max_request_bytes, server.max_connection_age_seconds)
    endpoints = (Endpoint("checks", make_server(checks.answer, health, limits), server.listen, tls),)
    if server.health_listen is None:
        return endpoints
    return (*endpoints, Endpoint("health", make_health_server(health, limits), server.health_listen, None))


def _tls(server: ServerSettings) -> TlsMaterial | None:
    if server.tls is None:
        return None
    files = (server.tls.certificate_file, server.tls.private_key_file, server.tls.client_ca_file)
    return TlsMaterial(*(file.read_bytes() for file in files))


@contextmanager
def _collecting(problems: list[Problem]) -> Iterator[None]:
    try:
        yield
    except Unusable as error:
        problems.extend(error.problems)
