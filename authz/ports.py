"""Ports: all that the story needs of the world, on one page.

Rooms implement them, `authz.wiring` joins them. No port mentions a library, none has more than two methods.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from authz.core.acts import Act
from authz.core.decision import Verdict
from authz.core.hop import Hop
from authz.core.identity import Asker, Identity
from authz.core.outcome import TaskWant
from authz.core.query import Query
from authz.core.record import Arrival, Record
from authz.core.request import Request
from authz.core.task import Task
from authz.core.token import Ticket
from authz.core.view import News, TaskView

Decode = Callable[[bytes], Request]
"""What Envoy said; raises Refused for bytes that are no request. Pure."""

Encode = Callable[[Record], bytes]
"""The answer on the wire, for every record there can be. Pure and total."""


class Door(Protocol):
    """Knows who may ask."""

    def admit(self, arrival: Arrival) -> Asker:
        """The Envoy that asks; raises Refused unless it is proven and may. Arithmetic, no I/O."""
        ...


class Verifier(Protocol):
    """Proves who calls."""

    def verify(self, request: Request, asker: Asker, arrival: Arrival) -> Identity:
        """The proven identity; raises Refused. Arithmetic on a snapshot of the trust bundles, no I/O.

        The moment is the arrival's. Who asks matters where the proof is the word of an Envoy.
        """
        ...


class Catalog(Protocol):
    """Names what is attempted."""

    def classify(self, request: Request) -> Hop:
        """The one operation that the request is; raises Refused where there is none, or more than one reading."""
        ...


class Policy(Protocol):
    """Says what the policies say. Engines and the layers around them have this one shape."""

    def decide(self, query: Query) -> Verdict:
        """The satisfied policies; errors are part of the verdict, never raised and never kept.

        Raises Lacks where an Engine must bring the answer first, and Refused where the request has no single reading in
        the words that the policies are written in.
        """
        ...


class Engine(Protocol):
    """Asks a policy engine of another process."""

    async def ask(self, question: bytes) -> None:
        """Have the answer at hand for the check that is run next; raises Unavailable."""
        ...

    def forget(self) -> None:
        """Let the answer go, for it is about that one check."""
        ...


class Carrier(Protocol):
    """Reads on whose errand a request says it is."""

    def read(self, request: Request, arrival: Arrival) -> Ticket:
        """The task that the request names, in exactly one way; raises Refused. Arithmetic, no I/O."""
        ...


class Tasks(Protocol):
    """Keeps the memory of tasks true."""

    def peek(self) -> None:
        """Apply every change that is known for nothing, and move `memory.as_of_ns`. Never waits, never raises."""
        ...

    async def fetch(self, wants: frozenset[TaskWant]) -> None:
        """Bring tasks, or their absence, into memory; raises Unavailable."""
        ...


class TaskKeeper(Protocol):
    """Changes tasks. What it acknowledges is kept."""

    async def do(self, act: Act) -> None:
        """Do the act, whole; raises NoSuchTask, Conflict, or Unavailable, after which it may or may not have been done.

        Its effect is in this process's memory before the next check; after a Conflict, so is what stood against it.
        """
        ...


class TaskReader(Protocol):
    """Looks at tasks, for people."""

    async def get(self, task_id: str) -> TaskView:
        """The task as the store has it now; raises Unavailable or NoSuchTask."""
        ...

    async def list(self, after: str, most: int) -> Sequence[Task]:
        """Tasks by id, which is by their beginning, from behind `after`; raises Unavailable."""
        ...


class TaskNews(Protocol):
    """Tells which tasks changed, for people who watch."""

    async def since(self, place: str) -> News:
        """What changed since that place in the news; from now on where it is empty. Raises Unavailable."""
        ...


class Caller(Protocol):
    """Proves who calls our own API."""

    def prove(self, arrival: Arrival) -> Identity:
        """The workload at the other end of the call; raises Refused. Arithmetic, no I/O."""
        ...


class TokenIssuer(Protocol):
    """Signs Txn-Tokens."""

    def issue(self, task: Task, requester: str, unix_seconds: float) -> str:
        """A token for the task, which the requester asked for; raises Unavailable where no key may sign."""
        ...

    def public_keys(self, unix_seconds: float) -> str:
        """The keys with which tokens are verified, as a JWK Set in JSON."""
        ...


class Audit(Protocol):
    """Keeps the record of answers."""

    def append(self, record: Record, duration_seconds: float) -> None:
        """Keep the record before the answer is given; raises Unavailable where that cannot be promised."""
        ...


class Observer(Protocol):
    """Is told of answers that were given."""

    def checked(self, record: Record, duration_seconds: float) -> None:
        """Tell the outside. What it raises is counted by its caller and changes no answer."""
        ...
