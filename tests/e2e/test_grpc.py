"""gRPC through a real Envoy that asks the real server: a client and a service of the official `grpcio`."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import grpc
import pytest

from authz.core.hop import Sensitivity
from authz.core.task import Grant, Task
from authz.demo.envoys import LOOPBACK, Address, Envoy
from tests.support.envoy import HOST, SERVICE_ID, Yard, hardened, settled, yard
from tests.support.servers import free_port, serve
from tests.support.world import SUPPORT, World

__all__ = ["yard"]  # the fixture

CATALOG = """\
services:
  books:
    hosts: [service.example.org]
    grpc:
      book.Books:
        Get: {action: book.read, class: read, dataset: books, sensitivity: internal}
        Watch: {action: book.watch, class: read, dataset: books, sensitivity: internal}
        Chat: {action: book.chat, class: [read, write], dataset: books, sensitivity: internal}
        Put: {action: book.write, class: write, dataset: books, sensitivity: internal}
        Drop: {action: book.drop, class: delete, dataset: books, sensitivity: internal}
        Sign: {action: book.sign, class: write, dataset: books, sensitivity: internal, body: bytes}
"""
POLICIES = """\
@id("support-works-on-books")
permit (principal == Agent::"spiffe://example.org/agent/support", action, resource in Dataset::"books");

@id("an-owner-approves-what-is-dropped")
@step_up("owner")
forbid (principal, action == Action::"book.drop", resource);
"""
DEADLINE_SECONDS = 30


class Books(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """A service that answers every method, those that no catalog knows too, and notes which calls arrived."""

    def __init__(self) -> None:
        self.arrived: list[str] = []

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """The behaviour of a method: streams where it is Watch or Chat."""
        method = handler_call_details.method
        self.arrived.append(method)
        if method.endswith("/Chat"):
            return grpc.stream_stream_rpc_method_handler(lambda asked, _context: (b"re " + each for each in asked))
        if method.endswith("/Watch"):
            return grpc.unary_stream_rpc_method_handler(lambda asked, _context: iter([asked + b"1", asked + b"2"]))
        return grpc.unary_unary_rpc_method_handler(lambda asked, _context: b"got " + asked)


@dataclass(frozen=True)
class Shop:
    """The service, the Envoy before it, and the world of the server that is asked."""

    yard: Yard
    world: World
    envoy: Envoy
    books: Books

    def task(self, *grants: str) -> Task:
        """A task of the support agent with these grants."""
        granted = tuple(map(Grant.parse, grants))
        return self.world.start_task(grants=granted, ceiling=Sensitivity.CONFIDENTIAL)

    def channel(self) -> grpc.Channel:
        """A channel to Envoy on which the support agent proves itself."""
        certificate, key = self.world.svid(SUPPORT).write(self.world.folder, "agent")
        credentials = grpc.ssl_channel_credentials(
            self.yard.bundle_file.read_bytes(), key.read_bytes(), certificate.read_bytes()
        )
        names = [("grpc.ssl_target_name_override", HOST), ("grpc.default_authority", HOST)]
        return grpc.secure_channel(f"{self.envoy.door.host}:{self.envoy.door.port}", credentials, names)

    def call(self, task: Task, method: str, message: bytes = b"dune") -> bytes:
        """The answer to one call on the task; raises grpc.RpcError."""
        with self.channel() as channel:
            ask = channel.unary_unary(method)
            return bytes(ask(message, metadata=[("x-task-id", task.id)], timeout=DEADLINE_SECONDS))

    def refusal(self, task: Task, method: str) -> tuple[grpc.StatusCode, str]:
        """The status and the message of a call that is denied; nothing of it arrived."""
        before = len(self.books.arrived)
        with pytest.raises(grpc.RpcError) as refused:
            self.call(task, method)
        assert len(self.books.arrived) == before
        return refused.value.code(), refused.value.details()


@pytest.fixture(scope="module")
def shop(yard: Yard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The books behind Envoy."""
    folder = tmp_path_factory.mktemp("grpc")
    authz, health = Address(LOOPBACK, free_port()), f"{LOOPBACK}:{free_port()}"
    listen = {"listen": f"{LOOPBACK}:{authz.port}", "health_listen": health, "envoys": [SERVICE_ID]}
    world = World.guarded(folder, ca=yard.ca, server={**listen, "stop_grace_seconds": 0})
    (folder / "catalog.yaml").write_text(CATALOG)
    (folder / "policies" / "crm.cedar").write_text(POLICIES)
    books, server = Books(), grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((books,))
    service = Address(LOOPBACK, server.add_insecure_port(f"{LOOPBACK}:0"))
    server.start()
    with ExitStack() as stack:
        stack.callback(lambda: server.stop(0).wait())
        stack.enter_context(serve(world.config_file, health))
        envoy = yard.envoy(service, authz, is_grpc=True)  # ended with the yard
        settled(yard.caller(world.svid(SUPPORT)), hardened(envoy, HOST), "GET", "/unknown")
        yield Shop(yard, world, envoy, books)


