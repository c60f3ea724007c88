"""Tasks and grants: the rules that hold for every hop, exactly."""

import dataclasses
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.core.errors import Refused
from authz.core.hop import ActionClass, Operation, Sensitivity
from authz.core.identity import Identity, Proof
from authz.core.reasons import Reason
from authz.core.spiffe import SpiffeId
from authz.core.task import Grant, Task, TaskState, parse_task_id
from tests.support.refusals import outcome

SUPPORT = SpiffeId.parse("spiffe://example.org/agent/support")
RESEARCH = SpiffeId.parse("spiffe://example.org/agent/research")
STARTS, EXPIRES = 1_000.0, 2_000.0

TASK = Task(
    id="an-errand",
    owner="alice@example.org",
    purpose="answer ticket 4711",
    agents=frozenset({SUPPORT}),
    grants=(Grant.parse("read,write:crm.contacts"),),
    ceiling=Sensitivity.INTERNAL,
    starts_unix_seconds=STARTS,
    expires_unix_seconds=EXPIRES,
    state=TaskState.ACTIVE,
)
ENDED = dataclasses.replace(TASK, state=TaskState.ENDED)


def operation(
    *names: str, action: str = "crm.contact.read", dataset: str = "crm.contacts", sensitivity: int = 0
) -> Operation:
    """An operation of these classes."""
    found = frozenset(map(ActionClass, names))
    return Operation(action, found, "GET crm.example.org/", "crm", dataset, Sensitivity(sensitivity))


def identity(spiffe_id: SpiffeId) -> Identity:
    """A proven caller."""
    return Identity(spiffe_id, Proof.CERTIFICATE, EXPIRES)


@pytest.mark.parametrize(
    ("expected", "agents", "caller"),
    [
        (None, {SUPPORT}, SUPPORT),
        (None, {SUPPORT, RESEARCH}, RESEARCH),
        (Reason.TASK_OF_ANOTHER_AGENT, {SUPPORT}, RESEARCH),
        (Reason.TASK_OF_ANOTHER_AGENT, set(), SUPPORT),
        (Reason.TASK_OF_ANOTHER_AGENT, {SUPPORT}, SpiffeId.parse(f"{SUPPORT}/child")),
        (Reason.TASK_OF_ANOTHER_AGENT, {SUPPORT}, SpiffeId.parse("spiffe://example.org")),
        (Reason.TASK_OF_ANOTHER_AGENT, {SUPPORT}, SpiffeId.parse("spiffe://evil.example/agent/support")),
    ],
)
def test_the_caller_is_an_agent_of_the_task(expected: Reason | None, agents: set[SpiffeId], caller: SpiffeId) -> None:
    """A caller whose whole SPIFFE ID is not among the agents is refused; a task without agents refuses everyone."""
    task = dataclasses.replace(TASK, agents=frozenset(agents))
    assert expected == outcome(partial(task.must_name, identity(caller)))


@pytest.mark.parametrize(
    ("expected", "task", "unix_seconds"),
    [
        (Reason.TASK_NOT_STARTED, TASK, STARTS - 0.001),
        (None, TASK, STARTS),
        (None, TASK, (STARTS + EXPIRES) / 2),
        (None, TASK, EXPIRES - 0.001),
        (Reason.TASK_EXPIRED, TASK, EXPIRES),
        (Reason.TASK_EXPIRED, TASK, EXPIRES + 1e9),
        (Reason.TASK_ENDED, ENDED, STARTS - 1),
        (Reason.TASK_ENDED, ENDED, STARTS),
        (Reason.TASK_ENDED, ENDED, EXPIRES),
        (Reason.TASK_EXPIRED, dataclasses.replace(TASK, expires_unix_seconds=STARTS), STARTS),
    ],
)
def test_the_boundaries_are_exact(expected: Reason | None, task: Task, unix_seconds: float) -> None:
    """The first instant counts, the last does not, and an ended task is ended whatever the time."""
    assert expected == outcome(partial(task.must_be_live, unix_seconds))


@pytest.mark.parametrize(
    ("expected", "granted", "wanted"),
    [
        (None, ["read:crm.contacts"], operation("read")),
        (None, ["read:crm"], operation("read")),
        (None, ["read:*"], operation("read")),
        (None, ["read,egress:crm"], operation("read", "egress")),
        (None, ["delete:crm", "read:crm"], operation("read")),
        (None, ["crm.contact.read:crm"], operation("read")),
        (None, ["crm.contact.read:crm"], operation("read", "egress")),
        (None, ["read:crm"], operation("read", sensitivity=1)),
        (Reason.ACTION_NOT_GRANTED, [], operation("read")),
        (Reason.ACTION_NOT_GRANTED, ["write:crm"], operation("read")),
        (Reason.ACTION_NOT_GRANTED, ["read:crm"], operation("read", "egress")),
        (Reason.ACTION_NOT_GRANTED, ["read:crm", "egress:crm"], operation("read", "egress")),
        (Reason.ACTION_NOT_GRANTED, ["crm.contact:crm"], operation("read")),
        (Reason.ACTION_NOT_GRANTED, ["crm.contact.readall:crm"], operation("read")),
        (Reason.ACTION_NOT_GRANTED, ["read:crm.contacts.private"], operation("read")),
        (Reason.ACTION_NOT_GRANTED, ["read:crm"], operation("read", dataset="crmx")),
        (Reason.ACTION_NOT_GRANTED, ["read:crm.contacts"], operation("read", dataset="crm.contactsx")),
        (Reason.ACTION_NOT_GRANTED, ["read:mail"], operation("read")),
        (Reason.ACTION_NOT_GRANTED, ["read:*"], operation()),
        (Reason.SENSITIVITY_ABOVE_CEILING, ["read:crm"], operation("read", sensitivity=2)),
        (Reason.ACTION_NOT_GRANTED, ["write:crm"], operation("read", sensitivity=2)),
    ],
)
def test_what_a_grant_covers(expected: Reason | None, granted: list[str], wanted: Operation) -> None:
    """One grant must cover action or all classes, and the dataset; the ceiling itself is within."""
    task = dataclasses.replace(TASK, grants=tuple(map(Grant.parse, granted)))
    assert expected == outcome(partial(task.must_cover, wanted))


