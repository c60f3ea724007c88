"""What every task store promises, whatever it is built on."""

import dataclasses
import itertools
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authz.core.acts import NoSuchTask
from authz.core.ids import uuid7
from authz.core.reasons import Reason
from authz.core.task import Task, TaskState
from tests.tasks.nodes import Node, OpenNode, make_task, quick_folder
from tests.tasks.shared_stores import STORES

INTERLEAVINGS = 1_000


def test_an_unknown_task_is_known_to_be_unknown(open_node: OpenNode) -> None:
    """Absence is remembered: the second check about a made-up id need not ask the store."""
    node = open_node()
    assert node.finds("made-up-id") is Reason.TASK_UNKNOWN
    assert node.remembers("made-up-id") is Reason.TASK_UNKNOWN


def test_absence_ends_when_the_task_is_put(open_node: OpenNode) -> None:
    """A task that one node starts is found by another at its very next check, even if it was just known as absent."""
    here, there = open_node(), open_node()
    task = make_task()
    assert here.finds(task.id) is Reason.TASK_UNKNOWN
    there.put(task)
    assert here.remembers(task.id) is None
    assert here.finds(task.id) == task


def test_a_task_comes_back_as_it_was_put(open_node: OpenNode) -> None:
    """Whether read for a check, looked at or listed, and by whichever node, a task is equal to the one that was put."""
    here, there = open_node(), open_node()
    task = make_task()
    here.put(task)
    assert task == here.get(task.id)
    assert task == there.get(task.id)
    assert [task] == there.list()
    assert task == here.finds(task.id)
    assert task == there.finds(task.id)


def test_tasks_are_listed_oldest_first(open_node: OpenNode) -> None:
    """The list is in the order in which the tasks' ids were made, whatever the order in which they were put."""
    node = open_node()
    oldest, middle, newest = (make_task(id=uuid7(seconds, bytes(10))) for seconds in (100.0, 200.5, 300.0))
    for task in (newest, oldest, middle):
        node.put(task)
    assert [oldest, middle, newest] == node.list()


def test_a_new_store_lists_nothing(open_node: OpenNode) -> None:
    """An empty store is a list without tasks, not an error."""
    assert open_node().list() == []


def test_an_ended_task_stays_and_is_ended(open_node: OpenNode) -> None:
    """Ending keeps the task for those who look, in the state ended and otherwise unchanged."""
    node = open_node()
    task = make_task()
    node.put(task)
    node.end(task.id)
    ended = dataclasses.replace(task, state=TaskState.ENDED)
    assert ended == node.get(task.id)
    assert ended == node.finds(task.id)
    assert [ended] == node.list()


def test_ending_twice_is_ending_once(open_node: OpenNode) -> None:
    """A repeated end is acknowledged like the first and changes nothing."""
    here, there = open_node(), open_node()
    task = make_task()
    here.put(task)
    here.end(task.id)
    there.end(task.id)
    assert here.get(task.id).state is TaskState.ENDED


@pytest.mark.parametrize(
    "task_id",
    ["no-such-task", "", "UPPER-CASE", "short", "x" * 129, "a,b-c-d-e-f", "\udcff" * 9],
    ids=["unknown", "empty", "upper case", "short", "long", "comma", "not UTF-8"],
)
def test_an_unknown_id_is_a_key_error(open_node: OpenNode, task_id: str) -> None:
    """Looking at or ending what does not exist, or cannot, says so; it is never taken for done."""
    node = open_node()
    with pytest.raises(NoSuchTask):
        node.get(task_id)
    with pytest.raises(NoSuchTask):
        node.end(task_id)


