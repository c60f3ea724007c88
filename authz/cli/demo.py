"""`authz demo`: the mesh of the quick start."""

import sys

import click


@click.command("demo")
@click.option("--keep-running", is_flag=True, help="Leave the mesh running and print commands to try, until Ctrl-C.")
def command(keep_running: bool) -> None:
    """Play hops of a small mesh, with real Envoys and mTLS, and say for each what was expected and what came.

    Exit status 0 only where every hop was answered as expected.
    """
    from rich.console import Console  # noqa: PLC0415  not needed for help

    from authz.demo.story import play  # noqa: PLC0415  as above

    sys.exit(play(Console(width=None if sys.stdout.isatty() else 120), keep_running=keep_running))
