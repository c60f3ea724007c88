"""Policy bundles as others make them, good and bad; and servers that publish them, honest and not."""

import contextlib
import gzip
import hashlib
import io
import json
import ssl
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from authz.demo.ca import DevelopmentCa
from tests.support.world import POLICIES

HOST = "localhost"
NOW = int(time.time()) - 60
Key = ECKey | OKPKey | RSAKey
SIGNER = ECKey.generate_key("P-256", {"kid": "release"})


def digest(content: bytes) -> str:
    """As a pin says it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def jwks(*keys: Key) -> str:
    """A JWK Set of their public parts."""
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]})


def packed(members: Mapping[str, bytes] | list[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.GNU_FORMAT) -> bytes:
    """A gzipped tar, made by Python's own library."""
    if isinstance(members, Mapping):
        members = [(tarfile.TarInfo(name), content) for name, content in members.items()]
    packing = io.BytesIO()
    with tarfile.open(fileobj=packing, mode="w", format=form) as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(packing.getvalue())


@dataclass
class Draft:
    """A bundle to be; whatever is not changed is as it should be."""

    files: dict[str, bytes] = field(default_factory=lambda: {"crm.cedar": POLICIES.encode()})
    key: Key = field(default_factory=lambda: SIGNER)
    algorithm: str = "ES256"
    header: dict[str, Any] = field(default_factory=lambda: {"kid": "release"})
    claims: dict[str, Any] = field(default_factory=dict)
    listed: list[dict[str, Any]] | None = None

    @classmethod
    def of(cls, text: str = POLICIES, **claims: Any) -> "Draft":  # noqa: ANN401  as JSON has them
        """These policies in one file, with these claims."""
        return cls({"crm.cedar": text.encode()}, claims=claims)

    def payload(self) -> bytes:
        """What is signed: files are digested by their bytes."""
        listed = self.listed
        if listed is None:
            listed = [entry(name, content) for name, content in self.files.items()]
        claims = {"iat": NOW, "files": listed, **self.claims}
        return json.dumps({name: value for name, value in claims.items() if value is not None}).encode()

    def token(self) -> str:
        """The signature."""
        header = {"alg": self.algorithm, **self.header}
        registry = jws.JWSRegistry(algorithms=[self.algorithm])
        registry.max_payload_length = 1 << 20
        return jws.serialize_compact(header, self.payload(), self.key, registry=registry)

    def members(self) -> dict[str, bytes]:
        """Every file of the archive."""
        return {".signatures.json": json.dumps({"signatures": [self.token()]}).encode(), **self.files}

    def archive(self) -> bytes:
        """The whole."""
        return packed(self.members())


def entry(name: str, content: bytes, algorithm: str = "SHA-256") -> dict[str, str]:
    """A line of the list that is signed."""
    hashed = hashlib.new(algorithm.replace("-", "").lower(), content).hexdigest()
    return {"name": name, "hash": hashed, "algorithm": algorithm}


class Publisher(ThreadingHTTPServer):
    """An HTTP server of one archive, over TLS where it is given a certificate. It answers as it is told."""

    daemon_threads = True

    def __init__(self, content: bytes, tls: tuple[Path, Path] | None = None) -> None:
        self.content = content
        self.status = 200
        self.headers: dict[str, str] = {}
        self.manner = "whole"
        """Or `cut` (half of it), `drip` (a byte now and then), `drip-head` (of the headers), `hang`, `chunked-cut`."""
        self.asked: list[dict[str, str]] = []
        self.answered: list[int] = []
        self._tls: ssl.SSLContext | None = None
        if tls is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*tls)
        super().__init__(("127.0.0.1", 0), _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  socketserver's signature
        """In the connection's own thread."""
        if self._tls is not None:
            if self.manner == "hang-tls":
                time.sleep(5)
                return
            with self._tls.wrap_socket(request, server_side=True) as wrapped:
                super().finish_request(wrapped, client_address)
        else:
            super().finish_request(request, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """Who asked went away: that is what some tests are about."""

    def url(self, host: str = HOST) -> str:
        """Of the archive."""
        return f"{'http' if self._tls is None else 'https'}://{host}:{self.server_port}/authz/bundle.tar.gz"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Publisher

    def do_GET(self) -> None:
        server = self.server
        server.asked.append({"path": self.path, **{name.lower(): value for name, value in self.headers.items()}})
        tag = f'"{digest(server.content)}"'
        status = 304 if server.status == 200 and self.headers.get("If-None-Match") == tag else server.status
        server.answered.append(status)
        if server.manner == "hang":
            time.sleep(5)
            return
        self.send_response(status)
        for name, value in {"ETag": tag, **server.headers}.items():
            self.send_header(name, value)
        if server.manner == "drip-head":
            self.end_headers_slowly()
        chunked = server.manner == "chunked-cut"
        self.send_header(
            *(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(server.content))))
        )
        self.end_headers()
        if status != 304:
            self.send_content()

    def end_headers_slowly(self) -> None:
        self.flush_headers()
        for _ in range(50):
            time.sleep(0.1)
            self.wfile.write(b"x-slow: 1\r\n")

    def send_content(self) -> None:
        content = self.server.content
        match self.server.manner:
            case "cut":
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
            case "chunked-cut":
                self.wfile.write(b"%x\r\n" % len(content) + content[: len(content) // 2])
                self.close_connection = True
            case "drip":
                for at in range(len(content)):
                    self.wfile.write(content[at : at + 1])
                    time.sleep(0.1)
            case _:
                self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def publishing(content: bytes, tls: tuple[Path, Path] | None = None) -> Iterator[Publisher]:
    """A publisher, while the block runs."""
    publisher = Publisher(content, tls)
    thread = threading.Thread(target=publisher.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield publisher
    finally:
        publisher.shutdown()
        thread.join()
        publisher.server_close()


def certified(folder: Path, ca: DevelopmentCa, name: str = HOST) -> tuple[Path, Path]:
    """A certificate for a server of that name, and its key."""
    return ca.mint(dns=(name,), subject=name).write(folder, f"publisher-{name}")
