"""Random policy sets over the examples' catalog, valid by their types; some fail when they are evaluated."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from hypothesis import strategies as st

from authz.core.facts import Facts
from authz.core.hop import ActionClass, Argument, Sensitivity
from authz.core.query import Query
from tests.policy import examples

_PRINCIPALS = (
    "principal",
    "principal is Agent",
    f'principal == Agent::"{examples.SUPPORT}"',
    f'principal == Agent::"{examples.BILLING}"',
    f'principal in Agent::"{examples.BILLING}"',
    'principal in AgentGroup::"front-office"',
)
_ACTIONS = (
    "action",
    'action in Action::"read"',
    'action in Action::"egress"',
    'action in [Action::"write", Action::"read"]',
    'action == Action::"mail.send"',
    'action == Action::"crm.contact.get"',
)
_RESOURCES = (
    "resource",
    "resource is Tool",
    'resource in Dataset::"crm"',
    'resource in Dataset::"crm.contacts"',
    'resource in Service::"mail"',
    'resource is Tool in Dataset::"payroll"',
    'resource == Tool::"POST mail.example.org/messages"',
)
_CONDITIONS = (
    "context.sensitivity > context.task.ceiling",
    "context.sensitivity >= 2",
    "context.utc_hour >= 8 && context.utc_hour < 18",
    "context.utc_weekday <= 5",
    'context.classes.contains("egress")',
    '["write", "egress"].containsAny(context.classes)',
    "context.classes.containsAll(context.classes)",
    'context.dataset like "crm*"',
    'context.task.owner == "alice"',
    'context.task.purpose like "*\\"*"',
    'resource in Dataset::"crm" && action in Action::"read"',
    'if context.utc_hour < 12 then context.task.owner == "alice" else context.sensitivity == 0',
    "context.utc_hour * 9223372036854775807 > 0",
    "context.utc_weekday + 9223372036854775806 > 0 || context.utc_hour == 0",
    "context.task.age_seconds > 3600",
    "60 <= context.task.age_seconds && context.task.remaining_seconds >= context.task.age_seconds",
    "context.task.depth == 0",
    "context.task.depth + 1 > 2",
    "-context.task.depth < 0",
    "context.session.untrusted_input && context.session.high_water >= 2",
    "context.session.untrusted_input == context.privileged",
    "context.session.high_water < context.sensitivity",
    "context.session.datasets.contains(context.dataset)",
    'context.session.actions.contains("mail.send")',
    "context.session.classes.containsAny(context.classes)",
    'context.session.classes.containsAll(["read", "write"])',
    "context.session.actions.isEmpty()",
    "context.session.classes == context.classes",
    "context.session == context.session && context has session && context has task.owner",
    '(if context.privileged then context.task else context.task).owner == "alice"',
    '{"who": context.task.owner, "n": context.utc_hour}.who == "bob"',
    '[context.task.owner, "bob"].contains(context.task.purpose)',
    '["alice", "bob"].contains(context.task.owner)',
    "context.task.owner == context.task.purpose",
    "context.task.owner != context.dataset",
    "context.arguments has amount && context.arguments.amount > 500",
    "context.arguments has amount && context.arguments.amount * 3 > 9223372036854775807",
    'context.arguments has to && context.arguments.to like "*@example.org"',
    "context.arguments has to && context.arguments has tags && context.arguments.tags.contains(context.arguments.to)",
    "context.arguments has urgent && context.arguments.urgent",
    'context.arguments has tags && ["a", "alice"].containsAll(context.arguments.tags)',
    "context has arguments.amount && context.arguments.amount == context.task.depth",
    "context.parameters has contact_id && context.parameters.contact_id == context.task.owner",
    'context.parameters has person && context.parameters.person like "a*c"',
    "context.brings_untrusted_input || context.privileged",
    f'principal == Agent::"{examples.SUPPORT}"',
    f'principal != Agent::"{examples.BILLING}" && resource is Tool in Service::"crm"',
    'principal in [AgentGroup::"front-office"]',
    'principal in (if context.privileged then AgentGroup::"front-office" else AgentGroup::"front-office")',
    '[principal].contains(principal) && resource in [Dataset::"payroll", Dataset::"crm.contacts"]',
    'ip("10.0.0.1").isInRange(ip("10.0.0.0/8")) && decimal("1.0") == decimal("1.00")',
    'datetime("2026-01-01").offset(duration("1h")) > datetime("2026-01-01")',
)
_CLAUSES = ("", *(f" {word} {{ {condition} }}" for word in ("when", "unless") for condition in _CONDITIONS))
_EFFECTS = ("permit", "permit", "forbid")
_TEXTS = ("alice", "bob", "", 'say "hello"', "\\", "🧹", "a\nc", "b@example.org", "crm.contacts", "42")
_SETS: tuple[frozenset[str], ...] = (frozenset(), frozenset({"alice"}), frozenset({"a", "b@example.org"}))
_NUMBERS = (0, 1, 2, 60, 500, 501, 3600, 3601, 2**62, 2**63 - 1)
_CLASS_SETS = (
    frozenset[ActionClass](),
    *(operation.classes for operation in examples.OPERATIONS),
    frozenset(ActionClass),
)
_HOURS = (0, 1, 2, 8, 12, 18, 23)

_T = TypeVar("_T")


class _Picks:
    """Choices read off one number, digit by digit: one draw of Hypothesis's makes many."""

    def __init__(self, number: int) -> None:
        self._rest = number

    def of(self, choices: Sequence[_T]) -> _T:
        self._rest, digit = divmod(self._rest, len(choices))
        return choices[digit]


