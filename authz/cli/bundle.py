"""`authz policy bundle`, `bundle-key` and `bundle-verify`: make a signed bundle of policies, and look into one."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from authz.cli.options import (
    Duration,
    catalog_option,
    config_option,
    group_option,
    json_option,
    rule_option,
    shown_time,
)

if TYPE_CHECKING:
    from authz.wiring.bundling import Bundle

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_NEW_FILE = click.Path(dir_okay=False, path_type=Path)
_scope_option = click.option("--scope", default="", help="What the bundle is for, as policy.bundle.scope has it.")


@click.command("bundle")
@config_option
@catalog_option
@rule_option
@group_option
@json_option
@click.option("--key", "key_file", type=_FILE, help="A private key, as bundle-key makes it. Without one: not signed.")
@click.option("--output", type=_NEW_FILE, required=True, help="The archive to write.")
@click.option("--revision", default="", help="What its author calls it; the log tells it.")
@_scope_option
@click.option("--expires-in", "lifetime_seconds", type=Duration(), help="After that it permits nothing, such as 90d.")
@click.option("--no-check", is_flag=True, help="Do not hold the policies against the catalog first.")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
def bundle(
    config_file: Path,
    catalog_file: Path | None,
    rule: str,
    groups: tuple[str, ...],
    as_json: bool,
    key_file: Path | None,
    output: Path,
    revision: str,
    scope: str,
    lifetime_seconds: float | None,
    no_check: bool,
    folder: Path,
) -> None:
    """Make one signed archive of the policies in DIR, for servers with policy.bundle.

    They are validated first, for the catalog and the groups of the configuration, or of --catalog and --group.
    """
    from authz.wiring.bundling import Named, Order, make  # noqa: PLC0415  engines are slow to import, and help does not need them

    named = None if no_check else Named(config_file, catalog_file, (folder,), rule, groups)
    made = make(Order(folder, key_file, revision, scope, lifetime_seconds), output, named)
    _show(made, output, as_json=as_json)


@click.command("bundle-key")
@click.option("--public", "public_file", type=_NEW_FILE, required=True, help="The JWK Set that servers get; added to.")
@click.argument("private_file", metavar="PRIVATE", type=_NEW_FILE)
def bundle_key(public_file: Path, private_file: Path) -> None:
    """Make a key that signs bundles: the private one into the file PRIVATE, readable for its owner alone."""
    from authz.wiring.bundling import make_key  # noqa: PLC0415  as above

    key_id = make_key(private_file, public_file)
    click.echo(f"{private_file}: a new key for ES256, {key_id}")
    click.echo(f"{public_file}: its public part, for policy.bundle.public_keys_file")


@click.command("bundle-verify")
@config_option
@json_option
@click.option("--public-keys", "public_keys_file", type=_FILE, help="The JWK Set of those who sign.")
@click.option("--digest", help="sha256:... that the archive must have.")
@_scope_option
@click.argument("archive", type=_FILE)
def bundle_verify(
    config_file: Path,
    as_json: bool,
    public_keys_file: Path | None,
    digest: str | None,
    scope: str,
    archive: Path,
) -> None:
    """Tell what is in ARCHIVE and who signed it, or why it does not count.

    It is proven by --public-keys and --digest; with neither, by policy.bundle of the configuration.
    """
    from authz.wiring.bundling import verify  # noqa: PLC0415  as above

    _show(verify(archive, public_keys_file, digest, scope, config_file), archive, as_json=as_json)


def _show(bundle: "Bundle", file: Path, *, as_json: bool) -> None:
    signature = bundle.signature
    signed = {
        "signer": signature.signer if signature else None,
        "issued": shown_time(signature.issued_unix_seconds) if signature else None,
        "expires": shown_time(bundle.expires_unix_seconds) if bundle.expires_unix_seconds < float("inf") else None,
    }
    if as_json:
        files = [{"name": each.name, "bytes": len(each.content), "sha256": each.sha256} for each in bundle.files]
        head = {"revision": bundle.revision or None, "digest": f"sha256:{bundle.digest}"}
        click.echo(json.dumps({**head, **signed, "files": files}, indent=2))
        return
    click.echo(f"{file}: {'signed' if signature else 'not signed: it counts where its digest is pinned'}")
    click.echo(f"  revision  {bundle.revision or '(none)'}")
    if signature:
        click.echo(f"  signed    {signed['issued']} by {signed['signer']}")
        click.echo(f"  expires   {signed['expires'] or 'never'}")
    click.echo(f"  digest    sha256:{bundle.digest}")
    for each in bundle.files:
        click.echo(f"  file      {each.name}, {len(each.content)} bytes")
