"""`authz task start | get | list | end`: tasks, in the store that the configuration names."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from authz.cli import EXIT_FAILED
from authz.cli.options import (
    UNIT_SECONDS,
    Duration,
    GrantType,
    SpiffeIdType,
    config_option,
    json_option,
    shown_time,
)
from authz.core.acts import End, NoSuchTask, Put
from authz.core.hop import Sensitivity
from authz.core.ids import uuid7
from authz.core.spiffe import SCHEME, SpiffeId
from authz.core.task import Grant, Task, TaskState
from authz.ports import TaskReader

_ID_RANDOMNESS_BYTES = 10
_PAGE = 1000
_WIDTH_OF_FILES = 200
"""Columns, where the table goes to a file or a pipe that has no width of its own."""


@click.group("task")
def command() -> None:
    """Start, look at and end tasks. Ending one denies its very next hop."""


@command.command("start")
@config_option
@json_option
@click.option(
    "--agent", "agents", type=SpiffeIdType(), multiple=True, required=True, help="Who works on it; may repeat."
)
@click.option("--owner", required=True, help="On whose behalf.")
@click.option("--purpose", required=True, help="What for, in a few words.")
@click.option(
    "--grant", "grants", type=GrantType(), multiple=True, required=True, help="WHAT[,..]:DATASET[,..]; may repeat."
)
@click.option(
    "--ceiling",
    type=click.Choice([str(each) for each in Sensitivity]),
    required=True,
    help="The highest sensitivity it may touch.",
)
@click.option("--expires-in", "lifetime_seconds", type=Duration(), required=True, help="Its time: 90s, 15m, 8h, 2d.")
def start(
    config_file: Path,
    as_json: bool,
    agents: tuple[SpiffeId, ...],
    owner: str,
    purpose: str,
    grants: tuple[Grant, ...],
    ceiling: str,
    lifetime_seconds: float,
) -> None:
    """Start a task and print its id.

    A grant names action classes or actions, and datasets: read:crm.contacts, or read,write:crm, or
    mail.message.send:mail. What no grant names is denied; policies can only narrow it.
    """
    now = int(time.time() * 1000) / 1000
    task = Task(
        id=uuid7(now, os.urandom(_ID_RANDOMNESS_BYTES)),
        owner=owner,
        purpose=purpose,
        agents=frozenset(agents),
        grants=grants,
        ceiling=Sensitivity[ceiling.upper()],
        starts_unix_seconds=now,
        expires_unix_seconds=now + lifetime_seconds,
        state=TaskState.ACTIVE,
    )
    from authz.wiring.store import open_task_store  # noqa: PLC0415  not needed for help

    with open_task_store(config_file) as store:
        try:
            asyncio.run(store.do(Put(task)))
        except ValueError as error:
            raise click.BadParameter(f"the task cannot be kept: {error}") from error
    _print([task], now, as_json=as_json, one=True)


@command.command("get")
@config_option
@json_option
@click.argument("task_id")
def get(config_file: Path, as_json: bool, task_id: str) -> None:
    """Show one task."""
    from authz.wiring.store import open_task_store  # noqa: PLC0415  not needed for help

    with open_task_store(config_file) as store:
        try:
            task = asyncio.run(store.get(task_id)).task
        except NoSuchTask:
            _no_such_task(task_id)
    _print([task], time.time(), as_json=as_json, one=True)


@command.command("list")
@config_option
@json_option
@click.option("--all", "include_past", is_flag=True, help="Ended and expired ones too.")
def list_(config_file: Path, as_json: bool, include_past: bool) -> None:
    """List the live tasks, oldest first."""
    from authz.wiring.store import open_task_store  # noqa: PLC0415  not needed for help

    now = time.time()
    with open_task_store(config_file) as store:
        tasks = [task for task in asyncio.run(_all(store)) if include_past or _state(task, now) == "active"]
    _print(tasks, now, as_json=as_json, one=False)


@command.command("end")
@config_option
@click.argument("task_ids", nargs=-1, required=True, metavar="TASK_ID...")
def end(config_file: Path, task_ids: tuple[str, ...]) -> None:
    """End tasks for good. When this returns, their next hops are denied."""
    from authz.wiring.store import open_task_store  # noqa: PLC0415  not needed for help

    with open_task_store(config_file) as store:
        for task_id in task_ids:
            try:
                asyncio.run(store.do(End(task_id)))
            except NoSuchTask:
                _no_such_task(task_id)
            click.echo(f"{task_id} ended")


async def _all(reader: TaskReader) -> list[Task]:
    tasks, after = list[Task](), ""
    while page := await reader.list(after, _PAGE):
        tasks.extend(page)
        after = page[-1].id
    return tasks


def _no_such_task(task_id: str) -> None:
    click.echo(f"authz: there is no task {task_id}\n    `authz task list --all` shows those there are.", err=True)
    raise SystemExit(EXIT_FAILED)


def _state(task: Task, now: float) -> str:
    if task.state is not TaskState.ACTIVE:
        return str(task.state)
    return "expired" if now >= task.expires_unix_seconds else "active"


def _document(task: Task, now: float) -> dict[str, object]:
    return {
        "id": task.id,
        "state": _state(task, now),
        "owner": task.owner,
        "purpose": task.purpose,
        "agents": sorted(map(str, task.agents)),
        "grants": [str(grant) for grant in task.grants],
        "ceiling": str(task.ceiling),
        "starts": shown_time(task.starts_unix_seconds),
        "expires": shown_time(task.expires_unix_seconds),
    }


def _print(tasks: Sequence[Task], now: float, *, as_json: bool, one: bool) -> None:
    documents = [_document(task, now) for task in tasks]
    if as_json:
        click.echo(json.dumps(documents[0] if one else documents, indent=2))
    elif one:
        for name, value in documents[0].items():
            lines = value if isinstance(value, list) else [value]
            for number, line in enumerate(lines):
                click.echo(f"{'' if number else name:<9}{line}")
    elif tasks:
        _print_table(tasks, now)
    else:
        click.echo("no live tasks; `--all` shows past ones")


def _print_table(tasks: Sequence[Task], now: float) -> None:
    from rich.console import Console  # noqa: PLC0415  not needed for help
    from rich.table import Table  # noqa: PLC0415  as above

    table = Table(box=None, pad_edge=False)
    for name in ("id", "state", "left"):
        table.add_column(name, no_wrap=True)
    for name in ("owner", "agents", "grants", "purpose"):
        table.add_column(name, overflow="fold")
    for task in tasks:
        agents = "\n".join(sorted(agent.uri.removeprefix(SCHEME) for agent in task.agents))
        grants = "\n".join([*map(str, task.grants), f"up to {task.ceiling}"])
        table.add_row(task.id, _state(task, now), _left(task, now), task.owner, agents, grants, task.purpose)
    Console(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES).print(table)


def _left(task: Task, now: float) -> str:
    """The time that is left, in its largest unit."""
    seconds = max(0.0, task.expires_unix_seconds - now)
    unit = next((unit for unit in reversed(UNIT_SECONDS) if seconds >= UNIT_SECONDS[unit]), "s")
    return f"{seconds / UNIT_SECONDS[unit]:.0f}{unit}"
