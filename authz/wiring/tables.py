"""Case files in; how the server would decide each case, and what differs from what was expected, out."""

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from authz.cases import Case, CaseFile, RequestOfCase, SessionOfCase, TaskOfCase, find_case_files, load_cases
from authz.config import load_settings
from authz.core.decision import Allow, Decision, StepUp
from authz.core.demand import OPERATIONS
from authz.core.errors import Place, Problem, Unusable
from authz.core.facts import NO_FACTS, Facts
from authz.core.hop import ActionClass, Hop, Sensitivity
from authz.core.record import Record
from authz.core.request import Request
from authz.core.spiffe import SpiffeId
from authz.core.task import Grant, Task, TaskState
from authz.policy.accounts import Source, sources
from authz.policy.rego import RegoPolicy
from authz.policy.rego_account import RegoCoverage
from authz.policy.schema import FIXED
from authz.wiring.catalog import Attempt, request_of
from authz.wiring.engines import RegoTerms, are_rego, is_rego, must_decide_in_process
from authz.wiring.knowledge import read_catalog, vocabulary_of
from authz.wiring.origins import origin_of
from authz.wiring.policy_sets import Parts, PolicySet, named_origin
from authz.wiring.stated import HALF_SECOND, Operations, Stated, by_action, decide_stated

