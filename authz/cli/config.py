"""`authz config check` and `authz config show`."""

from dataclasses import dataclass
from pathlib import Path

import click

from authz.cli.catalog import UNSET_REMEDY
from authz.cli.options import config_option, json_option
from authz.config import RegoSettings, Settings


@dataclass(frozen=True, slots=True)
class _Bargain:
    """What an operator gives up by a mode of identity, and what must hold so that no more is given up."""

    gives_up: str
    needs: str


_BARGAINS = {
    "attested": _Bargain(
        "the caller's certificate: its names, its authority and its validity are what a listed Envoy says they are",
        "listed Envoys that verify callers by SPIFFE's rules, and cannot be told by a caller whom to name",
    ),
    "xfcc": _Bargain(
        "the caller's certificate, as in mode attested; and what stands for it is text in a header",
        "listed Envoys that write the last element of x-forwarded-client-cert themselves, the only one where the check "
        "names no principal",
    ),
    "sidecar": _Bargain(
        "telling an agent from its Envoy: whoever can ask with the Envoy's certificate is the agent",
        "checks on the way out of workloads alone, by Envoys that each have their own agent's SVID",
    ),
}


@click.group("config")
def command() -> None:
    """Check or show the configuration."""


@command.command("check")
@config_option
def check(config_file: Path) -> None:
    """Read the configuration and all that it names, as the server would at start, without starting."""
    from authz.wiring.bundles import bundle_of  # noqa: PLC0415  slow to import, and help does not need it
    from authz.wiring.knowledge import read, read_policy  # noqa: PLC0415  as above
    from authz.wiring.shadow import candidate_settings  # noqa: PLC0415  as above

    knowledge = read(config_file)
    settings = knowledge.settings
    domains = ", ".join(sorted(settings.identity.trust_domains))
    click.echo(f"{config_file}: ok")
    click.echo(f"  trust domains  {domains}")
    click.echo(f"  identity       mode {settings.identity.mode}")
    click.echo(f"  catalog        {len(knowledge.catalog.operations)} operations, version {knowledge.catalog.version}")
    click.echo(f"  policies       {len(knowledge.policy.ids)}, version {knowledge.policy.version}")
    if bundle := bundle_of(knowledge.origin):
        click.echo(f"  bundle         {bundle}")
    if settings.policy.opa is not None:
        click.echo(
            f"  hops           decided by OPA at {settings.policy.opa.url}; the policies here, of the task service"
        )
    if settings.policy.engine == "rego":
        rule = (settings.policy.rego or RegoSettings()).rule
        click.echo(f"  hops           decided by the rule {rule}, in Rego, as is what the task service asks")
    if folder := settings.policy.shadow_directory:
        candidate = read_policy(candidate_settings(settings, folder), knowledge.catalog)
        click.echo(f"  candidate      {len(candidate.ids)}, version {candidate.version}")
    for name, text in _warnings(settings):
        click.echo(f"  {name:<15}{text}")
    for entry in knowledge.unset:
        click.echo(f"  warning        {entry.place}: {entry.resource}: {UNSET_REMEDY}")


def _warnings(settings: Settings) -> list[tuple[str, str]]:
    """What an operator should know about what is configured, each with what it is."""
    warnings = []
    if settings.server.transport == "plaintext":
        warnings.append(("note", "the port is plain text: whoever reaches it may ask, and can forge what Envoy says"))
    if bargain := _BARGAINS.get(settings.identity.mode):
        warnings += [("gives up", bargain.gives_up), ("needs", bargain.needs)]
    return warnings


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
