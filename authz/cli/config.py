"""`authz config check` and `authz config show`."""

from pathlib import Path

import click

from authz.cli.options import config_option, json_option


@click.group("config")
def command() -> None:
    """Check or show the configuration."""


@command.command("check")
@config_option
def check(config_file: Path) -> None:
    """Read the configuration and all that it names, as the server would at start, without starting."""
    from authz.wiring.knowledge import read  # noqa: PLC0415  engines are slow to import, and help does not need them

    knowledge = read(config_file)
    domains = ", ".join(sorted(knowledge.settings.identity.trust_domains))
    click.echo(f"{config_file}: ok")
    click.echo(f"  trust domains  {domains}")
    click.echo(f"  catalog        {len(knowledge.catalog.operations)} operations, version {knowledge.catalog.version}")
    click.echo(f"  policies       {len(knowledge.policy.ids)}, version {knowledge.policy.version}")
    if knowledge.settings.server.transport == "plaintext":
        click.echo("  note           the port is plain text: whoever reaches it may ask, and can forge what Envoy says")


@command.command("show")
@config_option
@json_option
def show(config_file: Path, as_json: bool) -> None:
    """Print what is in force, defaults included; secrets are hidden."""
    import yaml  # noqa: PLC0415  help does not need it

    from authz.config import load_settings  # noqa: PLC0415  as above

    settings = load_settings(config_file)
    if as_json:
        click.echo(settings.model_dump_json(indent=2))
    else:
        click.echo(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False), nl=False)