__all__ = ["Outcome", "Ran", "find_case_files", "fixed_schema", "run_cases", "whole_schema"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case, decided; `differences` is empty where it is as expected."""

    place: Place
    case: Case
    record: Record
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ran:
    """One file, decided."""

    file: Path
    outcomes: tuple[Outcome, ...]
    policies: tuple[Source, ...]
    fired: frozenset[str]  # the ids of the policies that at least one case satisfied


def run_cases(file: Path, policies: tuple[Path, ...] = ()) -> Ran:
    """Decide every case of the file, by its own policies or by these; raises Unusable."""
    document, places = load_cases(file)
    policy_set = _read(document, policies)
    known = by_action((*policy_set.catalog.operations, *OPERATIONS.values()))
    policy = RegoCoverage(policy_set.policy) if isinstance(policy_set.policy, RegoPolicy) else policy_set.policy
    outcomes, fired, problems = list[Outcome](), set[str](), list[Problem]()
    for case, place in zip(document.cases, places, strict=True):
        try:
            stated = _stated(document, case, place, known)
        except Unusable as unusable:
            problems += unusable.problems
            continue
        record = decide_stated(stated, policy_set.catalog, policy)
        if record.verdict is not None:
            fired |= record.verdict.permits | record.verdict.forbids
        outcomes.append(Outcome(place, case, record, tuple(_differences(case, record.decision))))
    if problems:
        raise Unusable(*problems)
    if isinstance(policy, RegoCoverage):
        rules = tuple(Source(rule.id, rule.place, "") for rule in policy.policy.rules)
        return Ran(file, tuple(outcomes), rules, policy.fired())
    return Ran(file, tuple(outcomes), tuple(sources(policy_set.files).values()), frozenset(fired))


def _read(document: CaseFile, policies: tuple[Path, ...]) -> PolicySet:
    settings = None if document.config is None else load_settings(document.config)
    named = policies or document.policies
    if settings is not None and document.config is not None and not named:
        must_decide_in_process(settings, document.config)
    catalog_file = document.catalog or (settings and settings.catalog.file)
    origin = named_origin(named) if named else settings and origin_of(settings.policy)
    if not catalog_file or not origin:
        raise ValueError("the file names no catalog or no policies")
    groups = document.groups
    if groups is None:
        groups = settings.policy.groups if settings else {}
    terms = RegoTerms() if settings is None else RegoTerms.of(settings)
    if document.rule is not None:
        terms = replace(terms, rule=document.rule)
    in_rego = are_rego(named) if named else settings is not None and is_rego(settings)
    return Parts(catalog_file, origin, groups, terms if in_rego else None).read()


def _stated(document: CaseFile, case: Case, place: Place, known: Operations) -> Stated:
    agent = SpiffeId.parse(case.agent)
    unix_seconds = dt.datetime.fromisoformat(case.at).timestamp()
    chain = [TaskOfCase()] if case.task is None else document.chain(case.task)
    return Stated(
        agent=agent,
        chain=tuple(_tasks(chain, agent, unix_seconds)),
        unix_seconds=unix_seconds,
        what=_hop(case, place, known) if case.request is None else _request(case.request, place),
        approved=frozenset(case.approved),
    )


def _tasks(chain: list[TaskOfCase], agent: SpiffeId, unix_seconds: float) -> Iterator[Task]:
    for number, each in enumerate(chain):
        agents = frozenset({agent}) if each.agents is None else frozenset(map(SpiffeId.parse, each.agents))
        yield Task(
            id=".".join(["the-task", *(["part"] * (len(chain) - 1 - number))]),
            owner=each.owner,
            purpose=each.purpose,
            agents=agents,
            grants=tuple(map(Grant.parse, each.grants)),
            ceiling=Sensitivity.of(each.ceiling),
            starts_unix_seconds=unix_seconds - each.age_seconds - HALF_SECOND,
            expires_unix_seconds=unix_seconds + each.remaining_seconds + HALF_SECOND * (each.remaining_seconds > 0),
            state=TaskState.ENDED if each.state == "ended" else TaskState.ACTIVE,
            is_suspended=each.state == "suspended",
            facts=_facts(each.session),
        )


def _facts(session: SessionOfCase | None) -> Facts:
    if session is None:
        return NO_FACTS
    return Facts(
        frozenset(session.actions),
        frozenset(map(ActionClass, session.classes)),
        frozenset(session.datasets),
        Sensitivity.of(session.high_water),
        session.untrusted_input,
    )


def _hop(case: Case, place: Place, known: Operations) -> Hop:
    """The one entry of the catalog for the action, with what the case gives it; raises Unusable."""
    entries = known.get(str(case.action), {})
    if not entries:
        raise Unusable(Problem(place, f"the catalog has no action {case.action}", "Name one of the catalog's actions."))
    if case.resource is None and len(entries) > 1:
        remedy = f"Name its resource: {', '.join(sorted(entries))}."
        raise Unusable(Problem(place, f"{case.action} stands for several entries of the catalog", remedy))
    operation = next(iter(entries.values())) if case.resource is None else entries.get(case.resource)
    if operation is None:
        remedy = f"Known are: {', '.join(sorted(entries))}."
        raise Unusable(Problem(place, f"{case.action} has no entry {case.resource!r}", remedy))
    arguments = {name: frozenset(each) if isinstance(each, tuple) else each for name, each in case.arguments.items()}
    return Hop(operation, dict(case.parameters), arguments)


def _request(given: str | RequestOfCase, place: Place) -> Request:
    if isinstance(given, str):
        method, _, url = given.partition(" ")
        if not url:
            problem = Problem(place, f"{given!r} is no request", "Write METHOD HOST/PATH.")
            raise Unusable(problem)
        given = RequestOfCase(method=method, url=url)
    body = None
    if given.body is not None:
        body = (given.body if isinstance(given.body, str) else json.dumps(given.body)).encode()
    headers = tuple(f"{name}: {value}" for name, value in given.headers.items())
    return request_of(Attempt.at(given.method, given.url, headers, body))


def _differences(case: Case, decision: Decision) -> Iterator[str]:
    if decision.word != case.expect:
        reason = "" if isinstance(decision, Allow) else f" ({decision.reason})"
        by = f" by {', '.join(sorted(decision.policies))}" if decision.policies else ""
        yield f"expected {case.expect}, got {decision.word}{reason}{by}"
    elif case.reason is not None and not isinstance(decision, Allow) and decision.reason.id != case.reason:
        yield f"expected the reason {case.reason}, got {decision.reason}"
    if case.policies is not None and set(case.policies) != decision.policies:
        yield f"expected the policies {_listed(case.policies)}, got {_listed(decision.policies)}"
    kinds = decision.kinds if isinstance(decision, StepUp) else frozenset()
    if case.step_up is not None and set(case.step_up) != kinds:
        yield f"expected approvals by {_listed(case.step_up)}, got {_listed(kinds)}"


def _listed(names: frozenset[str] | tuple[str, ...]) -> str:
    return ", ".join(sorted(names)) or "none"


def fixed_schema() -> str:
    """The part of the schema that is the same for every catalog."""
    return FIXED


def whole_schema(config_file: Path) -> str:
    """The schema of a configuration, its catalog's actions among it; raises Unusable."""
    settings = load_settings(config_file)
    return vocabulary_of(read_catalog(settings), settings.policy.groups).schema_text() + "\n"
