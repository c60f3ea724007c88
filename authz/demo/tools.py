"""Tools: the services of the sample mesh, each a real HTTP server on loopback that remembers what reached it.

They trust their sidecar and authorize nothing: what must not happen must not arrive.
"""

import contextlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from authz.demo.agents import Answered, Headers, Outcome
from authz.demo.envoys import LOOPBACK, Address

PASSED_ON = ("x-task-id", "traceparent")
"""The headers that a tool gives to the tools it calls: on whose errand, and in which trace."""


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it reached a tool. `target` is as on the request line; names of headers are in lower case."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def steps(self) -> tuple[str, ...]:
        """The segments of the path."""
        return tuple(self.target.partition("?")[0].split("/")[1:])


Reply = tuple[int, object]
"""A status, and a body that becomes JSON."""
Respond = Callable[[Received], Reply]

_NOT_FOUND: Reply = (HTTPStatus.NOT_FOUND, {"error": "not found"})


class Tool:
    """A running tool. Whoever makes one must `stop` it; entered as a context, it is stopped at the end."""

    def __init__(self, name: str, respond: Respond) -> None:
        """Listen on a free port of loopback, and answer with `respond`."""
        self.name = name
        self._respond = respond
        self._received: list[Received] = []
        self._server = ThreadingHTTPServer((LOOPBACK, 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name=f"tool {name}")
        self._thread.start()

    @property
    def address(self) -> Address:
        """Where it listens."""
        return Address(LOOPBACK, self._server.server_port)

    @property
    def received(self) -> tuple[Received, ...]:
        """Every request that reached it so far, in order."""
        return tuple(self._received)

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def answer(self, received: Received) -> Reply:
        """Note the request, then answer it; a tool's own fault becomes a 500."""
        self._received.append(received)
        try:
            return self._respond(received)
        except Exception as error:  # noqa: BLE001  a broken sample must not take its thread along
            return HTTPStatus.INTERNAL_SERVER_ERROR, {"error": f"{type(error).__name__}: {error}"}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        tool = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):  # the sidecar was ended, or gave up on us
                    super().handle()

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = tuple((name.lower(), value) for name, value in self.headers.items())
                # Not self.path, in which the standard library folds `//`.
                target = self.requestline.split(" ")[1]
                status, content = tool.answer(Received(self.command, target, headers, body))
                payload = b"" if status == HTTPStatus.NO_CONTENT else json.dumps(content).encode()
                self.send_response(status)
                if status != HTTPStatus.NO_CONTENT:
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = handle_any  # noqa: N815  http.server's names

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: Envoy's access log tells more."""

        return Handler


def crm(send_mail: Callable[[Headers, bytes], Outcome]) -> Respond:
    """Contacts: read, write, delete, export; and reports, which it mails, calling the mail tool in its own name."""
    contacts: dict[str, object] = {str(number): {"id": number, "name": f"Contact {number}"} for number in range(1, 10)}

    def respond(received: Received) -> Reply:
        match received.method, received.steps:
            case method, ("contacts", id) if id in contacts:
                return _contact(contacts, id, method, received.body)
            case "GET", ("contacts", id, "notes") if id in contacts:
                return HTTPStatus.OK, {"notes": ["prefers to be called after ten"]}
            case "POST", ("exports",):
                return HTTPStatus.OK, list(contacts.values())
            case "POST", ("reports",):
                return _report(received, send_mail)
            case _:
                return _NOT_FOUND

    return respond


def _contact(contacts: dict[str, object], id: str, method: str, body: bytes) -> Reply:
    match method:
        case "GET":
            return HTTPStatus.OK, contacts[id]
        case "PUT":
            contacts[id] = json.loads(body)
            return HTTPStatus.OK, contacts[id]
        case "DELETE":
            del contacts[id]
            return HTTPStatus.NO_CONTENT, None
        case _:
            return HTTPStatus.METHOD_NOT_ALLOWED, {"error": "method not allowed"}


def _report(received: Received, send_mail: Callable[[Headers, bytes], Outcome]) -> Reply:
    headers = [(name, value) for name, value in received.headers if name in PASSED_ON]
    match send_mail(headers, json.dumps({"subject": "report", "text": "9 contacts"}).encode()):
        case Answered(status=HTTPStatus.ACCEPTED):
            return HTTPStatus.OK, {"report": "sent"}
        case Answered(status=status, reason=reason):
            return HTTPStatus.BAD_GATEWAY, {"report": "not sent", "mail": {"status": status, "reason": reason}}
        case failure:
            return HTTPStatus.BAD_GATEWAY, {"report": "not sent", "mail": {"failure": failure.why}}


def mail(received: Received) -> Reply:
    """Messages that leave the house."""
    match received.method, received.steps:
        case "POST", ("messages",):
            return HTTPStatus.ACCEPTED, {"message": "queued"}
        case _:
            return _NOT_FOUND


def hr(received: Received) -> Reply:
    """The people of the house, whom many may look up, and what they are paid, which few may see; by HTTP and by MCP."""
    match received.method, received.steps:
        case "POST", ("mcp",):
            return _mcp(json.loads(received.body))
        case "GET", ("people", id):
            return HTTPStatus.OK, {"id": id, "desk": "2.14"}
        case "GET", ("payroll", id):
            return HTTPStatus.OK, {"id": id, "salary": "5,400.00"}
        case _:
            return _NOT_FOUND


def _mcp(message: dict[str, Any]) -> Reply:
    """As an MCP server answers a call of any tool, those that nobody knows of too."""
    called = message["params"]["name"]
    result = {"content": [{"type": "text", "text": f"{called}: desk 2.14, salary 5,400.00"}]}
    return HTTPStatus.OK, {"jsonrpc": "2.0", "id": message["id"], "result": result}
