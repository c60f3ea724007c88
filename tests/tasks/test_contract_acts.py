"""What every task store promises of sessions, budgets, approvals and news, whatever it is built on."""

import dataclasses
import itertools
import time

import pytest

from authz.core.acts import Approve, Ask, Conflict, NoSuchTask, Proceed, Reject, Resume, Suspend
from authz.core.approval import MAX_REQUESTS, AccessRequest, Approval
from authz.core.facts import Facts
from authz.core.hop import ActionClass, Sensitivity
from authz.core.task import Task
from tests.tasks.nodes import Node, OpenNode, make_task

DELTAS = (
    Facts(frozenset({"crm.contact.read"}), frozenset({ActionClass.READ}), frozenset({"crm"}), Sensitivity.INTERNAL),
    Facts(frozenset({"web.page.get"}), frozenset({ActionClass.EGRESS}), frozenset({"web"}), untrusted_input=True),
    Facts(frozenset({"hr.file.read"}), frozenset({ActionClass.READ}), frozenset({"hr"}), Sensitivity.CONFIDENTIAL),
)


def _request(task: Task, arguments: str = "0" * 64) -> AccessRequest:
    agent = next(iter(task.agents)).uri
    return AccessRequest(task.id, agent, "mail.message.send", "mail/1", (), arguments, frozenset({"human"}))


def _approval(request: AccessRequest, name: str = "approval-1", seconds: float = 60) -> Approval:
    expires = int(time.time() + seconds)
    return Approval(name, request.digest, "human", "spiffe://example.org/person/boss", float(expires))


def _asked(node: Node, task: Task) -> AccessRequest:
    request = _request(task)
    node.put(task)
    node.do(Ask(request))
    return request


def _proceed(task: Task, hop_key: str, **changes: object) -> Proceed:
    return dataclasses.replace(Proceed(task.id, hop_key), **changes)  # type: ignore[arg-type]  # the test's business


def _child(task: Task, **changes: object) -> Task:
    return make_task(id=f"{task.id}.1", **changes)


def test_a_suspended_task_is_found_suspended_until_it_is_resumed(open_node: OpenNode) -> None:
    """Both are news to the other node's very next check, and doing either twice changes nothing more."""
    here, there = open_node(), open_node()
    task = make_task()
    there.put(task)
    for act, is_suspended in ((Suspend, True), (Suspend, True), (Resume, False), (Resume, False)):
        assert here.finds(task.id) is not None
        there.do(act(task.id))
        assert here.finds(task.id) == dataclasses.replace(task, is_suspended=is_suspended)


@pytest.mark.parametrize("act", [Suspend, Resume])
def test_what_is_not_there_can_be_neither_suspended_nor_resumed(
    open_node: OpenNode, act: type[Suspend] | type[Resume]
) -> None:
    """It says so, and is never taken for done."""
    with pytest.raises(NoSuchTask):
        open_node().do(act("no-such-task"))


@pytest.mark.parametrize("trouble", ["unknown", "ended", "suspended"])
def test_nothing_is_delegated_by_a_task_that_is_not_live(open_node: OpenNode, trouble: str) -> None:
    """A child or grandchild is refused where a task above it is unknown, ended or suspended, and is not kept."""
    node = open_node()
    task = make_task()
    child = _child(task)
    if trouble != "unknown":
        node.put(task)
        node.put(child)
        if trouble == "ended":
            node.end(task.id)
        else:
            node.do(Suspend(task.id))
    late = make_task(id=f"{child.id}.1")
    with pytest.raises(Conflict):
        node.put(late)
    with pytest.raises(NoSuchTask):
        node.get(late.id)


def test_no_two_tasks_share_a_transaction(open_node: OpenNode) -> None:
    """The second is refused; tasks without one do not stand in each other's way."""
    here, there = open_node(), open_node()
    here.put(make_task(transaction="txn-1"))
    with pytest.raises(Conflict):
        there.put(make_task(transaction="txn-1"))
    here.put(make_task())
    there.put(make_task())


