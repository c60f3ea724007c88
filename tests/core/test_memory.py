"""Memory: what a check may know, how much of it is kept, and how old it is."""

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from authz.core.errand import Errand
from authz.core.errors import Refused
from authz.core.hop import Sensitivity
from authz.core.memory import NEVER_NS, Memory
from authz.core.outcome import Fresh, Know, Lacks, Want
from authz.core.reasons import Reason
from authz.core.spiffe import SpiffeId
from authz.core.task import Task, TaskState
from tests.support.refusals import outcome

SECOND_NS = 1_000_000_000
MAX_TASKS, MAX_ABSENCES = 3, 4

numbers = st.integers(0, 9)


def task(number: int, purpose: str = "") -> Task:
    """A task that differs from others in its id."""
    agents = frozenset[SpiffeId]()
    return Task(f"task-{number:04}", "alice", purpose, agents, (), Sensitivity.PUBLIC, 0, 1, TaskState.ACTIVE)


FRESH = frozenset[Want]()
STALE = frozenset({Fresh(task(1).id)})


def known(memory: Memory, number: int) -> Task | Reason | None:
    """What is known of the task: itself, why not, or None where the store must be asked."""
    try:
        return outcome(partial(memory.find, task(number).id))
    except Lacks:
        return None


def test_nothing_is_known_at_first() -> None:
    """A new memory asks for every task by its id, and nothing that it holds is fresh."""
    memory = Memory(MAX_TASKS)
    with pytest.raises(Lacks) as caught:
        memory.find(task(1).id)
    assert caught.value.wants == {Know(task(1).id)}
    with pytest.raises(Lacks) as stale:
        memory.must_be_fresh(Errand((task(1),)), 0, 2**62)
    assert stale.value.wants == {Fresh(task(1).id)}


def test_what_is_known_is_told() -> None:
    """A task is found, an absent one is refused as unknown, an unreadable one as malformed, with the reason why."""
    memory = Memory(MAX_TASKS)
    memory.put(task(1))
    memory.put_absent(task(2).id)
    memory.put_malformed(task(3).id, "owner: missing")
    assert task(1) == known(memory, 1)
    assert known(memory, 2) is Reason.TASK_UNKNOWN
    assert known(memory, 3) is Reason.TASK_RECORD_MALFORMED
    with pytest.raises(Refused, match="owner: missing"):
        memory.find(task(3).id)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_forgetting_and_flushing_leave_nothing(number: int) -> None:
    """After a change of one task, or of unknown extent, the store must be asked again, about absence too."""
    for forget in (lambda memory: memory.forget(task(number).id), Memory.flush):
        memory = Memory(MAX_TASKS)
        memory.put(task(1))
        memory.put_absent(task(2).id)
        memory.put_malformed(task(3).id, "")
        forget(memory)
        assert known(memory, number) is None


def lacking(memory: Memory, arrival_ns: int, max_staleness_ns: int) -> frozenset[Want]:
    """What must be read anew before task 1 may decide a hop; nothing where it is fresh."""
    try:
        memory.must_be_fresh(Errand((task(1),)), arrival_ns, max_staleness_ns)
    except Lacks as lacks:
        return lacks.wants
    return FRESH


@pytest.mark.parametrize(
    ("expected", "arrival_ns", "max_staleness_ns"),
    [
        (FRESH, 10 * SECOND_NS, 0),
        (FRESH, 9 * SECOND_NS, 0),
        (STALE, 10 * SECOND_NS + 1, 0),
        (FRESH, 11 * SECOND_NS, SECOND_NS),
        (STALE, 11 * SECOND_NS + 1, SECOND_NS),
    ],
)
@pytest.mark.parametrize(("memory_ns", "entry_ns"), [(10 * SECOND_NS, NEVER_NS), (NEVER_NS, 10 * SECOND_NS)])
def test_freshness_is_exact_to_the_nanosecond(
    expected: frozenset[Want], arrival_ns: int, max_staleness_ns: int, memory_ns: int, entry_ns: int
) -> None:
    """Knowledge is fresh up to the declared staleness before the hop's arrival, inclusive, and not a moment older.

    It counts as of the last look for changes, or as of the task's own reading, whichever is later.
    """
    memory = Memory(MAX_TASKS, as_of_ns=memory_ns)
    memory.put(task(1), entry_ns)
    assert expected == lacking(memory, arrival_ns, max_staleness_ns)


@given(arrival_ns=st.integers(0, 2**63), max_staleness_ns=st.integers(0, 60 * SECOND_NS))
def test_what_was_never_read_is_never_fresh(arrival_ns: int, max_staleness_ns: int) -> None:
    """Before the first look at the store no staleness is enough."""
    assert lacking(Memory(MAX_TASKS), arrival_ns, max_staleness_ns) == STALE
    assert arrival_ns - NEVER_NS > 60 * SECOND_NS


