"""Tasks in their stored form: what goes in comes out, and what is not strictly a task never does."""

import dataclasses
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.core.hop import ActionClass, Sensitivity
from authz.core.spiffe import SpiffeId
from authz.core.task import Grant, Task, TaskState
from authz.tasks.records import (
    MAX_AGENTS,
    MAX_GRANT_CHARACTERS,
    MAX_GRANTS,
    MAX_TEXT_CHARACTERS,
    MAX_UNIX_MS,
    NotARecord,
    StoredTask,
)
from tests.tasks.nodes import make_task

texts = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), min_size=1, max_size=256)
words = st.builds("{}{}".format, st.sampled_from("az09"), st.text("az09_-", max_size=7))
grants = st.builds(
    Grant,
    classes=st.frozensets(st.sampled_from(ActionClass), min_size=1),
    actions=st.frozensets(st.builds("{}.{}".format, words, words), max_size=3),
    datasets=st.frozensets(st.builds("{}.{}".format, words, words) | words | st.just("*"), min_size=1, max_size=3),
)
moments = st.integers(0, MAX_UNIX_MS).map(lambda ms: ms / 1000)
tasks = st.builds(
    Task,
    id=st.text("az09", min_size=8, max_size=128),
    owner=texts,
    purpose=texts,
    agents=st.frozensets(words.map(lambda path: SpiffeId.parse(f"spiffe://example.org/{path}")), max_size=5),
    grants=st.lists(grants, max_size=5).map(tuple),
    ceiling=st.sampled_from(Sensitivity),
    starts_unix_seconds=moments,
    expires_unix_seconds=moments,
    state=st.sampled_from(TaskState),
)


def stored_with(change: Callable[[dict[str, object]], object]) -> StoredTask:
    """A stored task whose record has been changed."""
    stored = StoredTask.of(make_task())
    record = json.loads(stored.record)
    change(record)
    return dataclasses.replace(stored, record=json.dumps(record).encode())


@given(task=tasks)
def test_a_task_survives_being_stored(task: Task) -> None:
    """Every task that can be stored is read back equal, its times to the millisecond."""
    assert task == StoredTask.of(task).task()


@given(seconds=st.floats(0, MAX_UNIX_MS / 1000))
def test_times_are_rounded_to_the_nearest_millisecond(seconds: float) -> None:
    """No time moves by more than half a millisecond, and a float's own breath, when it is stored."""
    task = StoredTask.of(make_task(starts_unix_seconds=seconds, expires_unix_seconds=seconds)).task()
    assert task.starts_unix_seconds == task.expires_unix_seconds == pytest.approx(seconds, abs=0.0006)


@given(record=st.binary() | st.recursive(st.none() | st.text(), st.lists).map(lambda value: json.dumps(value).encode()))
def test_other_bytes_are_not_a_record(record: bytes) -> None:
    """Whatever bytes are found in place of a record, the answer is NotARecord and no other error."""
    with pytest.raises(NotARecord):
        dataclasses.replace(StoredTask.of(make_task()), record=record).task()


@given(cut=st.integers(min_value=0), junk=st.binary(max_size=3))
def test_a_damaged_record_is_read_rightly_or_not_at_all(cut: int, junk: bytes) -> None:
    """Bytes overwritten anywhere in a record give a task within the bounds, or NotARecord."""
    stored = StoredTask.of(make_task())
    place = cut % len(stored.record)
    damaged = stored.record[:place] + junk + stored.record[place + len(junk) :]
    try:
        task = dataclasses.replace(stored, record=damaged).task()
    except NotARecord:
        return
    assert StoredTask.of(task).task() == task


NOT_RECORDS: dict[str, Callable[[dict[str, object]], object]] = {
    "an unknown key": lambda record: record.update(approved=True),
    "a missing owner": lambda record: record.pop("owner"),
    "missing agents": lambda record: record.pop("agents"),
    "missing grants": lambda record: record.pop("grants"),
    "a missing ceiling": lambda record: record.pop("ceiling"),
    "a missing start": lambda record: record.pop("starts_ms"),
    "an empty owner": lambda record: record.update(owner=""),
    "a number for an owner": lambda record: record.update(owner=7),
    "a null purpose": lambda record: record.update(purpose=None),
    "a purpose of two lines": lambda record: record.update(purpose="answer\nticket"),
    "an owner that turns text around": lambda record: record.update(owner="alice\u202emoc"),
    "a purpose too long": lambda record: record.update(purpose="x" * (MAX_TEXT_CHARACTERS + 1)),
    "one agent, not a list": lambda record: record.update(agents="spiffe://example.org/agent"),
    "an agent that is no SPIFFE ID": lambda record: record.update(agents=["spiffe://example.org/agent\n"]),
    "an agent in upper case": lambda record: record.update(agents=["SPIFFE://example.org/agent"]),
    "a number for an agent": lambda record: record.update(agents=[7]),
    "too many agents": lambda record: record.update(agents=[f"spiffe://e/{n}" for n in range(MAX_AGENTS + 1)]),
    "a grant of nothing": lambda record: record.update(grants=[""]),
    "a grant without a dataset": lambda record: record.update(grants=["read:"]),
    "a grant of an unknown class": lambda record: record.update(grants=["everything:crm"]),
    "a grant too long": lambda record: record.update(grants=["read:" + "x" * MAX_GRANT_CHARACTERS]),
    "too many grants": lambda record: record.update(grants=["read:crm"] * (MAX_GRANTS + 1)),
    "an unknown ceiling": lambda record: record.update(ceiling="secret"),
    "a ceiling in upper case": lambda record: record.update(ceiling="PUBLIC"),
    "a number for a ceiling": lambda record: record.update(ceiling=3),
    "a text for a start": lambda record: record.update(starts_ms="0"),
    "a fraction for a start": lambda record: record.update(starts_ms=0.5),
    "a start before 1970": lambda record: record.update(starts_ms=-1),
    "a start after 9999": lambda record: record.update(starts_ms=MAX_UNIX_MS + 1),
    "a start beyond all numbers": lambda record: record.update(starts_ms=10**400),
}


