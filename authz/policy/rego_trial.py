"""What is to be examined in, what was found out. That the examining process came to harm is a problem like others."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

from authz.core.errors import Unavailable
from authz.policy.rego_checks import Fault
from authz.policy.rego_input import Members
from authz.policy.rego_syntax import Spot

MAX_SECONDS = 30
_REMEDY = "Find the rule that nests deeply or has no end, by leaving rules out, and say it more simply."
_AT = "at "
_NOT_ORDERED = b"could not schedule"


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be examined."""

    files: list[tuple[str, str]]  # names and texts
    data: str  # a JSON object
    decision: str  # the rule that decides, such as data.authz.decision
    members: Members
    max_characters: int  # of a text
    questions: list[str]  # to try it on


@dataclass(frozen=True, slots=True)
class FoundRule:
    """A rule as it is written."""

    path: str  # such as data.authz.deny
    spot: Spot
    last_line: int
    is_function: bool


@dataclass(slots=True)
class Examined:
    """What was found. Of a set with problems, the problems count alone."""

    problems: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)
    rules: list[FoundRule] = field(default_factory=list)
    reads: list[list[str]] = field(default_factory=list)  # places of the question that the decision depends on


def examined(request: Request) -> Examined:
    """What an examining process found; raises Unavailable where none can be started."""
    command = [sys.executable, "-P", "-m", "authz.policy.rego_examine"]
    asked = json.dumps(asdict(request)).encode()
    try:
        done = subprocess.run(command, input=asked, capture_output=True, timeout=MAX_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        return _lost(f"it took more than {MAX_SECONDS} seconds to look at them", error.stderr or b"")
    except OSError as error:
        raise Unavailable(f"no process can be started to examine Rego files: {error}") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2] if done.returncode > 0 else ""
        return _lost(f"the process that looked at them ended with {done.returncode} {said:.300}".strip(), done.stderr)
    if _NOT_ORDERED in done.stderr:  # which the engine says there, and goes on
        return _lost("the engine finds no order for the conditions of a rule", done.stderr)
    return _read(json.loads(done.stdout))


def _lost(what: str, stderr: bytes) -> Examined:
    """The file that was begun last is the likely one."""
    lines = stderr.decode(errors="replace").splitlines()
    file = next((line.removeprefix(_AT) for line in reversed(lines) if line.startswith(_AT)), "")
    return Examined(problems=[Fault(Spot(file, 0, 0), f"these policies cannot be examined: {what}", _REMEDY)])


def _read(document: dict[str, Any]) -> Examined:
    return Examined(
        problems=[_fault(each) for each in document["problems"]],
        warnings=[_fault(each) for each in document["warnings"]],
        rules=[FoundRule(**{**each, "spot": Spot(**each["spot"])}) for each in document["rules"]],
        reads=document["reads"],
    )


def _fault(document: dict[str, Any]) -> Fault:
    return Fault(Spot(**document["spot"]), document["what"], document["remedy"])
