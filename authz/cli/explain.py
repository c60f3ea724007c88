"""`authz explain`: a recorded check, decided before your eyes."""

import json
from pathlib import Path

import click

from authz.cli.options import Moment, SpiffeIdType, config_option, json_option, shown_time
from authz.core.decision import Allow, StepUp
from authz.core.record import Record
from authz.core.spiffe import SpiffeId


@click.command("explain")
@config_option
@json_option
@click.option(
    "--at", "unix_seconds", type=Moment(), help="Decide as if it were this instant (recorded certificates expire)."
)
@click.option("--asker", type=SpiffeIdType(), help="The Envoy that asked, where identity.mode takes its word.")
@click.argument("recorded_file", metavar="REQUEST", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def command(
    config_file: Path, as_json: bool, unix_seconds: float | None, asker: SpiffeId | None, recorded_file: Path
) -> None:
    """Tell step by step how the check recorded in REQUEST is decided, with the task store as it is now.

    REQUEST is a CheckRequest in protobuf's JSON form (alone, or as "check_request"), or its bytes in a .bin file.
    """
    from authz.wiring.recorded import decide_recorded  # noqa: PLC0415  engines are slow to import, and help does not need them

    steps = tell(decide_recorded(config_file, recorded_file, unix_seconds, asker))
    if as_json:
        click.echo(json.dumps([{"step": name, "found": found} for name, found in steps], indent=2))
        return
    for number, (name, found) in enumerate(steps, 1):
        for line, text in enumerate(found):
            click.echo(f"{f'{number} {name}' if line == 0 else '':<12}{text}")


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
    found = [f"version {verdict.version}"]
    found += [f"permitted by {policy}" for policy in sorted(verdict.permits)]
    found += [f"forbidden by {policy}" for policy in sorted(verdict.forbids)]
    return "policies", found + [f"failed: {error}" for error in verdict.errors]


def _answer(record: Record) -> list[str]:
    decision = record.decision
    if isinstance(decision, Allow):
        return ["allow"]
    reason = decision.reason
    word = "step-up" if isinstance(decision, StepUp) else "deny"
    found = [f"{word}, {reason.http_status} {reason}", reason.meaning]
    return [*found, decision.detail] if decision.detail else found
