"""A question's bytes in, OPA's status and answer out, within a time that is kept; or Unavailable.

Connections are kept open, each by a thread of its own.
"""

import asyncio
import http.client
import re
import socket
import ssl
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from authz.core.errors import Unavailable
from authz.policy.breaker import Breaker

MAX_ANSWER_BYTES = 65_536
_THREADS = 16
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, 2.1
_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


@dataclass(frozen=True, slots=True)
class OpaReach:
    """Where one rule of one OPA is, and what is shown to it. Files are read when they are used, so they may change."""

    url: str  # the rule's, below /v1/data
    socket: Path | None = None  # in place of the URL's host and port
    authorities_file: Path | None = None  # PEM: who signs OPA's certificate; else those that the system trusts
    certificate_file: Path | None = None
    private_key_file: Path | None = None
    token_file: Path | None = None  # its first line is the bearer token

    def connection(self, timeout_seconds: float) -> http.client.HTTPConnection:
        """A new one, not yet opened; raises OSError where a file cannot be used."""
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if self.socket is not None:
            return _SocketConnection(host, self.socket, timeout_seconds)
        if parts.scheme == "https":
            return http.client.HTTPSConnection(host, parts.port, timeout=timeout_seconds, context=self.tls())
        return http.client.HTTPConnection(host, parts.port, timeout=timeout_seconds)

    def tls(self) -> ssl.SSLContext:
        """Whom we believe and what we show; raises OSError."""
        context = ssl.create_default_context(cafile=self.authorities_file)
        if self.certificate_file is not None:
            context.load_cert_chain(self.certificate_file, self.private_key_file)
        return context

    def headers(self) -> dict[str, str]:
        """Those of a question; raises OSError."""
        if self.token_file is None:
            return _HEADERS
        token = self.token_file.read_text(encoding="ascii", errors="replace").partition("\n")[0].strip()
        if not _TOKEN.fullmatch(token):
            raise OSError(f"{self.token_file} does not begin with a bearer token")
        return {**_HEADERS, "Authorization": f"Bearer {token}"}


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, host: str, path: Path, timeout_seconds: float) -> None:
        super().__init__(host, timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class OpaClient:
    """Asks one rule of one OPA. For the event loop's thread."""

    def __init__(self, reach: OpaReach, timeout_seconds: float, breaker: Breaker) -> None:
        """`timeout_seconds` holds for one question, whole."""
        self._reach, self._path = reach, urlsplit(reach.url).path
        self._timeout_seconds = timeout_seconds
        self._breaker = breaker
        self._threads = ThreadPoolExecutor(_THREADS, "opa")
        self._own = threading.local()
        self._connections = set[http.client.HTTPConnection]()
        self.is_up = True
        """Whether the last question had an answer; so also before the first."""
        self.outcomes: Counter[str] = Counter()
        """What became of questions: answered, refused (another status than 200), timeout, unreachable, left_alone."""

    async def post(self, question: bytes) -> tuple[int, bytes]:
        """The status and the content of OPA's answer; raises Unavailable."""
        try:
            self._breaker.must_let_through()
        except Unavailable:
            self.outcomes["left_alone"] += 1
            raise
        try:
            async with asyncio.timeout(self._timeout_seconds):
                status, content = await asyncio.wrap_future(self._threads.submit(self._post, question))
        except TimeoutError as error:
            raise self._failed("timeout", f"OPA gave no answer within {self._timeout_seconds:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise self._failed("unreachable", f"OPA cannot be asked: {type(error).__name__}: {error}") from error
        self._breaker.succeeded()
        self.is_up = True
        self.outcomes["answered" if status == HTTPStatus.OK else "refused"] += 1
        return status, content

    def _failed(self, outcome: str, why: str) -> Unavailable:
        self._breaker.failed()
        self.is_up = False
        self.outcomes[outcome] += 1
        return Unavailable(why)

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
        return self._exchange(self._reach.connection(self._timeout_seconds), question)

    def _let_go(self, connection: http.client.HTTPConnection) -> None:
        self._connections.discard(connection)
        connection.close()

    def _exchange(self, connection: http.client.HTTPConnection, question: bytes) -> tuple[int, bytes]:
        self._own.connection = None
        self._connections.add(connection)
        try:
            connection.request("POST", self._path, question, self._reach.headers())
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