def test_a_taken_id_is_refused(open_node: OpenNode) -> None:
    """A second task under the id of a first is refused, and the first stays as it is, even after its end."""
    here, there = open_node(), open_node()
    task = make_task()
    other = dataclasses.replace(task, owner="mallory@example.org")
    here.put(task)
    with pytest.raises(ValueError, match=task.id):
        there.put(other)
    assert task == here.get(task.id)
    here.end(task.id)
    with pytest.raises(ValueError, match=task.id):
        there.put(other)
    assert here.get(task.id).state is TaskState.ENDED


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "UPPER-CASE-ID"},
        {"id": "with a space"},
        {"owner": ""},
        {"owner": "x" * 257},
        {"purpose": "two\nlines"},
        {"expires_unix_seconds": float("inf")},
        {"expires_unix_seconds": float("nan")},
        {"starts_unix_seconds": -1.0},
    ],
    ids=str,
)
def test_a_task_that_could_not_be_read_back_is_refused(open_node: OpenNode, changes: dict[str, object]) -> None:
    """A store acknowledges only what a check can use; the rest is an error for the caller, and nothing is kept."""
    node = open_node()
    with pytest.raises(ValueError, match=r"."):
        node.put(make_task(**changes))
    assert node.list() == []


def test_an_end_is_seen_at_the_very_next_check(open_node: OpenNode) -> None:
    """Of a thousand tasks ended by another node while they were in memory, none is still live at the next check."""
    here, there = open_node(), open_node()
    misses = 0
    for _ in range(INTERLEAVINGS):
        task = make_task()
        there.put(task)
        assert here.finds(task.id) == task
        there.end(task.id)
        misses += here.remembers(task.id) is not None
    assert misses == 0


def test_other_tasks_stay_in_memory_when_one_changes(open_node: OpenNode) -> None:
    """A change costs a re-read of the task that changed, not of all."""
    here, there = open_node(), open_node()
    kept, ended = make_task(), make_task()
    for task in (kept, ended):
        here.put(task)
        here.finds(task.id)
    there.end(ended.id)
    assert here.remembers(ended.id) is None
    assert kept == here.remembers(kept.id)


def test_a_record_read_before_a_change_does_not_outlive_it(open_node: OpenNode) -> None:
    """A task fetched just before it is ended, with no check in between, is forgotten at the next check."""
    here, there = open_node(), open_node()
    task = make_task()
    there.put(task)
    here.catch_up()
    here.fetch(task.id)
    there.end(task.id)
    assert here.remembers(task.id) is None


def test_knowledge_is_as_old_as_the_last_peek(open_node: OpenNode) -> None:
    """`as_of_ns` is an instant between the begin and the end of the last peek; fetching and writing do not move it."""
    node = open_node()
    before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert node.memory.as_of_ns < before_ns
    node.catch_up()
    after_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    as_of_ns = node.memory.as_of_ns
    assert before_ns <= as_of_ns <= after_ns
    task = make_task()
    node.put(task)
    node.fetch(task.id)
    assert as_of_ns == node.memory.as_of_ns


@st.composite
def stories(draw: st.DrawFn) -> list[tuple[str, int]]:
    """What may happen on two nodes to three tasks."""
    acts = st.sampled_from(["put", "end", "peek", "fetch"])
    return draw(st.lists(st.tuples(acts, st.integers(0, 2)), min_size=1, max_size=25))


@pytest.mark.parametrize("kind", STORES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(story=stories())
def test_after_a_peek_memory_never_contradicts_the_store(kind: str, story: list[tuple[str, int]]) -> None:
    """However reads, peeks and another node's writes follow each other, a peek leaves nothing outdated in memory."""
    with quick_folder() as folder, STORES[kind](folder) as open_node:
        here, there = open_node(), open_node()
        tasks = [make_task() for _ in range(3)]
        truth: dict[str, Task] = {}
        for act, number in itertools.chain(story, [("peek", 0)]):
            task = tasks[number]
            if act == "put" and task.id not in truth:
                there.put(task)
                truth[task.id] = task
            elif act == "end" and task.id in truth:
                there.end(task.id)
                truth[task.id] = dataclasses.replace(task, state=TaskState.ENDED)
            elif act == "fetch":
                here.fetch(task.id)
            elif act == "peek":
                _must_not_contradict(here, tasks, truth)


def _must_not_contradict(node: Node, tasks: list[Task], truth: dict[str, Task]) -> None:
    for task in tasks:
        found = node.remembers(task.id)
        assert found is None or found == truth.get(task.id, Reason.TASK_UNKNOWN)
