"""Where a policy bundle lies in, its archive's unverified bytes out, or Unavailable with why; within a bounded time.

Over HTTPS the server must be named by its certificate. Redirects are not followed, and no proxy of the environment is
used: the bytes come from where the operator said. For threads.
"""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from authz.core.errors import Unavailable
from authz.policy.bundle_archive import MAX_ARCHIVE_BYTES

_OK, _NOT_MODIFIED = 200, 304
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_TAG = 1024


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was found. `unverified_content` is None where it is as it was when it had that tag."""

    unverified_content: bytes | None
    tag: str = ""  # empty where nobody can ask whether it has changed


class Fetcher(Protocol):
    """Brings an archive."""

    def fetch(self, tag: str) -> Fetched:
        """What is there now; raises Unavailable. `tag` is that of what is known already, or empty."""
        ...

    def cut(self) -> None:
        """Let whoever waits for it wait no longer."""
        ...


@dataclass(frozen=True, slots=True)
class FileFetcher:
    """Reads a file of this machine."""

    file: Path

    def fetch(self, tag: str) -> Fetched:
        """Its content: a time stamp can lie, so it has no tag."""
        del tag
        try:
            with self.file.open("rb") as stream:
                return Fetched(stream.read(MAX_ARCHIVE_BYTES + 1))
        except OSError as error:
            raise Unavailable(f"it cannot be read: {error.strerror}") from error

    def cut(self) -> None:
        """Nobody waits for a file."""


@dataclass(slots=True)
class HttpFetcher:
    """Asks a server, with a connection of its own each time."""

    url: str
    timeout_seconds: float  # for all of it, from when the server is connected to
    authorities_file: Path | None = None  # PEM: who signs the server's certificate; else those that the system trusts
    token_file: Path | None = None  # a bearer token, read anew each time
    _channel: socket.socket | None = None  # of the transfer that goes on

    def fetch(self, tag: str) -> Fetched:
        """The archive, unless the server says that it is the one of that tag; raises Unavailable."""
        began = time.monotonic()
        try:
            with self._connected() as connection:
                return self._ask(connection, tag)
        except (OSError, http.client.HTTPException, ValueError, Unavailable) as error:
            if time.monotonic() - began >= self.timeout_seconds:
                raise Unavailable(f"the server gave no whole answer within {self.timeout_seconds:g} s") from error
            if isinstance(error, Unavailable):
                raise
            raise Unavailable(f"the server cannot be asked: {type(error).__name__}: {error}") from error

    def cut(self) -> None:
        """End the transfer that goes on, if one does."""
        if self._channel is not None:
            _cut(self._channel)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[http.client.HTTPConnection]:
        """A connection that is cut when the time is over, whatever it is at: a server that drips has no more time."""
        parts = urlsplit(self.url)
        is_tls = parts.scheme == "https"
        host, port = parts.hostname or "", parts.port or (443 if is_tls else 80)
        context = ssl.create_default_context(cafile=self.authorities_file) if is_tls else None
        plain = socket.create_connection((host, port), timeout=self.timeout_seconds)
        with contextlib.ExitStack() as stack:
            stack.callback(plain.close)
            channel = plain
            if context is not None:
                channel = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
                stack.callback(channel.close)
            self._channel = channel
            cut = threading.Timer(self.timeout_seconds, self.cut)
            cut.daemon = True
            cut.start()
            stack.callback(cut.cancel)
            if isinstance(channel, ssl.SSLSocket):
                channel.do_handshake()
            connection = (http.client.HTTPSConnection if is_tls else http.client.HTTPConnection)(host, port)
            connection.sock = channel
            yield connection

    def _ask(self, connection: http.client.HTTPConnection, tag: str) -> Fetched:
        parts = urlsplit(self.url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Accept": "application/gzip, application/octet-stream, */*", "Connection": "close"}
        if tag:
            headers["If-None-Match"] = tag
        if self.token_file is not None:
            headers["Authorization"] = f"Bearer {self._token(self.token_file)}"
        connection.request("GET", path, headers=headers)
        with connection.getresponse() as response:
            return self._read(response, tag)

    @staticmethod
    def _read(response: http.client.HTTPResponse, tag: str) -> Fetched:
        if response.status == _NOT_MODIFIED and tag:
            return Fetched(None, tag)
        if response.status in _REDIRECTS:
            raise Unavailable(f"the server answered {response.status}: redirects are not followed, name the last URL")
        if response.status != _OK:
            raise Unavailable(f"the server answered {response.status}")
        if response.length is None and not response.chunked:
            # So does an answer look whose headers were cut short.
            raise Unavailable("the server does not say how long its answer is")
        content = response.read(MAX_ARCHIVE_BYTES + 1)
        if len(content) > MAX_ARCHIVE_BYTES:
            raise Unavailable(f"the server sent more than {MAX_ARCHIVE_BYTES} bytes")
        if response.length:
            raise Unavailable("the server's answer was cut short")
        found = response.headers.get("ETag", "")
        return Fetched(content, found if found.isascii() and found.isprintable() and len(found) <= _MAX_TAG else "")

    @staticmethod
    def _token(file: Path) -> str:
        token = file.read_text(encoding="ascii").strip()
        if not token or not token.isprintable() or " " in token:
            raise ValueError(f"{file} holds no token")
        return token


def _cut(channel: socket.socket) -> None:
    """End it for whoever waits on it. TLS's own goodbye is left out: it is not safe beside a read."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(channel, socket.SHUT_RDWR)