def test_a_call_that_is_granted_is_answered(shop: Shop) -> None:
    """A gRPC client asks, and gets the service's answer."""
    assert shop.call(shop.task("read:books"), "/book.Books/Get") == b"got dune"


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("/book.Books/Put", "action_not_granted"),
        ("/book.Books/Burn", "action_unknown"),
        ("/book.books/Get", "action_unknown"),
        ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "action_unknown"),
    ],
)
def test_a_call_that_is_denied_has_a_status_and_a_reason(shop: Shop, method: str, reason: str) -> None:
    """The client's library has the code, and a message with the reason and the decision's id; nothing arrives."""
    code, message = shop.refusal(shop.task("read:books"), method)
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert message.startswith(f"denied: {reason}, decision 0")


def test_a_call_on_no_task_is_denied(shop: Shop) -> None:
    """A call without its task is told so, and does not arrive."""
    before = len(shop.books.arrived)
    with shop.channel() as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary("/book.Books/Get")(b"dune", timeout=DEADLINE_SECONDS)
    assert "denied: task_missing" in refused.value.details()
    assert len(shop.books.arrived) == before


def test_a_call_that_needs_an_approval_says_so(shop: Shop) -> None:
    """The client's library has the code, and the reason in the message; nothing arrives."""
    task = shop.task("read,delete:books")
    code, message = shop.refusal(task, "/book.Books/Drop")
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert message.startswith("denied: step_up_required")


def test_a_call_whose_message_counts_is_denied(shop: Shop) -> None:
    """The sidecar does not wait for the bodies of gRPC calls, so a call that is bound to its message never arrives."""
    _, message = shop.refusal(shop.task("read,write:books"), "/book.Books/Sign")
    assert message.startswith("denied: body_missing")


def test_streams_are_decided_when_they_begin(shop: Shop) -> None:
    """A granted stream lasts, and both sides speak in turn; one that is not granted never begins."""
    task = shop.task("read:books")
    metadata = [("x-task-id", task.id)]
    with shop.channel() as channel:
        watched = channel.unary_stream("/book.Books/Watch")(b"dune", metadata=metadata, timeout=DEADLINE_SECONDS)
        assert list(watched) == [b"dune1", b"dune2"]

        heard = threading.Semaphore(0)

        def speaking() -> Iterator[bytes]:
            for word in (b"one", b"two"):
                yield word
                assert heard.acquire(timeout=DEADLINE_SECONDS), "the answer to the word before came"

        wide = [("x-task-id", shop.task("read,write:books").id)]
        answers = []
        for answer in channel.stream_stream("/book.Books/Chat")(speaking(), metadata=wide, timeout=DEADLINE_SECONDS):
            answers.append(answer)
            heard.release()
        assert answers == [b"re one", b"re two"]

        before = len(shop.books.arrived)
        with pytest.raises(grpc.RpcError) as refused:
            list(channel.stream_stream("/book.Books/Chat")(iter([b"x"]), metadata=metadata, timeout=DEADLINE_SECONDS))
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert len(shop.books.arrived) == before