ID_127 = "a" * 127
ID_128 = "a" * 128


@pytest.mark.parametrize(
    "value",
    ["0123abcd", "0192f0c1-2345-7abc-8def-0123456789ab", "a.b-c.d-e", "a-------", ID_127, ID_128],
    ids=lambda value: f"{len(value)} {value[:8]}",
)
def test_one_value_of_the_strict_form_is_the_id(value: str) -> None:
    """Lower-case letters, digits, dots and dashes, 8 to 128 of them, beginning with a letter or digit."""
    assert value == parse_task_id((value,))


@pytest.mark.parametrize(
    ("expected", "values"),
    [
        (Reason.TASK_MISSING, ()),
        (Reason.TASK_ID_MALFORMED, ("",)),
        (Reason.TASK_ID_MALFORMED, ("a" * 7,)),
        (Reason.TASK_ID_MALFORMED, ("a" * 129,)),
        (Reason.TASK_ID_MALFORMED, ("a" * 100_000,)),
        (Reason.TASK_ID_MALFORMED, ("0123ABCD",)),
        (Reason.TASK_ID_MALFORMED, ("0123abcd\n",)),
        (Reason.TASK_ID_MALFORMED, ("\n0123abcd",)),
        (Reason.TASK_ID_MALFORMED, ("0123abcd ",)),
        (Reason.TASK_ID_MALFORMED, ("0123\x00abcd",)),
        (Reason.TASK_ID_MALFORMED, ("0123abcd!",)),
        (Reason.TASK_ID_MALFORMED, ("0123!abcd",)),
        (Reason.TASK_ID_MALFORMED, ("-123abcd",)),
        (Reason.TASK_ID_MALFORMED, (".123abcd",)),
        (Reason.TASK_ID_MALFORMED, ("0123_abcd",)),
        (Reason.TASK_ID_MALFORMED, ("0123/abcd",)),
        (Reason.TASK_ID_MALFORMED, ("0123%61bcd",)),
        (Reason.TASK_ID_MALFORMED, ("0123abcd;x=y",)),
        (Reason.TASK_ID_MALFORMED, ("\uff10123abcd",)),
        (Reason.TASK_ID_MALFORMED, ("\u0661123abcd",)),
        (Reason.TASK_HEADER_REPEATED, ("0123abcd", "0123abcd")),
        (Reason.TASK_HEADER_REPEATED, ("0123abcd", "")),
        (Reason.TASK_HEADER_REPEATED, ("0123abcd,0123abcd",)),
        (Reason.TASK_HEADER_REPEATED, ("0123abcd,0123efgh",)),
        (Reason.TASK_HEADER_REPEATED, ("0123abcd,",)),
        (Reason.TASK_HEADER_REPEATED, (",0123abcd",)),
        (Reason.TASK_HEADER_REPEATED, ("a",) * 1000),
    ],
    ids=lambda value: f"{len(value)} {value!r:.40}" if isinstance(value, tuple) else None,
)
def test_anything_else_is_refused(expected: Reason, values: tuple[str, ...]) -> None:
    """Repeated headers, apart or folded by Envoy, and every other form are refused for their reason."""
    assert expected is outcome(partial(parse_task_id, values))


@given(values=st.lists(st.text(max_size=20), max_size=3))
def test_no_header_is_an_error_or_two_ids(values: list[str]) -> None:
    """Whatever the header holds, the outcome is its only value or a refusal."""
    found = outcome(partial(parse_task_id, values))
    assert isinstance(found, Reason) or [found] == values


Check = Callable[[Task], None]


@pytest.mark.parametrize(
    ("check", "refused"),
    [
        (lambda task: task.must_name(identity(RESEARCH)), TASK),
        (lambda task: task.must_be_live(EXPIRES + 1), TASK),
        (lambda task: task.must_be_live(STARTS - 1), TASK),
        (lambda task: task.must_be_live(STARTS), ENDED),
        (lambda task: task.must_cover(operation("delete")), dataclasses.replace(TASK, grants=())),
        (lambda task: task.must_cover(operation("read", sensitivity=3)), TASK),
    ],
    ids=["agent", "expired", "early", "ended", "action", "ceiling"],
)
def test_a_refusal_tells_an_auditor_what_was_found(check: Check, refused: Task) -> None:
    """Each refusal has a detail of one line, for the audit record."""
    with pytest.raises(Refused) as caught:
        check(refused)
    assert caught.value.detail
    assert "\n" not in caught.value.detail
