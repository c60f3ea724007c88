"""`authz demo`: the mesh of the quick start, or a smaller one over SPIRE."""

import sys

import click


@click.command("demo")
@click.option("--keep-running", is_flag=True, help="Leave the mesh running and print commands to try, until Ctrl-C.")
@click.option("--spire", is_flag=True, help="Over SPIRE: federated trust domains, SVIDs renewed while hops go on.")
def command(keep_running: bool, spire: bool) -> None:
    """Play hops of a small mesh, with real Envoys and mTLS, and say for each what was expected and what came.

    Exit status 0 only where every hop was answered as expected.
    """
    if spire and keep_running:
        raise click.UsageError("--spire and --keep-running do not go together")
    from rich.console import Console  # noqa: PLC0415  not needed for help

    console = Console(width=None if sys.stdout.isatty() else 120)
    if spire:
        from authz.demo.spire import play as play_over_spire  # noqa: PLC0415  as above

        sys.exit(play_over_spire(console))
    from authz.demo.story import play  # noqa: PLC0415  as above

    sys.exit(play(console, keep_running=keep_running))