def test_facts_join_in_every_order_and_twice(open_node: OpenNode) -> None:
    """Whatever the order of three hops, each told twice and by either node, the session has learnt the same."""
    here, there = open_node(), open_node()
    whole = DELTAS[0].join(DELTAS[1]).join(DELTAS[2])
    for order in itertools.permutations(DELTAS):
        task = make_task()
        here.put(task)
        for number, facts in enumerate((*order, *order)):
            (here, there)[number % 2].do(_proceed(task, f"hop-{number}", facts=facts))
        assert here.get(task.id).facts == whole
        found = there.finds(task.id)
        assert isinstance(found, Task)
        assert found.facts == whole


def test_a_delegated_hop_teaches_the_session_that_was_started(open_node: OpenNode) -> None:
    """Facts and activity stand on the first task of the chain, and activity never goes back."""
    node = open_node()
    task = make_task()
    node.put(task)
    node.put(_child(task))
    for seconds in (1000.5, 900.0):
        node.do(_proceed(_child(task), f"hop-{seconds}", facts=DELTAS[0], active_unix_seconds=seconds))
    assert node.get(task.id).facts == DELTAS[0]
    assert node.get(task.id).active_unix_seconds == 1000.5
    assert node.get(_child(task).id).facts == Facts()


def test_a_budget_is_never_overspent(open_node: OpenNode) -> None:
    """Two nodes that spend by turns get three hops out of a budget of three; the same hop again costs nothing."""
    nodes = open_node(), open_node()
    task = make_task(budget_hops=3)
    nodes[0].put(task)
    spends = frozenset({task.id})
    for number in range(3):
        for node in nodes:
            node.do(_proceed(task, f"hop-{number}", spends=spends))
    for node in nodes:
        with pytest.raises(Conflict):
            node.do(_proceed(task, "one-too-many", spends=spends, facts=DELTAS[0]))
        node.do(_proceed(task, "hop-1", spends=spends))
    left = nodes[0].get(task.id)
    assert left.spent_hops == 3
    assert left.facts == Facts(), "what was refused left something behind"


def test_who_cannot_pay_all_pays_none(open_node: OpenNode) -> None:
    """Where the parent's budget is used up, the child's is left as it was."""
    node = open_node()
    parent = make_task(budget_hops=0)
    child = _child(parent, budget_hops=5)
    node.put(parent)
    node.put(child)
    with pytest.raises(Conflict):
        node.do(_proceed(child, "hop", spends=frozenset({parent.id, child.id})))
    assert node.get(child.id).spent_hops == 0


def test_an_approval_is_spent_by_one_hop(open_node: OpenNode) -> None:
    """Another hop is refused, on every node; the same hop again is not."""
    here, there = open_node(), open_node()
    task = make_task()
    approval = _approval(_asked(here, task))
    here.do(Approve(task.id, approval))
    spending = _proceed(task, "hop-1", approvals=frozenset({approval.id}))
    there.do(spending)
    here.do(spending)
    for node in (here, there):
        with pytest.raises(Conflict):
            node.do(dataclasses.replace(spending, hop_key="hop-2"))
    assert here.get(task.id).approvals == (dataclasses.replace(approval, spent_by="hop-1"),)


def test_an_expired_or_unknown_approval_is_not_spent(open_node: OpenNode) -> None:
    """The store itself looks at the clock."""
    node = open_node()
    task = make_task()
    late = _approval(_asked(node, task), seconds=-5)
    node.do(Approve(task.id, late))
    for name in (late.id, "unknown"):
        with pytest.raises(Conflict):
            node.do(_proceed(task, "hop-1", approvals=frozenset({name})))


