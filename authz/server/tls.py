"""The TLS of our own port: what to show and whom to shake hands with, asked anew at every handshake.

grpc asks on threads of its own and waits for the answer, so it must come from memory. Where there is none it goes on
with what it has; that is safe because who may ask is decided at each check, against the bundles of that moment.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import grpc

from authz.core.errors import Refused, Unavailable
from authz.server.checks import UNKNOWN, Peer

QUIET_SECONDS = 0.1
LONGEST_OUTDATED_SECONDS = 1.0
PAUSE_SECONDS = 0.05  # Envoys give a connection 0.1 s

# What grpc calls what a handshake has shown. To a server the chain is told without its leaf.
_VERSION, _CERTIFICATE, _INTERMEDIATES = "ssl_tls_version", "x509_pem_cert", "x509_pem_cert_chain"
_TLS_1_3 = b"TLSv1.3"


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """PEM texts: our chain and key, and the authorities of every trust domain that callers may come from.

    grpc takes these authorities together, so a handshake says nothing about which trust domain a caller is of.
    """

    certificate_chain: bytes
    private_key: bytes
    client_authorities: bytes


TlsSource = Callable[[], TlsMaterial]
"""What counts now; raises Unavailable or Refused where nothing does. From memory, and from any thread."""


def server_credentials(source: TlsSource) -> grpc.ServerCredentials:
    """Credentials that ask the source at each handshake and demand a certificate; raises what the source raises."""
    shown = Shown(source)

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        material = shown.renewed()
        return None if material is None else _configuration(material)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(shown.material), renewed, require_client_authentication=True
    )


class Shown:
    """What handshakes use. It is replaced when it has changed, and while no other handshake is just beginning.

    grpc frees what it had as soon as it gets something new, and crashes where another handshake has asked before and is
    about to take the old (grpc/grpc issue 36693). It needs microseconds for that. So we wait for a moment of quiet;
    where none comes, we make one: grpc asks under a lock, so those that come meanwhile wait for us.
    """

    def __init__(
        self,
        source: TlsSource,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Raises what the source raises. `clock` and `sleep` are in seconds."""
        self._source, self._clock, self._sleep = source, clock, sleep
        self.material = source()
        self._asked = clock()
        self._outdated_since: float | None = None

    def renewed(self) -> TlsMaterial | None:
        """What to use from this handshake on, or None for what is used already."""
        try:
            return self._renewed(self._source(), self._clock())
        except (Unavailable, Refused):
            return None
        finally:
            self._asked = self._clock()

    def _renewed(self, material: TlsMaterial, now: float) -> TlsMaterial | None:
        if material == self.material:
            self._outdated_since = None
            return None
        if self._outdated_since is None:
            self._outdated_since = now
        if now - self._asked < QUIET_SECONDS:
            if now - self._outdated_since < LONGEST_OUTDATED_SECONDS:
                return None
            self._sleep(PAUSE_SECONDS)
        self.material, self._outdated_since = material, None
        return material


def _configuration(material: TlsMaterial) -> grpc.ServerCertificateConfiguration:
    pair = (material.private_key, material.certificate_chain)
    return grpc.ssl_server_certificate_configuration([pair], material.client_authorities)


def peer_who_showed(shown: Callable[[str], Sequence[bytes]]) -> Peer:
    """Who called, over TLS 1.3: grpc would also take 1.2, and has no switch against it; such a caller is nobody.

    `shown` gives the values of a name in grpc's words, none where it has none.
    """
    certificates = shown(_CERTIFICATE)
    if list(shown(_VERSION)) != [_TLS_1_3] or not certificates:
        return UNKNOWN
    intermediates = b"".join(shown(_INTERMEDIATES))
    chain = certificates[0] + intermediates if intermediates else b""
    return Peer(certificates[0].decode("latin-1"), chain.decode("latin-1"))  # ASCII, as grpc writes it
