"""`authz replay`: recorded hops against a candidate policy set."""

import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from authz.cli import EXIT_FAILED
from authz.cli.options import catalog_option, config_option, group_option, json_option, policies_option, rule_option

if TYPE_CHECKING:
    from authz.wiring.replay import Replayed

_MAX_ROWS = 1000
"""Kinds of changes that are told apart; those beyond are counted."""
_SHOWN = ("wider", "narrower", "reason")
_FAILING = {"any": {"wider", "narrower"}, "wider": {"wider"}, "narrower": {"narrower"}, "nothing": set[str]()}


@dataclass(slots=True)
class _Rows:
    """What was found, of hops that are alike only the first, and how many there are."""

    counts: Counter[str] = field(default_factory=Counter)
    rows: dict[tuple[str, ...], list[Any]] = field(default_factory=dict)  # the first of its kind, and how many
    left_out: int = 0

    def add(self, replayed: "Replayed") -> None:
        self.counts[replayed.change] += 1
        key = _kind(replayed)
        if not key:
            return
        if key in self.rows:
            self.rows[key][1] += 1
        elif len(self.rows) < _MAX_ROWS:
            self.rows[key] = [replayed, 1]
        else:
            self.left_out += 1

    def of(self, *changes: str) -> list[tuple["Replayed", int]]:
        return [(row[0], row[1]) for change in changes for row in self.rows.values() if row[0].change == change]


def _kind(replayed: "Replayed") -> tuple[str, ...]:
    """What hops have in common that are told in one row; nothing for what is not told."""
    answered, before, after = replayed.answered, replayed.before, replayed.after
    if replayed.change in _SHOWN and answered and before and after:
        names = (",".join(before.policies), ",".join(after.policies))
        return (replayed.change, answered.agent, answered.action, str(before), str(after), *names)
    return (replayed.change, replayed.why) if replayed.change in ("unreplayable", "unreadable") else ()


@click.command("replay")
@config_option
@catalog_option
@policies_option
@rule_option
@group_option
@json_option
@click.option(
    "--fail-on",
    type=click.Choice(list(_FAILING)),
    default="any",
    show_default=True,
    help="Which changes of a decision end with status 1. Wider: more is allowed.",
)
@click.option("--complete", is_flag=True, help="Fail also where a hop cannot be replayed.")
@click.argument("audit_file", metavar="AUDIT", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def command(
    config_file: Path,
    catalog_file: Path | None,
    policies: tuple[Path, ...],
    rule: str,
    groups: tuple[str, ...],
    as_json: bool,
    fail_on: str,
    complete: bool,
    audit_file: Path,
) -> None:
    """Ask the policies about the hops in AUDIT, an audit log, and tell which would be decided otherwise.

    The candidate is --policy, with the catalog and the groups of the configuration. Status 1 where a decision changes,
    or where nothing could be replayed. The log is read line by line, however long it is.
    """
    from authz.wiring.policy_sets import Named, parts_of  # noqa: PLC0415  engines are slow to import, and help does not need them
    from authz.wiring.replay import Replay  # noqa: PLC0415  as above

    candidate = parts_of(Named(config_file, catalog_file, policies, rule, groups)).read()
    found = _Rows()
    for replayed in Replay(candidate).of_file(audit_file):
        found.add(replayed)
    click.echo(json.dumps(_document(found), indent=2)) if as_json else _show(found)
    asked = sum(found.counts[change] for change in ("same", *_SHOWN))
    changed = sum(found.counts[change] for change in _FAILING[fail_on])
    lacking = found.counts["unreplayable"] + found.counts["unreadable"]
    if changed or not asked or (complete and lacking):
        sys.exit(EXIT_FAILED)


def _show(found: _Rows) -> None:
    for replayed, count in found.of(*_SHOWN):
        answered, before, after = replayed.answered, replayed.before, replayed.after
        if answered and before and after:
            click.echo(f"{replayed.change:<9}{count:>7}  {before} -> {after}")
            click.echo(f"{'':18}{answered.action} by {answered.agent}")
            click.echo(f"{'':18}{_names(before.policies)} -> {_names(after.policies)}")
            click.echo(f"{'':18}first on line {replayed.line}, decision {answered.decision_id}")
    for replayed, count in found.of("unreplayable", "unreadable"):
        click.echo(f"{replayed.change}  {count}  from line {replayed.line}: {replayed.why}")
    if found.left_out:
        click.echo(f"{found.left_out} more, of kinds beyond the first {_MAX_ROWS}")
    counts = found.counts
    asked = sum(counts[change] for change in ("same", *_SHOWN))
    click.echo(
        f"{asked} hops replayed: {counts['wider']} wider, {counts['narrower']} narrower, "
        f"{counts['reason']} denied for another reason, {counts['same']} the same"
    )
    click.echo(
        f"{counts['unaffected']} were not decided by policies, {counts['unreplayable']} cannot be replayed, "
        f"{counts['unreadable']} lines are no records"
    )
    if not asked:
        click.echo("nothing was replayed")


def _names(policies: tuple[str, ...]) -> str:
    return ", ".join(policies) or "no policy"


def _document(found: _Rows) -> dict[str, object]:
    changes = []
    for replayed, count in found.of(*_SHOWN):
        answered, before, after = replayed.answered, replayed.before, replayed.after
        if answered and before and after:
            sides = {
                name: {
                    "decision": said.decision,
                    "reason": said.reason or None,
                    "policies": list(said.policies),
                    "step_up": sorted(said.step_up),
                }
                for name, said in (("before", before), ("after", after))
            }
            changes.append(
                {
                    "change": replayed.change,
                    "hops": count,
                    "action": answered.action,
                    "agent": answered.agent,
                    **sides,
                    "first_line": replayed.line,
                    "first_decision_id": answered.decision_id,
                }
            )
    cannot = [
        {"kind": replayed.change, "hops": count, "first_line": replayed.line, "why": replayed.why}
        for replayed, count in found.of("unreplayable", "unreadable")
    ]
    kinds = ("same", *_SHOWN, "unaffected", "unreplayable", "unreadable")
    counts = {kind: found.counts[kind] for kind in kinds}
    return {"counts": counts, "changes": changes, "not_replayed": cannot, "left_out": found.left_out}
