"""A question's bytes in, OPA's status and answer out, within a time that is kept; or Unavailable.

Connections are kept open, each by a thread of its own. Where OPA fails again and again it is left alone for a while,
so that checks fail at once instead of each waiting in vain.
"""

import asyncio
import http.client
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from authz.core.errors import Unavailable

MAX_ANSWER_BYTES = 65_536
_THREADS = 16
_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


@dataclass(slots=True)
class Breaker:
    """Lets no question through for `rest_seconds` after `max_failures` in a row; then one, on which it depends."""

    max_failures: int
    rest_seconds: float
    clock: Callable[[], float] = time.monotonic
    _failures: int = 0
    _closed_until: float = 0.0

    def must_let_through(self) -> None:
        """A question may be asked; raises Unavailable."""
        if self._failures < self.max_failures:
            return
        now = self.clock()
        if now < self._closed_until:
            raise Unavailable(f"OPA failed {self._failures} times in a row; it is asked again in a moment")
        self._closed_until = now + self.rest_seconds  # this one tries, and the others wait for what it finds

    def succeeded(self) -> None:
        """OPA answered."""
        self._failures = 0

    def failed(self) -> None:
        """OPA gave no answer."""
        self._failures += 1
        if self._failures >= self.max_failures:
            self._closed_until = self.clock() + self.rest_seconds


class OpaClient:
    """Asks one rule of one OPA. For the event loop's thread."""

    def __init__(
        self, url: str, timeout_seconds: float, breaker: Breaker, authorities_file: Path | None = None
    ) -> None:
        """`url` is the rule's, below /v1/data; `timeout_seconds` holds for one question, whole."""
        parts = urlsplit(url)
        self._host, self._port, self._path = parts.hostname or "", parts.port, parts.path
        self._tls = ssl.create_default_context(cafile=authorities_file) if parts.scheme == "https" else None
        self._timeout_seconds = timeout_seconds
        self._breaker = breaker
        self._threads = ThreadPoolExecutor(_THREADS, "opa")
        self._own = threading.local()
        self._connections = set[http.client.HTTPConnection]()

    async def post(self, question: bytes) -> tuple[int, bytes]:
        """The status and the content of OPA's answer; raises Unavailable."""
        self._breaker.must_let_through()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await asyncio.wrap_future(self._threads.submit(self._post, question))
        except TimeoutError as error:
            self._breaker.failed()
            raise Unavailable(f"OPA gave no answer within {self._timeout_seconds:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            self._breaker.failed()
            raise Unavailable(f"OPA cannot be asked: {type(error).__name__}: {error}") from error
        self._breaker.succeeded()
        return answer

    def close(self) -> None:
        """Ask no more. Threads that wait for an answer end with it, or with their time."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        while self._connections:
            self._connections.pop().close()

    def _post(self, question: bytes) -> tuple[int, bytes]:
        kept: http.client.HTTPConnection | None = getattr(self._own, "connection", None)
        if kept is not None:
            try:
                return self._exchange(kept, question)
            except (ConnectionError, http.client.RemoteDisconnected):
                pass  # it was closed while it rested: a question changes nothing, so it may be put again
        return self._exchange(self._connect(), question)

    def _connect(self) -> http.client.HTTPConnection:
        seconds = self._timeout_seconds
        if self._tls is not None:
            return http.client.HTTPSConnection(self._host, self._port, timeout=seconds, context=self._tls)
        return http.client.HTTPConnection(self._host, self._port, timeout=seconds)

    def _let_go(self, connection: http.client.HTTPConnection) -> None:
        self._connections.discard(connection)
        connection.close()

    def _exchange(self, connection: http.client.HTTPConnection, question: bytes) -> tuple[int, bytes]:
        self._own.connection = None
        self._connections.add(connection)
        try:
            connection.request("POST", self._path, question, _HEADERS)
            response = connection.getresponse()
            content = response.read(MAX_ANSWER_BYTES + 1)
            if len(content) > MAX_ANSWER_BYTES:
                raise http.client.HTTPException(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")  # noqa: TRY301  as others of its kind
        except BaseException:
            self._let_go(connection)
            raise
        if response.isclosed() and connection.sock is not None:
            self._own.connection = connection
        else:
            self._let_go(connection)
        return response.status, content
