"""`authz config check` and `authz config show`."""

from pathlib import Path

import click

from authz.cli.options import config_option, json_option
from authz.config import Settings


_GIVEN_UP = {
    "attested": "mode attested believes the principal that a listed Envoy names: a DNS name spelled like a SPIFFE ID, a "
    "second URI SAN and a certificate of another trust domain's authority are that Envoy's to refuse, not ours",
    "xfcc": "mode xfcc believes the last x-forwarded-client-cert element of a listed Envoy: it must write the header "
    "itself (SANITIZE_SET, or a waypoint's annotation), and its own verification of the caller is all there is",
    "sidecar": "mode sidecar takes the Envoy that asks for the agent itself: each agent needs an Envoy of its own, with "
    "the agent's SVID, and no other way out",
}


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
    for note in _notes(knowledge.settings):
        click.echo(f"  note           {note}")


def _notes(settings: Settings) -> list[str]:
    """What an operator gives up by what is configured."""
    notes = []
    if settings.server.transport == "plaintext":
        notes.append("the port is plain text: whoever reaches it may ask, and can forge what Envoy says")
    if settings.identity.mode != "certificate":
        notes.append(_GIVEN_UP[settings.identity.mode])
    return notes


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
