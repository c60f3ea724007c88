"""The `authz` command. Each subcommand is one file, imported only when it is called, so that help comes at once."""

import importlib
import sys

import click

from authz import __version__

COMMANDS = {
    "serve": "Answer Envoy's authorization checks until told to stop.",
    "task": "Start, look at and end tasks.",
    "explain": "Tell step by step how a recorded check is decided.",
    "policy": "Check policies, try them with tables of cases, make signed bundles of them.",
    "replay": "Ask a candidate policy set about the hops of an audit log.",
    "catalog": "Check a catalog, try it with a request, draft one from OpenAPI or MCP.",
    "identity": "Parse SPIFFE IDs and verify certificates, as the server does.",
    "config": "Check or show the configuration.",
    "demo": "Play hops of a small mesh: real Envoys, real mTLS, before your eyes.",
}

EXIT_UNUSABLE = 2
"""What was given cannot be used: configuration, catalog, policies, arguments."""
EXIT_FAILED = 1
"""What was given is fine, and it could not be done, or the answer is no."""


class _Commands(click.Group):
    """A group that knows its commands' names and one-line helps without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's signature
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"authz.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  click's signature
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="authz")
def authz() -> None:
    """Runtime authorization for AI agents, at every hop of an Envoy mesh."""


def main() -> None:
    """Run the command line; what an operator gave us that is wrong becomes a message, never a traceback."""
    from authz.core.errors import Unavailable, Unusable  # noqa: PLC0415  not needed for help

    try:
        authz(prog_name="authz")
    except Unusable as error:
        count = len(error.problems)
        click.echo(f"authz: {count} problem{'s' * (count != 1)}\n{error}", err=True)
        sys.exit(EXIT_UNUSABLE)
    except Unavailable as error:
        click.echo(f"authz: {error}", err=True)
        sys.exit(EXIT_FAILED)
