"""Random policy sets over the examples' catalog, valid by their types; some fail when they are evaluated."""

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
_TEXTS = st.sampled_from(["alice", "bob", "", 'say "hello"', "\\", "🧹"])


@st.composite
def _policy(draw: st.DrawFn, number: int) -> str:
    scope = ", ".join(draw(st.sampled_from(each)) for each in (_PRINCIPALS, _ACTIONS, _RESOURCES))
    clauses = draw(st.lists(st.tuples(st.sampled_from(["when", "unless"]), st.sampled_from(_CONDITIONS)), max_size=2))
    effect = draw(st.sampled_from(["permit", "permit", "forbid"]))
    return f'@id("p{number}") {effect} ({scope})' + "".join(f" {word} {{ {what} }}" for word, what in clauses) + ";\n"


@st.composite
def policy_texts(draw: st.DrawFn) -> str:
    """One to six policies, named p0, p1 and so on."""
    return "".join(draw(_policy(number)) for number in range(draw(st.integers(1, 6))))


@st.composite
def queries(draw: st.DrawFn) -> Query:
    """A question about the examples' catalog."""
    operation = draw(st.sampled_from(examples.OPERATIONS))
    return Query(
        agent=draw(st.sampled_from([examples.SUPPORT, examples.BILLING])),
        action=operation.action,
        classes=operation.classes,
        resource=operation.resource,
        service=operation.service,
        dataset=operation.dataset,
        sensitivity=operation.sensitivity,
        purpose=draw(_TEXTS),
        owner=draw(_TEXTS),
        ceiling=draw(st.sampled_from(Sensitivity)),
        utc_hour=draw(st.sampled_from([0, 1, 2, 8, 12, 18, 23])),
        utc_weekday=draw(st.integers(1, 7)),
    )
