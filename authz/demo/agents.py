"""Agents: one HTTP request over mTLS in, what came of it out, as a value.

The client is strict about the server (its chain, then its exact SPIFFE ID) and lax about itself: it sends the path as
it is given, headers as often as they are given, and any certificate or none, because that is what attackers do.
"""

import contextlib
import http.client
import json
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from authz.demo.envoys import Address

Headers = Sequence[tuple[str, str]]

_TIMEOUT_SECONDS = 10.0
_PATIENCE_SECONDS = 12.0  # below the time that a sidecar gives its service
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Answered:
    """An HTTP answer. `reason` and `decision_id` are those of a denial by authz, else empty."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    milliseconds: float
    reason: str = ""
    decision_id: str = ""


@dataclass(frozen=True, slots=True)
class TlsFailure:
    """One side did not accept the other's certificate; `why` is the alert, or what is wrong with the server's."""

    why: str
    milliseconds: float


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The connection was refused, closed or silent, without a word of TLS or HTTP."""

    why: str
    milliseconds: float


Outcome = Answered | TlsFailure | NoAnswer


@dataclass(frozen=True, slots=True)
class Credentials:
    """The files that a caller proves itself with."""

    certificate_file: Path
    private_key_file: Path


@dataclass(frozen=True, slots=True)
class Remote:
    """A service as its callers know it: its name, the door to knock at, and who must answer there."""

    host: str
    door: Address
    spiffe_id: str


class _ServerNotProven(Exception):
    """The server's certificate is valid, and not of the service that was meant."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Someone who calls. Without credentials it shows no certificate."""

    bundle_file: Path
    credentials: Credentials | None

    def call(self, remote: Remote, method: str, path: str, headers: Headers = (), body: bytes = b"") -> Outcome:
        """Send one request on a connection of its own; never raises for what the other side does."""
        started = time.perf_counter()

        def milliseconds() -> float:
            return (time.perf_counter() - started) * 1000

        try:
            with self._connect(remote) as connection:
                response, content = _exchange(connection, remote.host, method, path, headers, body)
        except ssl.SSLError as error:
            return TlsFailure((error.reason or str(error)).lower().replace("_", " "), milliseconds())
        except _ServerNotProven as error:
            return TlsFailure(str(error), milliseconds())
        except (OSError, http.client.HTTPException) as error:
            return NoAnswer(f"{type(error).__name__}: {error}", milliseconds())
        reason, decision_id = _denial(content)
        answered = response.status, tuple(response.getheaders()), content
        return Answered(*answered, milliseconds(), reason, decision_id)

    def call_patiently(  # noqa: PLR0913  the parts of a request, and what is waited for
        self,
        remote: Remote,
        method: str,
        path: str,
        headers: Headers = (),
        body: bytes = b"",
        *,
        awaited_reason: str = "",
    ) -> tuple[Outcome, int]:
        """Ask again, for a while, as long as the answer is 503; returns what came of it and how often it was asked.

        On a machine that stalls, Envoy gives up checks that would have been answered. Such a hop never arrives. A 503
        for the awaited reason is an answer.
        """
        give_up, tries = time.monotonic() + _PATIENCE_SECONDS, 1
        while _is_outage(outcome := self.call(remote, method, path, headers, body), awaited_reason):
            if time.monotonic() >= give_up:
                break
            time.sleep(_PAUSE_SECONDS)
            tries += 1
        return outcome, tries

    def _connect(self, remote: Remote) -> ssl.SSLSocket:
        """A connection to a proven server; its name is its URI SAN, so the host name is not looked at."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = False
        context.load_verify_locations(self.bundle_file)
        context.set_alpn_protocols(["http/1.1"])
        if self.credentials:
            context.load_cert_chain(self.credentials.certificate_file, self.credentials.private_key_file)
        plain = socket.create_connection(remote.door, _TIMEOUT_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            connection = context.wrap_socket(plain, server_hostname=remote.host)
        except BaseException:
            plain.close()
            raise
        try:
            _must_be(remote.spiffe_id, connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _is_outage(outcome: Outcome, awaited_reason: str) -> bool:
    if not isinstance(outcome, Answered) or outcome.status != http.client.SERVICE_UNAVAILABLE:
        return False
    return not awaited_reason or outcome.reason != awaited_reason


def _must_be(spiffe_id: str, connection: ssl.SSLSocket) -> None:
    certificate = x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"")
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except x509.ExtensionNotFound:
        uris = []
    if uris != [spiffe_id]:
        raise _ServerNotProven(f"the server is {', '.join(uris) or 'nobody'}, not {spiffe_id}")


def _exchange(  # noqa: PLR0913, PLR0917  the parts of a request
    connection: ssl.SSLSocket, host: str, method: str, path: str, headers: Headers, body: bytes
) -> tuple[http.client.HTTPResponse, bytes]:
    client = http.client.HTTPConnection(host)
    client.sock = connection
    client.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in [("host", host), *headers]:
        client.putheader(name, value)
    if body:
        client.putheader("content-length", str(len(body)))
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
        # In TLS 1.3 a server refuses our certificate after the handshake is over for us. It may have closed by now,
        # but the alert that says so has come before and can still be read.
        client.endheaders(body or None)
    response = client.getresponse()
    return response, response.read()


def _denial(content: bytes) -> tuple[str, str]:
    """The reason id and decision id, where the body is that of a denial, or the JSON-RPC error that holds one."""
    try:
        told = json.loads(content)
        if isinstance(told["error"], dict):
            told = told["error"]["data"]
        if told["error"] == "denied":
            return str(told["reason"]), str(told["decision_id"])
    except (ValueError, LookupError, TypeError):
        pass  # any other body; tools answer what they like
    return "", ""