@pytest.mark.parametrize("change", NOT_RECORDS.values(), ids=NOT_RECORDS)
def test_a_record_is_read_strictly(change: Callable[[dict[str, object]], object]) -> None:
    """Unknown and missing keys, other types, and values out of form or bounds are refused, never guessed at."""
    stored = stored_with(change)
    with pytest.raises(NotARecord):
        stored.task()


@pytest.mark.parametrize(
    "columns", [{"state": 2}, {"state": -1}, {"expires_ms": -1}, {"expires_ms": MAX_UNIX_MS + 1}, {"expires_ms": 2**63}]
)
def test_what_stands_beside_the_record_is_read_strictly(columns: dict[str, int]) -> None:
    """An unknown state or an impossible expiry is no task either."""
    stored = dataclasses.replace(StoredTask.of(make_task()), **columns)  # type: ignore[arg-type]  # integers all
    with pytest.raises(NotARecord):
        stored.task()


@pytest.mark.parametrize(
    "changes",
    [
        {"owner": "x" * MAX_TEXT_CHARACTERS},
        {"purpose": "Müllers Angebot prüfen 请 ✓"},
        {"agents": frozenset(SpiffeId.parse(f"spiffe://e/{number}") for number in range(MAX_AGENTS))},
        {"grants": (Grant.parse("read:crm"),) * MAX_GRANTS},
        {"agents": frozenset(), "grants": ()},
        {"expires_unix_seconds": 0.0},
        {"expires_unix_seconds": MAX_UNIX_MS / 1000},
    ],
    ids=["longest owner", "any script", "most agents", "most grants", "nothing granted", "first time", "last time"],
)
def test_the_bounds_themselves_are_within(changes: dict[str, object]) -> None:
    """The largest, the smallest and the emptiest task that is promised can be stored."""
    task = make_task(**changes)
    assert task == StoredTask.of(task).task()


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "short"},
        {"id": "a-task-id\n"},
        {"owner": "x" * (MAX_TEXT_CHARACTERS + 1)},
        {"grants": (Grant(frozenset(), frozenset(), frozenset()),)},
        {"grants": (Grant(frozenset(), frozenset({"read"}), frozenset({"crm"})),)},
        {"grants": (Grant(frozenset(), frozenset({"a.b:c"}), frozenset({"crm"})),)},
        {"agents": frozenset({SpiffeId("agent", "example.org", "/agent")})},
        {"agents": frozenset({SpiffeId("spiffe://example.org/agent", "example.org", "/agent")}), "owner": "\x00"},
        {"starts_unix_seconds": float("nan")},
        {"expires_unix_seconds": float("inf")},
        {"expires_unix_seconds": -0.001},
    ],
    ids=str,
)
def test_what_would_not_be_read_back_is_not_stored(changes: dict[str, object]) -> None:
    """A task beyond the bounds, or with parts that did not come from their parsers, is refused when it is stored."""
    task = make_task(**changes)
    with pytest.raises(NotARecord):
        StoredTask.of(task)


def test_the_message_names_the_place_and_not_the_value() -> None:
    """The reason says which field is wrong and how, short enough for a log line."""
    stored = stored_with(lambda record: record.update(owner=7, purpose="", approver="mallory" * 1000))
    with pytest.raises(NotARecord) as caught:
        stored.task()
    message = str(caught.value)
    assert all(field in message for field in ("owner", "purpose", "approver"))
    assert "mallory" not in message
    assert len(message) < 300


def test_equal_grants_and_agents_are_kept_once() -> None:
    """Tasks made from one template share their agents and grants in memory."""
    one, other = (StoredTask.of(make_task()).task() for _ in range(2))
    assert one.grants is other.grants
    assert one.agents is other.agents