def _policy(number: int) -> str:
    picks = _Picks(number)
    clauses = picks.of(_CLAUSES) + picks.of(_CLAUSES)
    scope = ", ".join(picks.of(each) for each in (_PRINCIPALS, _ACTIONS, _RESOURCES))
    effect = picks.of(_EFFECTS)
    step_up = picks.of(("", '@step_up("owner") ', '@step_up("reviewer") ')) if effect == "forbid" else ""
    return f"{step_up}{effect} ({scope}){clauses};\n"


def _facts(picks: _Picks) -> Facts:
    operations = examples.OPERATIONS
    seen = [picks.of(operations) for _ in range(picks.of((0, 1, 2)))]
    return Facts(
        actions=frozenset(operation.action for operation in seen),
        classes=picks.of(_CLASS_SETS),
        datasets=frozenset(operation.dataset for operation in seen),
        high_water=picks.of(tuple(Sensitivity)),
        untrusted_input=picks.of((True, False)),
    )


def _arguments(picks: _Picks) -> dict[str, Argument]:
    choices: dict[str, Sequence[Argument]] = {
        "amount": _NUMBERS,
        "to": _TEXTS,
        "tags": _SETS,
        "urgent": (True, False),
        "undeclared": _TEXTS,
    }
    return {name: picks.of(values) for name, values in choices.items() if picks.of((True, True, False))}


def _query(number: int) -> Query:
    picks = _Picks(number)
    return replace(
        examples.query(picks.of(examples.OPERATIONS), picks.of([examples.SUPPORT, examples.BILLING])),
        purpose=picks.of(_TEXTS),
        owner=picks.of(_TEXTS),
        ceiling=picks.of(tuple(Sensitivity)),
        depth=picks.of(_NUMBERS),
        age_seconds=picks.of(_NUMBERS),
        remaining_seconds=picks.of(_NUMBERS),
        facts=_facts(picks),
        arguments=_arguments(picks),
        parameters={name: picks.of(_TEXTS) for name in ("contact_id", "person") if picks.of((True, False))},
        utc_hour=picks.of(_HOURS),
        utc_weekday=picks.of(range(1, 8)),
    )


policy_texts = st.lists(st.integers(0, 2**48).map(_policy), min_size=1, max_size=6).map(
    lambda policies: "".join(f'@id("p{number}") {policy}' for number, policy in enumerate(policies))
)
"""One to six policies, named p0, p1 and so on."""
queries = st.integers(0, 2**96).map(_query)
"""A question about the examples' catalog."""
