"""The server: everything, joined and run."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from authz import __version__
from authz.config import ServerSettings, Settings, load_settings
from authz.core.errors import Unavailable, Unusable
from authz.core.memory import Memory
from authz.observe.audit import JsonLinesAudit
from authz.observe.fanout import Fanout
from authz.observe.log import LogObserver
from authz.observe.otel import make_telemetry
from authz.policy.bundle_expiry import UntilExpiry
from authz.policy.bundle_source import BundleSource
from authz.ports import Policy
from authz.server.aio import make_health_server
from authz.server.checks import Checks
from authz.server.health import Health
from authz.server.lane import Soon
from authz.server.life import Drain, Endpoint, Hooks, run
from authz.server.transport import Limits
from authz.server.turns import Turns
from authz.wire.encode import FALLBACK
from authz.wiring.bundles import follow, poll
from authz.wiring.engines import make_opa
from authz.wiring.gauges import opa_gauges, rules_gauges, shadow_gauges, trust_gauges
from authz.wiring.knowledge import Knowledge, make_pipeline, read
from authz.wiring.lanes import choose_lane, loop_of, make_transport
from authz.wiring.origins import Look, Origin, origin_of
from authz.wiring.rules import Reload, Rules, look_at
from authz.wiring.shadow import Shadowing
from authz.wiring.stores import TaskStore, open_store
from authz.wiring.tasks import keep_house, make_first_key, make_task_server
from authz.wiring.trust import Trust

_log = logging.getLogger("authz")


def serve(config_file: Path) -> None:
    """Serve until told to stop; raises Unusable or Unavailable where that cannot be begun."""
    started = time.perf_counter()
    settings = load_settings(config_file)
    knowledge, seen = read_for_start(config_file, settings, origin_of(settings.policy))
    turns = choose_lane(settings.server, config_file)
    with asyncio.Runner(loop_factory=None if turns is None else lambda: loop_of(turns)) as runner:
        runner.run(_open(knowledge, seen, turns, started))


def read_for_start(config_file: Path, settings: Settings, origin: Origin) -> tuple[Knowledge, Look]:
    """What the configuration names, and how its files looked before: a write between the two is a change.

    Raises Unusable.
    """
    origin.start()
    seen = look_at(settings, origin)
    try:
        knowledge = read(config_file, settings, origin)
    except Unusable as unusable:
        if not origin.goes_back(unusable):
            raise
        seen = look_at(settings, origin)
        knowledge = read(config_file, settings, origin)
    origin.keep()
    origin.taken()
    return knowledge, seen


async def _open(knowledge: Knowledge, seen: Look, turns: Turns | None, started: float) -> None:
    memory = Memory(knowledge.settings.tasks.max_remembered)
    async with open_store(knowledge.settings.tasks, memory) as store:
        await _serve(knowledge, seen, memory, store, turns, started)


async def _serve(  # noqa: PLR0913, PLR0917  what was opened before
    knowledge: Knowledge, seen: Look, memory: Memory, store: TaskStore, turns: Turns | None, started: float
) -> None:
    settings = knowledge.settings
    audit = JsonLinesAudit(settings.audit.file, settings.audit.values)
    health, trust = Health(), knowledge.trust
    for _ in knowledge.policy.make_ready():
        pass
    rules = Rules(knowledge.catalog, knowledge.policy)
    bundles = knowledge.origin if isinstance(knowledge.origin, BundleSource) else None
    policy: Policy = UntilExpiry(rules, bundles) if bundles else rules
    reload = Reload(settings, rules, seen, origin=knowledge.origin)
    shadowing = Shadowing.of(settings, rules, reload)
    of_shadows = [gauge for each in shadowing for gauge in shadow_gauges(each.shadow, each.reload)]
    opa = make_opa(settings)
    of_opa = opa_gauges(opa.client) if opa else ()
    gauges = (*trust_gauges(trust), *rules_gauges(rules, reload, bundles), *of_shadows, *of_opa)
    telemetry = make_telemetry("authz", __version__, gauges)
    make_first_key(knowledge)
    pipeline = replace(make_pipeline(knowledge, memory), catalog=rules, policy=opa or policy)
    checks = Checks(
        pipeline,
        store,
        store,
        audit,
        Fanout((LogObserver(), *telemetry.observers, *(each.shadow for each in shadowing))),
        fallback=FALLBACK,
        timeout_seconds=settings.server.check_timeout_seconds,
        later=asyncio.get_running_loop().call_soon if turns is None else Soon(asyncio.get_running_loop()),
        engine=opa,
    )
    trust.start()
    endpoints = _endpoints(settings.server, trust, checks, health, turns)
    if settings.tasks.service is not None:
        tasks = make_task_server(knowledge, store, audit, policy, rules.classes_of)
        endpoints = (*endpoints, Endpoint("tasks", tasks, settings.tasks.service.listen, trust.tls_material))
    beside = [keep_house(knowledge, store), reload.watch(), *(run for each in shadowing for run in each.runs())]
    if bundles and settings.policy.bundle:
        beside.append(follow(bundles, settings.policy.bundle.poll_seconds))
    keeping = {asyncio.create_task(each) for each in beside}

    def on_hangup() -> None:
        _reopen(audit)
        look = asyncio.create_task(_look(bundles, (reload, *(one.reload for one in shadowing))))
        keeping.add(look)  # the event loop alone would let go of it
        look.add_done_callback(keeping.discard)

    hooks = Hooks(
        on_start=lambda: _log.info("serving after %.3f s", time.perf_counter() - started),
        on_hangup=on_hangup,
        why_unready=trust.why_unready,
    )
    drain = Drain(settings.server.drain_seconds, settings.server.stop_grace_seconds)
    try:
        await run(endpoints, health, drain, hooks)
    finally:
        for task in tuple(keeping):
            task.cancel()
        if bundles:
            bundles.stop()
        await trust.stop()
        telemetry.shutdown(settings.server.stop_grace_seconds)
        audit.close()
        if opa is not None:
            opa.close()


async def _look(bundles: BundleSource | None, reloads: Sequence[Reload]) -> None:
    if bundles:
        await poll(bundles)
    for each in reloads:
        await each.look(is_whole=True)


def _reopen(audit: JsonLinesAudit) -> None:
    try:
        audit.reopen()
    except Unavailable as error:
        _log.error("%s; answers go on into the file that was open", error)
    else:
        _log.info("audit log reopened")


def _endpoints(
    server: ServerSettings, trust: Trust, checks: Checks, health: Health, turns: Turns | None
) -> tuple[Endpoint, ...]:
    tls = trust.tls_material if server.transport == "tls" else None
    limits = Limits(server.max_request_bytes, server.max_connection_age_seconds)
    transport = make_transport(checks, health, limits, turns)
    checking = Endpoint("checks", transport, server.listen, tls)
    if server.health_listen is None:
        return (checking,)
    # Health first: while our own certificate is waited for, it can say so.
    return Endpoint("health", make_health_server(health, limits), server.health_listen, None), checking