def test_a_task_in_use_outlives_newer_ones() -> None:
    """Second chance: of the oldest tasks, the one that checks ask for is spared, and an idle one goes instead."""
    memory = Memory(MAX_TASKS)
    for number in (1, 2, 3):
        memory.put(task(number))
    for newer in range(4, 9):
        assert task(1) == known(memory, 1)
        memory.put(task(newer))
    assert task(1) == known(memory, 1)
    assert known(memory, 2) is None


def test_an_unused_task_is_not_spared_twice() -> None:
    """A use long ago spares a task once; without another it goes in its turn."""
    memory = Memory(MAX_TASKS)
    for number in (1, 2, 3):
        memory.put(task(number))
    known(memory, 1)
    for newer in (4, 5, 6):
        memory.put(task(newer))
    assert known(memory, 1) is None


@given(used=st.lists(numbers, max_size=30))
def test_what_was_put_last_is_found(used: list[int]) -> None:
    """A task that a check has asked for is there when that check runs again, however busy all the others are."""
    memory = Memory(MAX_TASKS)
    for number in used:
        for other in range(10):
            known(memory, other)
        memory.put(task(number))
        assert task(number) == known(memory, number)


@given(strangers=st.integers(0, 3 * MAX_ABSENCES))
def test_made_up_ids_never_push_out_tasks(strangers: int) -> None:
    """However many ids are absent or unreadable, no task is forgotten for them, and they take bounded room."""
    memory = Memory(MAX_TASKS, MAX_ABSENCES)
    for number in range(MAX_TASKS):
        memory.put(task(number))
    for number in range(100, 100 + strangers):
        memory.put_absent(task(number).id)
        memory.put_malformed(task(number + 1000).id, "")
    assert [task(number) for number in range(MAX_TASKS)] == [known(memory, number) for number in range(MAX_TASKS)]
    assert len(memory._absent) <= MAX_ABSENCES
    assert len(memory._malformed) <= MAX_ABSENCES


class MemoryAgainstADict(RuleBasedStateMachine):
    """Memory may forget; what it knows is what a plain dict knows."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = Memory(MAX_TASKS, MAX_ABSENCES)
        self.truth: dict[int, Task | Reason] = {}

    @rule(number=numbers, purpose=st.sampled_from(["read", "write"]))
    def put(self, number: int, purpose: str) -> None:
        """The store was read: there is a task, or a newer state of it."""
        self.truth[number] = task(number, purpose)
        self.memory.put(task(number, purpose))
        assert known(self.memory, number) == self.truth[number]

    @rule(number=numbers)
    def put_absent(self, number: int) -> None:
        """The store was read: there is no such task."""
        self.truth[number] = Reason.TASK_UNKNOWN
        self.memory.put_absent(task(number).id)
        assert known(self.memory, number) == self.truth[number]

    @rule(number=numbers)
    def put_malformed(self, number: int) -> None:
        """The store was read: the record makes no sense."""
        self.truth[number] = Reason.TASK_RECORD_MALFORMED
        self.memory.put_malformed(task(number).id, "why")
        assert known(self.memory, number) == self.truth[number]

    @rule(number=numbers)
    def find(self, number: int) -> None:
        """A check asks."""
        assert known(self.memory, number) in {self.truth.get(number), None}

    @rule(number=numbers)
    def forget(self, number: int) -> None:
        """The task changed."""
        self.truth.pop(number, None)
        self.memory.forget(task(number).id)
        assert known(self.memory, number) is None

    @rule()
    def flush(self) -> None:
        """Anything may have changed."""
        self.truth.clear()
        self.memory.flush()
        assert [known(self.memory, number) for number in range(10)] == [None] * 10

    @invariant()
    def it_is_bounded(self) -> None:
        """It never holds more than it may."""
        assert len(self.memory._tasks) <= MAX_TASKS
        assert len(self.memory._absent) <= MAX_ABSENCES
        assert len(self.memory._malformed) <= MAX_ABSENCES

    @invariant()
    def it_knows_one_thing_of_a_task(self) -> None:
        """No id is at once a task, absent and unreadable."""
        kinds = [set(self.memory._tasks), set(self.memory._absent), set(self.memory._malformed)]
        assert sum(map(len, kinds)) == len(set[str]().union(*kinds))


TestMemoryAgainstADict = MemoryAgainstADict.TestCase
TestMemoryAgainstADict.settings = settings(max_examples=60, deadline=None)
