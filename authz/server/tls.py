"""The TLS of our own port: what to show and whom to shake hands with, asked anew at every handshake.

grpc asks on threads of its own and waits for the answer, so it must come from memory. Where there is none it goes on
with what it has; that is safe because who may ask is decided at each check, against the bundles of that moment.
"""

from collections.abc import Callable
from dataclasses import dataclass

import grpc

from authz.core.errors import Refused, Unavailable


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

    def configuration() -> grpc.ServerCertificateConfiguration:
        material = source()
        pair = (material.private_key, material.certificate_chain)
        return grpc.ssl_server_certificate_configuration([pair], material.client_authorities)

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        try:
            return configuration()
        except (Unavailable, Refused):
            return None

    return grpc.dynamic_ssl_server_credentials(configuration(), renewed, require_client_authentication=True)
