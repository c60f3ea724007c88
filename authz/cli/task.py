"""`authz task ...`: start, narrow, approve and end errands, at a task service or in the store that this machine has."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click

from authz.cli.options import Duration, config_option, json_option
from authz.cli.task_reach import drafting, reaching, run
from authz.core.hop import Sensitivity
from authz.core.spiffe import SpiffeId
from authz.core.task import Grant

_PAGE = 1000


@click.group("task")
def command() -> None:
    """Start, narrow, approve, look at and end tasks. Ending one denies its very next hop.

    With --server a task service is asked, over mTLS. Without it the embedded store is, which the configuration names.
    """


@command.command("start")
@reaching
@json_option
@click.option("--owner", required=True, help="On whose behalf.")
@drafting
def start(owner: str, *, as_json: bool, **options: Any) -> None:  # noqa: ANN401  click's options
    """Start a task and print its id, and its token where the configuration names keys.

    A grant names action classes or actions, and datasets: read:crm.contacts, or read,write:crm, or
    mail.message.send:mail. What no grant names is denied; policies can only narrow it.
    """
    from authz.api.methods import START  # noqa: PLC0415  protobuf is not needed for help
    from authz.api.pb.authz.tasks.v1.tasks_pb2 import StartRequest  # noqa: PLC0415  as above

    draft = _draft(owner, options)
    _show_started(_ask(options, START, StartRequest(draft=draft)), as_json=as_json)


@command.command("delegate")
@reaching
@json_option
@click.argument("task_id")
@drafting
def delegate(task_id: str, *, as_json: bool, **options: Any) -> None:  # noqa: ANN401  as above
    """Delegate part of a task to other agents; it can only be narrower, and ends with the task."""
    from authz.api.methods import DELEGATE  # noqa: PLC0415  as above
    from authz.api.pb.authz.tasks.v1.tasks_pb2 import DelegateRequest  # noqa: PLC0415  as above

    draft = _draft("", options)
    _show_started(_ask(options, DELEGATE, DelegateRequest(task_id=task_id, draft=draft)), as_json=as_json)


@command.command("token")
@reaching
@click.argument("task_id")
def token(task_id: str, **options: Any) -> None:  # noqa: ANN401  as above
    """Print a new token for a task."""
    from authz.api.methods import ISSUE_TOKEN  # noqa: PLC0415  as above
    from authz.api.pb.authz.tasks.v1.tasks_pb2 import IssueTokenRequest  # noqa: PLC0415  as above

    click.echo(_ask(options, ISSUE_TOKEN, IssueTokenRequest(task_id=task_id)).token)


@command.command("keys")
@reaching
def keys(**options: Any) -> None:  # noqa: ANN401  as above
    """Print the public keys of tokens, as a JWK set."""
    from authz.api.methods import GET_KEYS  # noqa: PLC0415  as above
    from authz.api.pb.authz.tasks.v1.tasks_pb2 import GetKeysRequest  # noqa: PLC0415  as above

    click.echo(_ask(options, GET_KEYS, GetKeysRequest()).jwks)


@command.command("rotate-keys")
@config_option
@click.option("--signs-after", type=Duration(), default="2m", show_default=True, help="So that all know the new key.")
def rotate_keys(config_file: Path, signs_after: float) -> None:
    """Add a key that signs tokens soon; the others' tokens count until they have ended."""
    from authz.wiring.token_keys import rotate  # noqa: PLC0415  as above

    click.echo(f"{rotate(config_file, signs_after)} signs in {signs_after:g} s")


@command.command("get")
@reaching
@json_option
@click.argument("task_id")
def get(task_id: str, *, as_json: bool, **options: Any) -> None:  # noqa: ANN401  as above
    """Show one task, and what its agents ask approvals for."""
    from authz.api.methods import GET  # noqa: PLC0415  as above
    from authz.api.pb.authz.tasks.v1.tasks_pb2 import GetRequest  # noqa: PLC0415  as above
    from authz.cli.task_output import show_one  # noqa: PLC0415  as above

    found = _ask(options, GET, GetRequest(task_id=task_id))
    show_one(found.task, found.access_requests, as_json=as_json)


@command.command("list")
@reaching
@json_option
@click.option("--all", "include_past", is_flag=True, help="Ended and expired ones too.")
def list_(*, as_json: bool, include_past: bool, **options: Any) -> None:  # noqa: ANN401  as above
    """List the live tasks, oldest first."""
    from authz.cli.task_output import is_past, show_many  # noqa: PLC0415  as above

    tasks = run(options, _all)
    show_many([each for each in tasks if include_past or not is_past(each)], as_json=as_json)


@command.command("watch")
@reaching
@json_option
@click.argument("task_id", required=False, default="")
def watch(task_id: str, *, as_json: bool, **options: Any) -> None:  # noqa: ANN401  as above
    """Print a line for each change of a task, or of every task, until interrupted."""
    from authz.api.pb.authz.tasks.v1.tasks_pb2 import WatchRequest  # noqa: PLC0415  as above
    from authz.cli.task_output import show_change  # noqa: PLC0415  as above

    async def watched(desk: Any) -> None:  # noqa: ANN401  a Desk, which help does not need
        changes: AsyncIterator[Any] = desk.watch(WatchRequest(task_id=task_id))
        async for change in changes:
            show_change(change.task, change.access_requests, as_json=as_json)

    run(options, watched)


