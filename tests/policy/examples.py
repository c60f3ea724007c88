"""A small catalog, policies as an operator would write them, and queries about them."""

from dataclasses import replace
from pathlib import Path

from authz.core.hop import ActionClass, Operation, Sensitivity
from authz.core.query import Query
from authz.core.spiffe import SpiffeId
from authz.policy.cedar import CedarPolicy
from authz.policy.fields import Kind
from authz.policy.files import policy_files
from authz.policy.source import load_policies

SUPPORT = SpiffeId.parse("spiffe://example.org/ns/agents/sa/support")
BILLING = SpiffeId.parse("spiffe://example.org/ns/agents/sa/billing")

GET_CONTACT = Operation(
    "crm.contact.get",
    frozenset({ActionClass.READ}),
    "GET crm.example.org/contacts/{contact_id}",
    "crm",
    "crm.contacts",
    Sensitivity.INTERNAL,
)
SET_CONTACT = Operation(
    "crm.contact.update",
    frozenset({ActionClass.WRITE}),
    "PUT crm.example.org/contacts/{contact_id}",
    "crm",
    "crm.contacts",
    Sensitivity.INTERNAL,
)
SEND_MAIL = Operation(
    "mail.send",
    frozenset({ActionClass.EGRESS, ActionClass.WRITE}),
    "POST mail.example.org/messages",
    "mail",
    "mail.outbox",
    Sensitivity.PUBLIC,
)
SEND_CONTACTS = Operation(
    "mail.export",
    frozenset({ActionClass.EGRESS}),
    "POST mail.example.org/exports",
    "mail",
    "crm.contacts.export",
    Sensitivity.CONFIDENTIAL,
)
GET_SALARY = Operation(
    "hr.salary.get",
    frozenset({ActionClass.READ}),
    "GET hr.example.org/salaries/{person}",
    "hr",
    "payroll",
    Sensitivity.RESTRICTED,
)
OPERATIONS = (GET_CONTACT, SET_CONTACT, SEND_MAIL, SEND_CONTACTS, GET_SALARY)
GROUPS = {"front-office": (str(SUPPORT),)}
ARGUMENTS = {"amount": Kind.LONG, "to": Kind.STRING, "tags": Kind.SET, "urgent": Kind.BOOL}

SUPPORT_RIGHTS = """
@id("support-works-on-the-crm")
permit (
  principal == Agent::"spiffe://example.org/ns/agents/sa/support",
  action in [Action::"read", Action::"write"],
  resource in Dataset::"crm"
);

@id("support-sends")
permit (
  principal == Agent::"spiffe://example.org/ns/agents/sa/support",
  action in Action::"egress",
  resource
);
"""
NO_CONFIDENTIAL_EGRESS = """
@id("no-egress-of-confidential-data")
forbid (principal, action in Action::"egress", resource)
when { context.sensitivity >= 2 };
"""
WORKING_HOURS = """
@id("writes-in-working-hours")
forbid (principal, action in Action::"write", resource)
unless { context.utc_weekday <= 5 && context.utc_hour >= 8 && context.utc_hour < 18 };
"""
WITHIN_CEILING = """
@id("within-the-ceiling")
forbid (principal, action, resource)
when { context.sensitivity > context.task.ceiling };
"""
COMPANY = SUPPORT_RIGHTS + NO_CONFIDENTIAL_EGRESS + WORKING_HOURS + WITHIN_CEILING

ERRS = """
@id("errs")
forbid (principal, action, resource)
when { context.utc_hour * 9223372036854775807 > 0 };
"""
"""Valid by its types, and an integer overflow from two o'clock on."""


def query(operation: Operation = GET_CONTACT, agent: SpiffeId = SUPPORT) -> Query:
    """A Tuesday noon's question, for a task that may see all, at its beginning."""
    return Query(
        agent=agent,
        operation=operation,
        purpose="answer ticket 4711",
        owner="alice@example.org",
        ceiling=Sensitivity.RESTRICTED,
        depth=0,
        age_seconds=60,
        remaining_seconds=3600,
        utc_hour=12,
        utc_weekday=2,
    )


def at(query: Query, utc_weekday: int, utc_hour: int) -> Query:
    """The same question at another time."""
    return replace(query, utc_weekday=utc_weekday, utc_hour=utc_hour)


def load(folder: Path, *texts: str) -> CedarPolicy:
    """The policies of these texts, each a file `0.cedar`, `1.cedar` and so on of a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(texts):
        (folder / f"{number}.cedar").write_text(text, encoding="utf-8")
    return load_policies(policy_files(folder), OPERATIONS, GROUPS, ARGUMENTS)
