"""Random policy sets over the examples' catalog, valid by their types; some fail when they are evaluated."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from hypothesis import strategies as st

from authz.core.hop import Sensitivity
from authz.core.query import Query
from tests.policy import examples

_PRINCIPALS = (
    "principal",
    "principal is Agent",
    f'principal == Agent::"{examples.SUPPORT}"',
    f'principal == Agent::"{examples.BILLING}"',
    f'principal in Agent::"{examples.BILLING}"',
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
)
_CLAUSES = ("", *(f" {word} {{ {condition} }}" for word in ("when", "unless") for condition in _CONDITIONS))
_EFFECTS = ("permit", "permit", "forbid")
_TEXTS = ("alice", "bob", "", 'say "hello"', "\\", "🧹")
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
    return f"{picks.of(_EFFECTS)} ({scope}){clauses};\n"


def _query(number: int) -> Query:
    picks = _Picks(number)
    return replace(
        examples.query(picks.of(examples.OPERATIONS), picks.of([examples.SUPPORT, examples.BILLING])),
        purpose=picks.of(_TEXTS),
        owner=picks.of(_TEXTS),
        ceiling=picks.of(tuple(Sensitivity)),
        utc_hour=picks.of(_HOURS),
        utc_weekday=picks.of(range(1, 8)),
    )


policy_texts = st.lists(st.integers(0, 2**32).map(_policy), min_size=1, max_size=6).map(
    lambda policies: "".join(f'@id("p{number}") {policy}' for number, policy in enumerate(policies))
)
"""One to six policies, named p0, p1 and so on."""
queries = st.integers(0, 2**32).map(_query)
"""A question about the examples' catalog."""
