"""The server: everything, joined and run."""

import asyncio
import gc
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from authz import __version__
from authz.config import ServerSettings, Settings, load_settings
from authz.core.errors import Place, Problem, Unavailable, Unusable
from authz.core.memory import Memory
from authz.observe.audit import JsonLinesAudit
from authz.observe.fanout import Fanout
from authz.observe.log import LogObserver, PacedHandler
from authz.observe.otel import make_telemetry
from authz.policy.bundle_expiry import UntilExpiry
from authz.policy.bundle_source import BundleSource
from authz.ports import Policy
from authz.server.aio import check_transport, health_transport
from authz.server.checks import Checks
from authz.server.health import Health
from authz.server.lanes import NotTested, choose, this_platform
from authz.server.life import Drain, Endpoint, Hooks, Transport, run
from authz.server.limits import Limits
from authz.server.turn import Turn, turn_taking_loop
from authz.wire.encode import FALLBACK
from authz.wiring.bundles import follow, poll
from authz.wiring.engines import make_opa
from authz.wiring.gauges import opa_gauges, rules_gauges, shadow_gauges, trust_gauges
from authz.wiring.knowledge import Knowledge, make_pipeline, read
from authz.wiring.origins import Look, Origin, origin_of
from authz.wiring.rules import Reload, Rules, look_at
from authz.wiring.shadow import Shadowing
from authz.wiring.stores import TaskStore, open_store
from authz.wiring.tasks import keep_house, make_first_key, make_task_transport
from authz.wiring.trust import Trust

_SWITCH_SECONDS = 0.0005
_GRPC_LOG_LINES_PER_MINUTE = 6

_log = logging.getLogger("authz")


def serve(config_file: Path) -> None:
    """Serve until told to stop; raises Unusable or Unavailable where that cannot be begun."""
    started = time.perf_counter()
    settings = load_settings(config_file)
    knowledge, seen = read_for_start(config_file, settings, origin_of(settings.policy))
    turn = _turn(config_file, settings.server)
    # Where two threads compute, neither waits for the other longer than this; Python's own 5 ms are many checks' time.
    sys.setswitchinterval(_SWITCH_SECONDS)
    with asyncio.Runner(loop_factory=partial(turn_taking_loop, turn) if turn else None) as runner:
        runner.run(_open(knowledge, seen, turn, started))


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


def _turn(config_file: Path, server: ServerSettings) -> Turn | None:
    """What the fast lane and the event loop share, where there is a fast lane; raises Unusable."""
    try:
        lane, why = choose(server.lane, this_platform())
    except NotTested as error:
        remedy = "Set server.lane: auto, or install a grpcio that is tested."
        raise Unusable(Problem(Place(config_file), f"server.lane is fast, but {error}", remedy)) from error
    _log.info("checks take the %s lane: %s", lane, why)
    return Turn() if lane == "fast" else None


async def _open(knowledge: Knowledge, seen: Look, turn: Turn | None, started: float) -> None:
    memory = Memory(knowledge.settings.tasks.max_remembered)
    async with open_store(knowledge.settings.tasks, memory) as store:
        await _serve(knowledge, seen, memory, store, turn, started)


async def _serve(  # noqa: PLR0913, PLR0917  what was opened before
    knowledge: Knowledge, seen: Look, memory: Memory, store: TaskStore, turn: Turn | None, started: float
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
    _pace_grpc()
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
        engine=opa,
    )
    trust.start()
    endpoints = _endpoints(settings.server, trust, checks, health, turn)
    if settings.tasks.service is not None:
        tasks = make_task_transport(knowledge, store, audit, policy, rules.classes_of)
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

    def on_start() -> None:
        _settle_in()
        _log.info("serving after %.3f s", time.perf_counter() - started)

    hooks = Hooks(
        on_start=on_start,
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


def _pace_grpc() -> None:
    """Let grpc log only so much: a caller can have it write a traceback for each header that is no UTF-8."""
    logger = logging.getLogger("grpc._cython.cygrpc")
    logger.addHandler(PacedHandler(_log, _GRPC_LOG_LINES_PER_MINUTE))
    logger.propagate = False


def _settle_in() -> None:
    """What was made for the start lives on, so the collector need not walk through it again and again."""
    gc.collect()
    gc.freeze()


def _endpoints(
    server: ServerSettings, trust: Trust, checks: Checks, health: Health, turn: Turn | None
) -> tuple[Endpoint, ...]:
    tls = trust.tls_material if server.transport == "tls" else None
    limits = Limits(server.max_request_bytes, server.max_connection_age_seconds)
    checking = Endpoint("checks", _check_transport(checks, health, limits, turn), server.listen, tls)
    if server.health_listen is None:
        return (checking,)
    # Health first: while our own certificate is waited for, it can say so.
    return Endpoint("health", health_transport(health, limits), server.health_listen, None), checking


def _check_transport(checks: Checks, health: Health, limits: Limits, turn: Turn | None) -> Transport:
    if turn is None:
        return check_transport(checks.answer, health, limits)
    from authz.server.fast import FastChecks, FastTransport  # noqa: PLC0415  an untested grpcio may not even have what it imports

    return FastTransport(FastChecks(checks, turn).handle, health, limits, FALLBACK)
