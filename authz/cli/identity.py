"""`authz identity`: SPIFFE IDs and certificates, judged by the rules that the server has for callers."""

import json
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import click

from authz.cli import EXIT_FAILED
from authz.cli.options import Moment, json_option, shown_time
from authz.core.errors import Refused
from authz.core.identity import Identity
from authz.core.spiffe import NotASpiffeId, SpiffeId, check_trust_domain


class BundleFileType(click.ParamType[tuple[str, Path]]):
    """A trust domain and the file of its bundle: example.org=bundle.pem."""

    name = "trust-domain=file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Path]:  # noqa: ANN401  click's signature
        """The trust domain and the path."""
        if isinstance(value, tuple):
            return value
        trust_domain, equals, path = value.partition("=")
        if not equals or not path:
            self.fail(f"{value!r} names no file: write example.org=bundle.pem", param, ctx)
        try:
            return check_trust_domain(trust_domain), Path(path)
        except NotASpiffeId as error:
            self.fail(f"{value!r}: {error}", param, ctx)


@click.group("identity")
def command() -> None:
    """Parse SPIFFE IDs and verify certificates, as the server does."""


@command.command("parse")
@json_option
@click.argument("text", metavar="ID")
def parse(as_json: bool, text: str) -> None:
    """Tell whether ID is a SPIFFE ID, and what it is made of. Write -- before an ID that begins with a dash."""
    try:
        parsed = SpiffeId.parse(text)
    except NotASpiffeId as error:
        _say_no({"reason": "spiffe_id_malformed", "detail": str(error)}, as_json=as_json)
    found = {"spiffe_id": parsed.uri, "trust_domain": parsed.trust_domain, "path": parsed.path}
    _say(found, as_json=as_json)


@command.command("verify")
@json_option
@click.option("--cert", "certificate_file", type=click.Path(path_type=Path), required=True, help="The leaf, in PEM.")
@click.option(
    "--bundle",
    "bundles",
    type=BundleFileType(),
    multiple=True,
    required=True,
    help="A trust domain's bundle, PEM or a SPIFFE bundle document: example.org=bundle.pem. May be given repeatedly.",
)
@click.option("--chain", "chain_file", type=click.Path(path_type=Path), help="The leaf and its intermediates, in PEM.")
@click.option("--at", "unix_seconds", type=Moment(), help="Verify as of this instant instead of now.")
def verify(
    as_json: bool,
    certificate_file: Path,
    bundles: tuple[tuple[str, Path], ...],
    chain_file: Path | None,
    unix_seconds: float | None,
) -> None:
    """Prove whom an X509-SVID names, by the rules for callers."""
    from authz.wiring.identity import verify_certificate  # noqa: PLC0415  slow to import, and help does not need it

    if len(dict(bundles)) != len(bundles):
        raise click.BadParameter("a trust domain has one bundle; bundles are never merged", param_hint="--bundle")
    at = time.time() if unix_seconds is None else unix_seconds
    try:
        identity = verify_certificate(certificate_file, chain_file, dict(bundles), at)
    except Refused as refused:
        found = {"reason": str(refused.reason), "meaning": refused.reason.meaning, "detail": refused.detail}
        _say_no(found, as_json=as_json)
    _say(_told(identity), as_json=as_json)


def _told(identity: Identity) -> dict[str, str]:
    return {
        "spiffe_id": identity.spiffe_id.uri,
        "proof": str(identity.proof),
        "valid_until": shown_time(identity.valid_until_unix_seconds),
    }


def _say(found: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    width = max(map(len, found)) + 2
    for name, text in found.items():
        if text:
            click.echo(f"{name.replace('_', ' '):<{width}}{text}")


def _say_no(found: dict[str, str], *, as_json: bool) -> NoReturn:
    _say(found, as_json=as_json)
    sys.exit(EXIT_FAILED)