@command.command("end")
@reaching
@click.argument("task_ids", nargs=-1, required=True, metavar="TASK_ID...")
def end(task_ids: tuple[str, ...], **options: Any) -> None:  # noqa: ANN401  as above
    """End tasks for good, with all that they delegated. When this returns, their next hops are denied."""
    _change(options, "END", "EndRequest", task_ids, "ended")


@command.command("suspend")
@reaching
@click.argument("task_ids", nargs=-1, required=True, metavar="TASK_ID...")
def suspend(task_ids: tuple[str, ...], **options: Any) -> None:  # noqa: ANN401  as above
    """Stop tasks, with all that they delegated, until they are resumed."""
    _change(options, "SUSPEND", "SuspendRequest", task_ids, "suspended")


@command.command("resume")
@reaching
@click.argument("task_ids", nargs=-1, required=True, metavar="TASK_ID...")
def resume(task_ids: tuple[str, ...], **options: Any) -> None:  # noqa: ANN401  as above
    """Let suspended tasks go on."""
    _change(options, "RESUME", "ResumeRequest", task_ids, "resumed")


@command.command("approve")
@reaching
@click.argument("task_id")
@click.argument("digest")
@click.option("--kind", required=True, help="Which of the approvals that the request asks for.")
@click.option("--expires-in", "lifetime", type=Duration(), default="15m", show_default=True, help="90s, 15m, 8h, 2d.")
def approve(task_id: str, digest: str, kind: str, lifetime: float, **options: Any) -> None:  # noqa: ANN401  as above
    """Let one hop go on that was stopped: `authz task get` shows the digests of what is asked for."""
    from authz.api.messages import duration  # noqa: PLC0415  as above
    from authz.api.methods import APPROVE  # noqa: PLC0415  as above
    from authz.api.pb.authz.tasks.v1.tasks_pb2 import ApproveRequest  # noqa: PLC0415  as above

    request = ApproveRequest(task_id=task_id, digest=digest, kind=kind, lifetime=duration(lifetime))
    click.echo(f"{_ask(options, APPROVE, request).approval_id} approves {digest}")


@command.command("deny")
@reaching
@click.argument("task_id")
@click.argument("digest")
def deny(task_id: str, digest: str, **options: Any) -> None:  # noqa: ANN401  as above
    """Say no to what an agent asks for."""
    from authz.api.methods import DENY  # noqa: PLC0415  as above
    from authz.api.pb.authz.tasks.v1.tasks_pb2 import DenyRequest  # noqa: PLC0415  as above

    _ask(options, DENY, DenyRequest(task_id=task_id, digest=digest))
    click.echo(f"{digest} denied")


def _draft(owner: str, options: dict[str, Any]) -> Any:  # noqa: ANN401  a message
    from authz.api.messages import draft_message  # noqa: PLC0415  as above
    from authz.core.demand import Draft  # noqa: PLC0415  as above

    agents: tuple[SpiffeId, ...] = options.pop("agents")
    grants: tuple[Grant, ...] = options.pop("grants")
    return draft_message(
        Draft(
            owner=owner,
            purpose=options.pop("purpose"),
            agents=frozenset(agents),
            grants=grants,
            ceiling=Sensitivity.of(options.pop("ceiling")),
            lifetime_seconds=options.pop("lifetime"),
            idle_seconds=options.pop("idle"),
            budget_hops=options.pop("budget"),
        )
    )


def _show_started(started: Any, *, as_json: bool) -> None:  # noqa: ANN401  a message
    from authz.cli.task_output import show_one  # noqa: PLC0415  as above

    show_one(started.task, (), as_json=as_json, token=started.token)


def _change(options: dict[str, Any], method: str, message: str, task_ids: tuple[str, ...], done: str) -> None:
    from authz.api import methods  # noqa: PLC0415  as above
    from authz.api.pb.authz.tasks.v1 import tasks_pb2  # noqa: PLC0415  as above

    async def changed(desk: Any) -> None:  # noqa: ANN401  as above
        for task_id in task_ids:
            await desk.call(getattr(methods, method), getattr(tasks_pb2, message)(task_id=task_id))
            click.echo(f"{task_id} {done}")

    run(options, changed)


async def _all(desk: Any) -> list[Any]:  # noqa: ANN401  as above
    from authz.api.methods import LIST  # noqa: PLC0415  as above
    from authz.api.pb.authz.tasks.v1.tasks_pb2 import ListRequest  # noqa: PLC0415  as above

    tasks, place = list[Any](), ""
    while True:
        page = await desk.call(LIST, ListRequest(page_size=_PAGE, page_token=place))
        tasks.extend(page.tasks)
        place = page.next_page_token
        if not place:
            return tasks


def _ask(options: dict[str, Any], method: Any, request: Any) -> Any:  # noqa: ANN401  messages
    async def asked(desk: Any) -> Any:  # noqa: ANN401  as above
        return await desk.call(method, request)

    return run(options, asked)
