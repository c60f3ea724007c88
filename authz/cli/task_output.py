"""How `authz task` shows tasks: as JSON for machines, as lines and tables for people."""

import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

import click

from authz.api.pb.authz.tasks.v1 import tasks_pb2 as pb
from authz.cli.options import UNIT_SECONDS, shown_time
from authz.core.spiffe import SCHEME

_WIDTH_OF_FILES = 200
"""Columns, where the table goes to a file or a pipe that has no width of its own."""


def is_past(task: pb.Task) -> bool:
    """Whether it is over."""
    return task.state in (pb.State.ENDED, pb.State.EXPIRED)


def show_one(task: pb.Task, requests: Iterable[pb.AccessRequest], *, as_json: bool, token: str = "") -> None:
    """One task, with all that is known of it."""
    document = _document(task)
    if token:
        document["token"] = token
    asked = [_request_document(each) for each in requests]
    if asked:
        document["access_requests"] = asked
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    width = max(map(len, document)) + 2
    for name, value in document.items():
        lines = value if isinstance(value, list) else [value]
        for number, line in enumerate(lines):
            text = json.dumps(line) if isinstance(line, dict) else line
            click.echo(f"{'' if number else name:<{width}}{text}")


def show_many(tasks: Sequence[pb.Task], *, as_json: bool) -> None:
    """Tasks as a table."""
    if as_json:
        click.echo(json.dumps([_document(task) for task in tasks], indent=2))
    elif tasks:
        _print_table(tasks, time.time())
    else:
        click.echo("no live tasks; `--all` shows past ones")


def show_change(task: pb.Task, requests: Iterable[pb.AccessRequest], *, as_json: bool) -> None:
    """One line for one change."""
    asked = [_request_document(each) for each in requests]
    if as_json:
        click.echo(json.dumps({**_document(task), "access_requests": asked}))
        return
    waiting = sum(not each["denied"] and not each["approved_by"] for each in asked)
    approvals = f", {waiting} waiting for approval" if waiting else ""
    session = f"{len(task.session.actions)} actions seen, up to {task.session.high_water}"
    click.echo(f"{shown_time(time.time())}  {task.id}  {_state(task):<9} {session}{approvals}")


def _document(task: pb.Task) -> dict[str, Any]:
    document: dict[str, Any] = {
        "id": task.id,
        "state": _state(task),
        "owner": task.owner,
        "purpose": task.purpose,
        "agents": list(task.agents),
        "grants": list(task.grants),
        "ceiling": task.ceiling,
        "starts": shown_time(_seconds(task.starts)),
        "expires": shown_time(_seconds(task.expires)),
        "started_by": task.started_by,
    }
    if task.parent_id:
        document["delegated_by"] = task.parent_id
    if task.transaction:
        document["transaction"] = task.transaction
    if task.HasField("idle"):
        document["idle_seconds"] = task.idle.ToTimedelta().total_seconds()
    if task.HasField("budget_hops"):
        document["hops"] = f"{task.spent_hops} of {task.budget_hops}"
    if task.session.actions:
        document["seen"] = list(task.session.actions)
        document["high_water"] = task.session.high_water
    return document


def _request_document(request: pb.AccessRequest) -> dict[str, Any]:
    return {
        "digest": request.digest,
        "agent": request.agent,
        "action": request.action,
        "resource": request.resource,
        "parameters": dict(request.parameters),
        "arguments_digest": request.arguments_digest,
        "kinds": list(request.kinds),
        "denied": request.denied,
        "approved_by": [each.approver for each in request.approvals],
    }


def _state(task: pb.Task) -> str:
    return pb.State.Name(task.state).lower()


def _seconds(moment: Any) -> float:  # noqa: ANN401  a Timestamp
    milliseconds: int = moment.ToMilliseconds()
    return milliseconds / 1000


def _print_table(tasks: Sequence[pb.Task], now: float) -> None:
    from rich.console import Console  # noqa: PLC0415  not needed for JSON
    from rich.table import Table  # noqa: PLC0415  as above

    table = Table(box=None, pad_edge=False)
    for name in ("id", "state", "left"):
        table.add_column(name, no_wrap=True)
    for name in ("owner", "agents", "grants", "purpose"):
        table.add_column(name, overflow="fold")
    for task in tasks:
        agents = "\n".join(sorted(agent.removeprefix(SCHEME) for agent in task.agents))
        grants = "\n".join([*task.grants, f"up to {task.ceiling}"])
        table.add_row(task.id, _state(task), _left(task, now), task.owner, agents, grants, task.purpose)
    Console(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES).print(table)


def _left(task: pb.Task, now: float) -> str:
    """The time that is left, in its largest unit."""
    seconds = max(0.0, _seconds(task.expires) - now)
    unit = next((unit for unit in reversed(UNIT_SECONDS) if seconds >= UNIT_SECONDS[unit]), "s")
    return f"{seconds / UNIT_SECONDS[unit]:.0f}{unit}"
