"""`authz serve`: the server itself."""

import logging
import sys
from pathlib import Path

import click

from authz.cli.options import config_option


@click.command("serve")
@config_option
def command(config_file: Path) -> None:
    """Answer Envoy's authorization checks until SIGTERM, then drain and stop.

    Traces and metrics go where the standard OTEL_* variables say.
    """
    from authz.wiring.server import serve  # noqa: PLC0415  grpc is slow to import, and help does not need it

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    serve(config_file)
