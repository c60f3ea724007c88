"""`authz catalog`: check a catalog, try it with a request, draft one."""

import json
import sys
from pathlib import Path
from typing import BinaryIO

import click

from authz.cli import EXIT_FAILED
from authz.cli.options import json_option

UNSET_REMEDY = "set class, dataset and sensitivity; denied until then"

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_service_option = click.option("--service", required=True, help="The service's name in the catalog, a word.")
_host_option = click.option("--host", help="The host that it answers to; by default what the file says, if anything.")


@click.group("catalog")
def command() -> None:
    """Check a catalog, see what it takes a request for, draft one."""


@command.command("check")
@json_option
@click.argument("file", metavar="CATALOG", type=_FILE)
def check(file: Path, as_json: bool) -> None:
    """Read CATALOG as the server does at start, and tell what is not filled in; status 1 where something is not."""
    from authz.wiring.catalog import look_at  # noqa: PLC0415  slow to import, and help does not need it

    operations, unset, version = look_at(file)
    if as_json:
        listed = [{"place": str(each.place), "resource": each.resource} for each in unset]
        click.echo(json.dumps({"operations": len(operations), "unset": listed, "version": version}, indent=2))
    else:
        click.echo(f"{file}: {len(operations)} operations, {len(unset)} entries not filled in, version {version}")
        for each in unset:
            click.echo(f"{each.place}: {each.resource}: {UNSET_REMEDY}")
    if unset:
        sys.exit(EXIT_FAILED)


@command.command("classify")
@json_option
@click.option("--header", "-H", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header; may be repeated.")
@click.option("--body", "body_file", type=click.File("rb"), help="A file with the body; - is standard input.")
@click.argument("file", metavar="CATALOG", type=_FILE)
@click.argument("method")
@click.argument("url")
def classify(
    file: Path, as_json: bool, headers: tuple[str, ...], body_file: BinaryIO | None, method: str, url: str
) -> None:
    """Tell what CATALOG takes a request for: METHOD and URL, such as GET crm.example.org/contacts/42.

    Status 1 where it takes it for nothing. With a body the content type is application/json unless a header says so.
    """
    from authz.core.errors import Refused  # noqa: PLC0415  as below
    from authz.wiring.catalog import Attempt, shown  # noqa: PLC0415  slow to import, and help does not need it
    from authz.wiring.catalog import classify as take  # noqa: PLC0415  as above

    body = body_file.read() if body_file else None
    found = take(file, Attempt.at(method, url, headers, body))
    if isinstance(found, Refused):
        reason = found.reason
        told = {"reason": reason.id, "status": reason.http_status, "meaning": reason.meaning, "detail": found.detail}
        click.echo(json.dumps(told, indent=2) if as_json else f"denied, {reason.http_status} {reason}: {found.detail}")
        sys.exit(EXIT_FAILED)
    values = shown(found)
    if as_json:
        click.echo(json.dumps(values, indent=2))
        return
    for name, value in values.items():
        if value not in ({}, ""):
            click.echo(f"{name:<18}{_plain(value)}")


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, dict):
        return ", ".join(f"{name} = {json.dumps(each, ensure_ascii=False)}" for name, each in value.items())
    return json.dumps(value) if isinstance(value, bool) else str(value)


@command.group("import")
def import_() -> None:
    """Draft a catalog. What only you know is `unset` in it, and denied until you set it."""


@import_.command("openapi")
@_service_option
@_host_option
@click.argument("file", type=_FILE)
def import_openapi(file: Path, service: str, host: str | None) -> None:
    """Print a draft for the routes that FILE, an OpenAPI 3 or Swagger 2 document, describes."""
    from authz.wiring.catalog import draft_from_openapi  # noqa: PLC0415  slow to import, and help does not need it

    click.echo(draft_from_openapi(file, service, host), nl=False)


@import_.command("mcp")
@_service_option
@_host_option
@click.option("--path", default="/mcp", show_default=True, help="The path of the MCP server.")
@click.argument("file", type=_FILE)
def import_mcp(file: Path, service: str, host: str | None, path: str) -> None:
    """Print a draft for the tools in FILE, the answer of an MCP server to tools/list as JSON."""
    from authz.wiring.catalog import draft_from_mcp  # noqa: PLC0415  slow to import, and help does not need it

    click.echo(draft_from_mcp(file, service, host, path), nl=False)
