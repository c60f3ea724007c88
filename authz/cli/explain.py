"""`authz explain`: a recorded check or an audited decision, decided before your eyes."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from authz.cli.options import (
    Moment,
    SpiffeIdType,
    catalog_option,
    config_option,
    group_option,
    json_option,
    policies_option,
    rule_option,
    shown_time,
)
from authz.core.decision import Allow, StepUp
from authz.core.record import Record
from authz.core.spiffe import SpiffeId

if TYPE_CHECKING:
    from authz.wiring.explaining import Account, Answered, Explained, RegoAccount

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_MOST_SILENT = 8
"""Policies that do not fire and are told; the nearest ones, unless all are asked for."""


@click.command("explain")
@config_option
@json_option
@click.option(
    "--at", "unix_seconds", type=Moment(), help="Decide as if it were this instant (recorded certificates expire)."
)
@click.option("--asker", type=SpiffeIdType(), help="The Envoy that asked, where identity.mode takes its word.")
@click.option("--decision", "decision_id", metavar="ID", help="A decision of the log that --audit names, for REQUEST.")
@click.option("--audit", "audit_file", type=_FILE, help="The audit log that holds the decision.")
@catalog_option
@policies_option
@rule_option
@group_option
@click.option("--all", "show_all", is_flag=True, help="Tell of every policy, not only of the nearest.")
@click.argument("recorded_file", metavar="[REQUEST]", type=_FILE, required=False)
def command(
    config_file: Path,
    as_json: bool,
    unix_seconds: float | None,
    asker: SpiffeId | None,
    decision_id: str | None,
    audit_file: Path | None,
    catalog_file: Path | None,
    policies: tuple[Path, ...],
    rule: str,
    groups: tuple[str, ...],
    show_all: bool,
    recorded_file: Path | None,
) -> None:
    """Tell step by step how a check is decided, which policies fire, what keeps the others, and what would allow it.

    REQUEST is a CheckRequest in protobuf's JSON form (alone, or as "check_request"), or its bytes in a .bin file; it is
    decided with the task store as it is now. With --audit and --decision a hop of the audit log is asked anew, as it
    was then; there, --policy, --catalog and --group put others in the place of the configuration's.
    """
    from authz.wiring.explaining import explain_answered, explain_recorded  # noqa: PLC0415  engines are slow to import, and help does not need them
    from authz.wiring.policy_sets import Named  # noqa: PLC0415  as above

    if audit_file is not None and decision_id and recorded_file is None and unix_seconds is None and asker is None:
        named = Named(config_file, catalog_file, policies, rule, groups)
        explained = explain_answered(named, audit_file, decision_id)
    elif recorded_file is not None and not (audit_file or decision_id or catalog_file or policies or rule or groups):
        explained = explain_recorded(config_file, recorded_file, unix_seconds, asker)
    else:
        raise click.UsageError("give either REQUEST, with --at and --asker, or --audit and --decision")
    steps = _steps(explained, show_all=show_all)
    if as_json:
        click.echo(json.dumps([{"step": name, "found": found} for name, found in steps], indent=2))
        return
    for number, (name, found) in enumerate(steps, 1):
        for line, text in enumerate(found):
            click.echo(f"{f'{number} {name}' if line == 0 else '':<12}{text}")


def _steps(explained: "Explained", *, show_all: bool) -> list[tuple[str, list[str]]]:
    """The story, with accounts of the policies, and what would allow the hop."""
    steps = tell(explained.record) if explained.answered is None else _replayed(explained.record, explained.answered)
    told = list(_accounts(explained, show_all=show_all) if explained.rego is None else _rules(explained.rego, show_all))
    steps = [(name, found + told if name == "policies" else found) for name, found in steps]
    return [*steps, ("to allow", list(explained.remedies))] if explained.remedies else steps


def _replayed(record: Record, answered: "Answered") -> list[tuple[str, list[str]]]:
    """The story of a hop of the audit log, as far as the log tells it."""
    said = f"{answered.decision} {answered.reason}".rstrip()
    steps = [
        (
            "recorded",
            [
                f"line {answered.line}, {shown_time(answered.unix_seconds)}: {said}",
                f"by policies of version {answered.policy_version}",
            ],
        ),
        ("identity", [answered.agent]),
    ]
    if answered.question is not None:
        question, session = answered.question, answered.question.session
        seen = f"{', '.join(sorted(session.datasets)) or 'no dataset'}, up to {session.high_water}"
        strangers = "; has read what strangers wrote" if session.untrusted_input else ""
        found = [
            f"{answered.task} for {answered.owner}: {answered.purpose}",
            f"ceiling {question.ceiling}; {question.age_seconds} s old, over in {question.remaining_seconds} s",
            f"had seen {seen}{strangers}",
        ]
        steps.append(("task", found))
    return [*steps, _action(record), _policies(record), ("answer", _answer(record))]


def _accounts(explained: "Explained", *, show_all: bool) -> list[str]:
    silent = [each for each in explained.accounts if not each.fires]
    shown = silent if show_all else silent[:_MOST_SILENT]
    lines = [f"{each.id} {each.effect}s it ({explained.places[each.id]})" for each in explained.accounts if each.fires]
    for each in shown:
        lines.append(f"{each.id} would {each.effect} it ({explained.places[each.id]}) if:")
        lines += [f"  {reason}" for reason in _what_keeps(each)]
    if len(silent) > len(shown):
        lines.append(f"{len(silent) - len(shown)} more do not fire; --all tells of them")
    return lines


def _rules(account: "RegoAccount", show_all: bool) -> list[str]:
    """What the rules come to, and where those stopped that were not reached to their ends."""
    shown = account.stops if show_all else account.stops[:_MOST_SILENT]
    lines = [f"{path} is {value}" for path, value in account.values]
    for each in shown:
        lines += [f"{each.rule.path} ({each.rule.place}) stopped, at the latest at line {each.line}:", f"  {each.text}"]
    if len(account.stops) > len(shown):
        lines.append(f"{len(account.stops) - len(shown)} more stopped; --all tells of them")
    return lines


def _what_keeps(account: "Account") -> list[str]:
    """What keeps the policy from firing. Where its scope does not match, its conditions are not looked at."""
    if account.scope_misses:
        return list(account.scope_misses)
    plain = [found for found in account.unmet if not found.error] or list(account.unmet)
    return [
        f"{found.condition}"
        + (f" ({', '.join(found.values)})" if found.values else "")
        + f"{found.error and ': '}{found.error}"
        for found in plain
    ]


def tell(record: Record) -> list[tuple[str, list[str]]]:
    """The steps of the story that were reached, and what each found."""
    steps = [_request(record), _identity(record), _task(record), _action(record), _policies(record)]
    return [(name, found) for name, found in steps if found] + [("answer", _answer(record))]


def _request(record: Record) -> tuple[str, list[str]]:
    if record.request is None:
        return "request", []
    request = record.request
    return "request", [f"{request.method} {request.host} {request.path}", f"from {request.source_address or 'nowhere'}"]


def _identity(record: Record) -> tuple[str, list[str]]:
    if record.identity is None:
        return "identity", []
    identity = record.identity
    until = shown_time(identity.valid_until_unix_seconds)
    return "identity", [f"{identity.spiffe_id}, proven by {identity.proof}, until {until}"]


def _task(record: Record) -> tuple[str, list[str]]:
    if record.task is None:
        return "task", []
    task = record.task
    return "task", [
        f"{task.id} for {task.owner}: {task.purpose}",
        f"agents {', '.join(sorted(map(str, task.agents)))}",
        f"grants {'; '.join(map(str, task.grants)) or 'nothing'}; ceiling {task.ceiling}",
        f"{task.state}, until {shown_time(task.expires_unix_seconds)}",
    ]


def _action(record: Record) -> tuple[str, list[str]]:
    if record.hop is None:
        return "action", []
    operation = record.hop.operation
    classes = ", ".join(sorted(map(str, operation.classes)))
    found = [f"{operation.action} ({classes}) on {operation.dataset}, {operation.sensitivity}: {operation.resource}"]
    found += [f"{name} = {value!r}" for name, value in record.hop.parameters.items()]
    return "action", found


def _policies(record: Record) -> tuple[str, list[str]]:
    if record.verdict is None:
        return "policies", []
    verdict = record.verdict
    return "policies", [f"version {verdict.version}", *(f"failed: {error}" for error in verdict.errors)]


def _answer(record: Record) -> list[str]:
    decision = record.decision
    if isinstance(decision, Allow):
        return ["allow"]
    reason = decision.reason
    word = "step-up" if isinstance(decision, StepUp) else "deny"
    found = [f"{word}, {reason.http_status} {reason}", reason.meaning]
    return [*found, decision.detail] if decision.detail else found
