"""The sample tools, as HTTP servers."""

import http.client
import json
import threading
from collections.abc import Iterator

import pytest

from authz.demo import tools
from authz.demo.agents import Answered, Headers, NoAnswer, Outcome
from authz.demo.tools import Tool


class Post:
    """What the crm tool mails with: it notes what it is given and answers as it is told."""

    def __init__(self) -> None:
        self.outcome: Outcome = Answered(202, (), b"", 1.0)
        self.sent: list[tuple[Headers, bytes]] = []

    def __call__(self, headers: Headers, body: bytes) -> Outcome:
        """Note, and answer."""
        self.sent.append((headers, body))
        return self.outcome


@pytest.fixture
def post() -> Post:
    """A post office."""
    return Post()


@pytest.fixture
def crm(post: Post) -> Iterator[Tool]:
    """A crm tool that mails by it."""
    with Tool("crm", tools.crm(post)) as tool:
        yield tool


def ask(tool: Tool, method: str, path: str, body: str = "", **headers: str) -> tuple[int, object]:
    """The status and the JSON that a tool answers."""
    connection = http.client.HTTPConnection(*tool.address, timeout=10)
    try:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body or None, sent)
        response = connection.getresponse()
        content = response.read()
        return response.status, json.loads(content) if content else None
    finally:
        connection.close()


def test_contacts_are_really_kept(crm: Tool) -> None:
    """What is written can be read, and what is deleted is gone: a hop that got through shows."""
    assert ask(crm, "PUT", "/contacts/7", '{"id": 7, "name": "Ada"}') == (200, {"id": 7, "name": "Ada"})
    assert ask(crm, "GET", "/contacts/7") == (200, {"id": 7, "name": "Ada"})
    assert ask(crm, "DELETE", "/contacts/7") == (204, None)
    assert ask(crm, "GET", "/contacts/7")[0] == 404
    assert ask(crm, "PATCH", "/contacts/8")[0] == 405


def test_a_report_is_mailed_on_the_same_errand(crm: Tool, post: Post) -> None:
    """The crm tool passes on the task and the trace of the hop it serves, and no other header."""
    answer = ask(crm, "POST", "/reports", x_task_id="t-1", traceparent="00-1-2-01", cookie="c")
    assert answer == (200, {"report": "sent"})
    ((headers, body),) = post.sent
    assert headers == [("x-task-id", "t-1"), ("traceparent", "00-1-2-01")]
    assert json.loads(body) == {"subject": "report", "text": "9 contacts"}


def test_a_report_that_may_not_be_mailed_says_why(crm: Tool, post: Post) -> None:
    """When mail's Envoy denies, the crm tool answers 502 with mail's status and reason."""
    post.outcome = Answered(403, (), b"", 1.0, "task_of_another_agent", "d-1")
    denied = {"status": 403, "reason": "task_of_another_agent"}
    assert ask(crm, "POST", "/reports") == (502, {"report": "not sent", "mail": denied})
    post.outcome = NoAnswer("refused", 1.0)
    assert ask(crm, "POST", "/reports") == (502, {"report": "not sent", "mail": {"failure": "refused"}})


def test_hr_answers_mcp_and_refuses_no_tool() -> None:
    """The hr tool answers any call, by its id: what must not happen must not arrive."""
    with Tool("hr", tools.hr) as tool:
        for name in ("look_up_person", "show_salary", "no_such_tool"):
            call = {"jsonrpc": "2.0", "id": name, "method": "tools/call", "params": {"name": name}}
            status, answer = ask(tool, "POST", "/mcp", json.dumps(call))
            assert isinstance(answer, dict)
            assert (status, answer["id"], "result" in answer) == (200, name, True)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("target", ["/", "//payroll//7", "/a/../b", "/x?y=/z"])
def test_all_that_arrives_is_remembered(method: str, target: str) -> None:
    """Whatever reaches a tool is counted, with its target to the letter, so that a denied hop cannot hide."""
    with Tool("mail", tools.mail) as tool:
        ask(tool, method, target)
        assert [(each.method, each.target) for each in tool.received] == [(method, target)]


def test_a_broken_request_breaks_nothing(crm: Tool) -> None:
    """A tool that fails over one request answers 500 and serves the next."""
    assert ask(crm, "PUT", "/contacts/7", "not json")[0] == 500
    assert ask(crm, "GET", "/contacts/7")[0] == 200


def test_a_stopped_tool_is_gone() -> None:
    """After its context a tool has no thread and no port."""
    with Tool("hr", tools.hr) as tool:
        assert ask(tool, "GET", "/people/3") == (200, {"id": "3", "desk": "2.14"})
    assert "tool hr" not in [thread.name for thread in threading.enumerate()]
    with pytest.raises(ConnectionRefusedError):
        ask(tool, "GET", "/people/3")
