"""The task service, joined from its parts; and what is done about tasks and token keys now and then."""

import asyncio
import logging
import time
from collections.abc import Mapping

from authz.core.errors import Unavailable, Unusable
from authz.core.hop import ActionClass, Operation
from authz.lifecycle import Lifecycle, Limits
from authz.ports import Audit, Policy
from authz.server.aio import PortableTransport, plain_transport
from authz.server.task_methods import task_handlers
from authz.server.task_service import TaskService
from authz.tasks.token import TokenIssuer
from authz.wiring.knowledge import Knowledge, token_terms
from authz.wiring.stores import TaskStore

TOKEN_KEYS_SECONDS = 1.0
"""How often the file of the token keys is looked at."""
PURGE_SECONDS = 10.0

_log = logging.getLogger("authz.tasks")


def make_task_transport(
    knowledge: Knowledge,
    store: TaskStore,
    audit: Audit,
    policy: Policy,
    classes: Mapping[str, frozenset[ActionClass]],
) -> PortableTransport:
    """The transport of the task service; nothing is bound yet. The configuration names the service.

    `classes` are those of each action in the catalog.
    """
    settings = knowledge.settings.tasks
    if settings.service is None:
        raise ValueError("the configuration names no task service")
    service, token = settings.service, settings.token
    lifecycle = Lifecycle(
        policy=policy,
        classes_of=classes,
        limits=Limits(service.max_lifetime_seconds, service.max_depth, service.max_approval_seconds),
    )
    issuer = None
    if token is not None and knowledge.token_keys is not None:
        issuer = TokenIssuer(knowledge.token_keys, token_terms(token))
    parts = TaskService(
        rules=lifecycle,
        caller=knowledge.trust.caller(),
        keeper=store,
        reader=store,
        news=store,
        audit=audit,
        issuer=issuer,
    )
    return plain_transport(task_handlers(parts))


def classes_of(operations: tuple[Operation, ...]) -> Mapping[str, frozenset[ActionClass]]:
    """The classes of each action, all together where it stands for several operations."""
    found: dict[str, frozenset[ActionClass]] = {}
    for operation in operations:
        found[operation.action] = found.get(operation.action, frozenset()) | operation.classes
    return found


def make_first_key(knowledge: Knowledge) -> None:
    """A key for tokens, where the configuration names a file and there is none; raises Unusable."""
    keys = knowledge.token_keys
    if keys is not None and not keys.file.exists():
        keys.rotate(publish_ahead_seconds=0, honoured_seconds=0)
        _log.info("token keys made: %s", keys.file)


async def keep_house(knowledge: Knowledge, store: TaskStore) -> None:
    """Follow the token keys' file, and delete tasks that expired long ago, until cancelled."""
    keys, keep_seconds = knowledge.token_keys, knowledge.settings.tasks.keep_expired_seconds
    next_purge, told = 0.0, ""
    while True:
        trouble = ""
        if keys is not None:
            try:
                keys.load()
            except Unusable as error:
                trouble = f"{error}; the last keys stay"
        if time.monotonic() >= next_purge:
            next_purge = time.monotonic() + PURGE_SECONDS
            try:
                await store.purge(time.time() - keep_seconds)
            except Unavailable as error:
                trouble = f"expired tasks stay: {error}"
        if trouble and trouble != told:
            _log.warning("%s", trouble)
        told = trouble
        await asyncio.sleep(TOKEN_KEYS_SECONDS)
