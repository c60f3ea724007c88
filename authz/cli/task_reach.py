"""What the commands of `authz task` share: options that say where tasks are and what is wanted, and the way there."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from authz.cli import EXIT_FAILED
from authz.cli.options import Duration, GrantType, SpiffeIdType, config_option
from authz.core.hop import Sensitivity

_F = TypeVar("_F", bound=Callable[..., Any])

_FILE = click.Path(path_type=Path, dir_okay=False)


def reaching(function: _F) -> _F:
    """The options that say where tasks are."""
    for option in reversed(
        [
            config_option,
            click.option("--server", "address", envvar="AUTHZ_TASKS_SERVER", show_envvar=True, help="HOST:PORT."),
            click.option("--certificate", type=_FILE, envvar="AUTHZ_CERTIFICATE", help="Our SVID, PEM, leaf first."),
            click.option("--key", type=_FILE, envvar="AUTHZ_KEY", help="Its private key, PEM."),
            click.option("--bundle", type=_FILE, envvar="AUTHZ_BUNDLE", help="The server's authorities, PEM."),
            click.option("--server-name", envvar="AUTHZ_SERVER_NAME", help="A DNS name in the server's SVID."),
        ]
    ):
        function = option(function)
    return function


def drafting(function: _F) -> _F:
    """The options that say what a task is to be."""
    ceilings = click.Choice([str(each) for each in Sensitivity])
    for option in reversed(
        [
            click.option("--agent", "agents", type=SpiffeIdType(), multiple=True, required=True, help="May repeat."),
            click.option("--purpose", required=True, help="What for, in a few words."),
            click.option(
                "--grant", "grants", type=GrantType(), multiple=True, required=True, help="WHAT[,..]:DATASET[,..]."
            ),
            click.option("--ceiling", type=ceilings, required=True, help="The highest sensitivity it may touch."),
            click.option("--expires-in", "lifetime", type=Duration(), required=True, help="90s, 15m, 8h, 2d."),
            click.option("--idle", "idle", type=Duration(), help="How long its session may rest."),
            click.option("--hops", "budget", type=click.IntRange(0, 2**31), help="How many hops it may be allowed."),
        ]
    ):
        function = option(function)
    return function


def run(options: dict[str, Any], visit: Callable[[Any], Any]) -> Any:  # noqa: ANN401  what the visit brings
    """Go to where tasks are and do it there; what fails is told in a line or two."""
    from authz.api.failures import Failed  # noqa: PLC0415  as above
    from authz.wiring.task_desk import Credentials, open_desk  # noqa: PLC0415  as above

    files = options["certificate"], options["key"], options["bundle"]
    credentials = Credentials(*files, options["server_name"]) if all(files) else None

    async def visited() -> Any:  # noqa: ANN401  as above
        async with open_desk(options["config_file"], options["address"], credentials) as desk:
            return await visit(desk)

    try:
        return asyncio.run(visited())
    except Failed as failed:
        decision = f", decision {failed.facts['decision_id']}" if "decision_id" in failed.facts else ""
        click.echo(f"authz: {failed.message} ({failed.reason}{decision})", err=True)
        if failed.reason == "task_unknown":
            click.echo("    `authz task list --all` shows those there are.", err=True)
        raise SystemExit(EXIT_FAILED) from failed
    except KeyboardInterrupt:
        return None
