"""`authz policy`: check policies, try them with tables of cases, print the schema."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from authz.cli import EXIT_FAILED
from authz.cli.bundle import bundle, bundle_key, bundle_verify
from authz.cli.options import catalog_option, config_option, group_option, json_option, policies_option, rule_option

if TYPE_CHECKING:
    from authz.wiring.tables import Outcome, Ran

_PATH = click.Path(exists=True, path_type=Path)


@click.group("policy")
def command() -> None:
    """Check policies, try them with tables of cases, print the schema."""


@command.command("check")
@config_option
@catalog_option
@policies_option
@rule_option
@group_option
@json_option
@click.option("--strict", is_flag=True, help="Warnings fail too.")
def check(
    config_file: Path,
    catalog_file: Path | None,
    policies: tuple[Path, ...],
    rule: str,
    groups: tuple[str, ...],
    as_json: bool,
    strict: bool,
) -> None:
    """Validate policies strictly, as the server does at start, and look for what was hardly meant.

    They are those of the configuration, or of --policy; with --catalog too, no configuration is read. Status 1 where
    there is an error.
    """
    from authz.wiring.checking import check as look  # noqa: PLC0415  engines are slow to import, and help does not need them
    from authz.wiring.policy_sets import Named, parts_of  # noqa: PLC0415  as above

    checked = look(parts_of(Named(config_file, catalog_file, policies, rule, groups)))
    errors = sum(finding.level == "error" for finding in checked.findings)
    warnings = len(checked.findings) - errors
    if as_json:
        listed = [
            {
                "level": finding.level,
                "file": str(finding.place.file),
                "line": finding.place.line or None,
                "policy": finding.policy or None,
                "what": finding.what,
                "hint": finding.hint,
            }
            for finding in checked.findings
        ]
        counts = {"policies": checked.policies, "errors": errors, "warnings": warnings}
        click.echo(json.dumps({**counts, "findings": listed, "version": checked.version or None}, indent=2))
    else:
        for finding in checked.findings:
            name = f"{finding.policy}: " if finding.policy else ""
            click.echo(f"{finding.place}: {finding.level}: {name}{finding.what}\n    {finding.hint}")
        click.echo(f"{checked.policies} policies, {errors} errors, {warnings} warnings")
    if errors or (strict and warnings):
        sys.exit(EXIT_FAILED)


@command.command("test")
@json_option
@policies_option
@click.option("--all-fire", is_flag=True, help="Fail also where some policy fires in no case.")
@click.argument("paths", metavar="[PATH]...", type=_PATH, nargs=-1)
def test(as_json: bool, policies: tuple[Path, ...], all_fire: bool, paths: tuple[Path, ...]) -> None:
    """Decide the cases in PATH as the server would; status 1 where one is not as expected.

    PATH is a case file, or a folder below which all *.test.yaml are read; by default this folder. docs/policies.md
    tells what a case file says.
    """
    from authz.wiring.tables import find_case_files, run_cases  # noqa: PLC0415  engines are slow to import, and help does not need them

    files = find_case_files(paths or (Path(),))
    if not files:
        raise click.UsageError(f"no case file (*.test.yaml) in {', '.join(map(str, paths)) or 'this folder'}")
    ran = [run_cases(file, policies) for file in files]
    failed = [outcome for each in ran for outcome in each.outcomes if outcome.differences]
    silent = _silent(ran)
    if as_json:
        click.echo(json.dumps(_as_document(ran, silent), indent=2))
    else:
        _show(ran, silent)
    if failed or (all_fire and silent):
        sys.exit(EXIT_FAILED)


def _silent(ran: list["Ran"]) -> dict[str, str]:
    """The policies that fire in no case, by their place."""
    places = {str(source.place): source.id for each in ran for source in each.policies}
    fired = {str(source.place) for each in ran for source in each.policies if source.id in each.fired}
    return {place: id for place, id in sorted(places.items()) if place not in fired}


def _show(ran: list["Ran"], silent: dict[str, str]) -> None:
    width = max(len(str(each.file)) for each in ran)
    for each in ran:
        failed = [outcome for outcome in each.outcomes if outcome.differences]
        passed = f"{len(each.outcomes) - len(failed)} of {len(each.outcomes)} cases as expected"
        fired = f"{len(each.fired)} of {len(each.policies)} policies fired"
        click.echo(f"{'FAIL' if failed else 'ok':<5}{each.file!s:<{width + 2}}{passed}, {fired}")
        for outcome in failed:
            click.echo(f"     {outcome.place}: {outcome.case.name}")
            for difference in outcome.differences:
                click.echo(f"       {difference}")
            if detail := _detail(outcome):
                click.echo(f"       {detail}")
    count = sum(len(each.outcomes) for each in ran)
    wrong = sum(bool(outcome.differences) for each in ran for outcome in each.outcomes)
    policies = len({str(source.place) for each in ran for source in each.policies})
    click.echo(f"{count} cases, {wrong} not as expected; {policies - len(silent)} of {policies} policies fired")
    for place, id in silent.items():
        click.echo(f"     fires in no case: {id} ({place})")


def _detail(outcome: "Outcome") -> str:
    return str(getattr(outcome.record.decision, "detail", ""))


def _as_document(ran: list["Ran"], silent: dict[str, str]) -> dict[str, object]:

    cases = []
    for each in ran:
        for outcome in each.outcomes:
            decision = outcome.record.decision
            reason = getattr(decision, "reason", None)
            cases.append(
                {
                    "place": str(outcome.place),
                    "name": outcome.case.name,
                    "expected": outcome.case.expect,
                    "decision": decision.word,
                    "reason": None if reason is None else reason.id,
                    "policies": sorted(decision.policies),
                    "differences": list(outcome.differences),
                }
            )
    never = [{"id": id, "place": place} for place, id in silent.items()]
    return {"cases": cases, "failed": sum(bool(case["differences"]) for case in cases), "never_fired": never}


@command.command("schema")
@config_option
@click.option("--fixed", is_flag=True, help="Only the part that is the same for every catalog; needs no configuration.")
def schema(config_file: Path, fixed: bool) -> None:
    """Print the Cedar schema that policies are validated against, completed by the catalog of the configuration."""
    from authz.wiring.tables import fixed_schema, whole_schema  # noqa: PLC0415  as above

    click.echo(fixed_schema() if fixed else whole_schema(config_file), nl=False)


for each in (bundle, bundle_key, bundle_verify):
    command.add_command(each)
