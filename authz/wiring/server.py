"""The server: everything, joined and run."""

import asyncio
import logging
import time
from pathlib import Path

from authz import __version__
from authz.config import ServerSettings
from authz.core.errors import Unavailable
from authz.core.memory import Memory
from authz.observe.audit import JsonLinesAudit
from authz.observe.fanout import Fanout
from authz.observe.log import LogObserver
from authz.observe.otel import make_telemetry
from authz.server.aio import Limits, make_health_server, make_server
from authz.server.checks import Checks
from authz.server.health import Health
from authz.server.life import Drain, Endpoint, Hooks, run
from authz.tasks.sqlite import SqliteTasks
from authz.wire.encode import FALLBACK
from authz.wiring.gauges import trust_gauges
from authz.wiring.knowledge import Knowledge, make_pipeline, read
from authz.wiring.tasks import keep_house, make_first_key, make_task_server
from authz.wiring.trust import Trust

_log = logging.getLogger("authz")


def serve(config_file: Path) -> None:
    """Serve until told to stop; raises Unusable or Unavailable where that cannot be begun."""
    started = time.perf_counter()
    asyncio.run(_serve(read(config_file), started))


async def _serve(knowledge: Knowledge, started: float) -> None:
    settings = knowledge.settings
    memory = Memory(settings.tasks.max_remembered)
    store = SqliteTasks(settings.tasks.sqlite_file, memory)
    audit = JsonLinesAudit(settings.audit.file, settings.audit.values)
    health, trust = Health(), knowledge.trust
    telemetry = make_telemetry("authz", __version__, trust_gauges(trust))
    make_first_key(knowledge)
    pipeline = make_pipeline(knowledge, memory)
    checks = Checks(
        pipeline,
        store,
        store,
        audit,
        Fanout((LogObserver(), *telemetry.observers)),
        fallback=FALLBACK,
        timeout_seconds=settings.server.check_timeout_seconds,
        later=asyncio.get_running_loop().call_soon,
    )
    trust.start()
    endpoints = _endpoints(settings.server, trust, checks, health)
    if settings.tasks.service is not None:
        tasks = make_task_server(knowledge, store, audit, pipeline.policy)
        endpoints = (*endpoints, Endpoint("tasks", tasks, settings.tasks.service.listen, trust.tls_material))
    housekeeping = asyncio.create_task(keep_house(knowledge, store))
    hooks = Hooks(
        on_start=lambda: _log.info("serving after %.3f s", time.perf_counter() - started),
        on_hangup=lambda: _reopen(audit),
        why_unready=trust.why_unready,
    )
    drain = Drain(settings.server.drain_seconds, settings.server.stop_grace_seconds)
    try:
        await run(endpoints, health, drain, hooks)
    finally:
        housekeeping.cancel()
        await trust.stop()
        telemetry.shutdown(settings.server.stop_grace_seconds)
        audit.close()
        await store.close()


def _reopen(audit: JsonLinesAudit) -> None:
    try:
        audit.reopen()
    except Unavailable as error:
        _log.error("%s; answers go on into the file that was open", error)
    else:
        _log.info("audit log reopened")


def _endpoints(server: ServerSettings, trust: Trust, checks: Checks, health: Health) -> tuple[Endpoint, ...]:
    tls = trust.tls_material if server.transport == "tls" else None
    limits = Limits(server.max_request_bytes, server.max_connection_age_seconds)
    checking = Endpoint("checks", make_server(checks.answer, health, limits), server.listen, tls)
    if server.health_listen is None:
        return (checking,)
    # Health first: while our own certificate is waited for, it can say so.
    return Endpoint("health", make_health_server(health, limits), server.health_listen, None), checking