def test_access_requests_are_kept_once_and_in_their_order(open_node: OpenNode) -> None:
    """People see what was asked, oldest first, and asking again adds nothing; there is a most of them."""
    node = open_node()
    task = make_task()
    node.put(task)
    requests = [_request(task, f"{number:064}") for number in range(MAX_REQUESTS)]
    for request in (*requests, *requests[:2]):
        node.do(Ask(request))
    assert node.runner.run(node.store.get(task.id)).requests == tuple(requests)
    assert node.get(task.id).asked == {request.digest for request in requests}
    with pytest.raises(Conflict):
        node.do(Ask(_request(task, "f" * 64)))


def test_only_what_was_asked_is_approved_or_rejected(open_node: OpenNode) -> None:
    """A digest that nobody asked for is refused; so is an unknown task."""
    node = open_node()
    task = make_task()
    _asked(node, task)
    other = _request(task, "e" * 64)
    for act in (Approve(task.id, _approval(other)), Reject(task.id, other.digest)):
        with pytest.raises(Conflict):
            node.do(act)
    nowhere = (Ask(_request(make_task())), Approve("no-such-task", _approval(other)), Reject("no-such-task", "d"))
    for misplaced in nowhere:
        with pytest.raises(NoSuchTask):
            node.do(misplaced)


def test_a_rejection_voids_what_was_approved_and_not_spent(open_node: OpenNode) -> None:
    """After it there is no approval to spend and none to be had, and the other node knows at its next check."""
    here, there = open_node(), open_node()
    task = make_task()
    request = _asked(here, task)
    here.do(Approve(task.id, _approval(request)))
    assert isinstance(there.finds(task.id), Task)
    here.do(Reject(task.id, request.digest))
    found = there.finds(task.id)
    assert isinstance(found, Task)
    assert not found.approvals
    assert found.rejected == {request.digest}
    with pytest.raises(Conflict):
        there.do(_proceed(task, "hop", approvals=frozenset({"approval-1"})))
    with pytest.raises(Conflict):
        there.do(Approve(task.id, _approval(request, "approval-2")))


def test_a_conflict_shows_the_next_check_what_stood_against_it(open_node: OpenNode) -> None:
    """Whoever lost a race reads the winner's state at once, without waiting for news."""
    here, there = open_node(), open_node()
    task = make_task(budget_hops=1)
    there.put(task)
    here.finds(task.id)
    there.do(_proceed(task, "hop-1", spends=frozenset({task.id})))
    with pytest.raises(Conflict):
        here.do(_proceed(task, "hop-2", spends=frozenset({task.id})))
    found = here.finds(task.id)
    assert isinstance(found, Task)
    assert found.spent_hops == 1


def test_news_tell_each_change_from_where_one_left(open_node: OpenNode) -> None:
    """Who has no place yet is told none; then each task that changed, oldest change first; then nothing more."""
    here, there = open_node(), open_node()
    run = here.runner.run
    here.put(make_task())
    start = run(here.store.since(""))
    assert start.task_ids == ()
    first, second = make_task(), make_task()
    for task in (first, second):
        there.put(task)
    there.end(first.id)
    news = run(here.store.since(start.place))
    assert set(news.task_ids) == {first.id, second.id}
    assert not news.is_everything
    again = run(here.store.since(news.place))
    assert (again.task_ids, again.is_everything) == ((), False)


def test_purge_deletes_what_expired_and_nothing_else(open_node: OpenNode) -> None:
    """It is gone for every node, with its transaction; the rest stays."""
    here, there = open_node(), open_node()
    now = time.time()
    old = make_task(transaction="txn-1", starts_unix_seconds=1.0, expires_unix_seconds=2.0)
    live = make_task()
    for task in (old, live):
        here.put(task)
        there.finds(task.id)
    assert here.runner.run(here.store.purge(now - 60)) == 1
    assert there.remembers(old.id) is None
    assert there.remembers(live.id) == live
    assert here.list() == [live]
    here.put(make_task(transaction="txn-1"))
