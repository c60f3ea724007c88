"""The TLS files of our own port, read and tried before anything listens."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from authz.core.errors import Place, Problem, Unusable


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """PEM texts: our chain and key, and the authorities that callers' certificates must come from."""

    certificate_chain: bytes
    private_key: bytes
    client_authorities: bytes

    @classmethod
    def read(cls, certificate_file: Path, private_key_file: Path, client_ca_file: Path) -> Self:
        """The content of the files; raises Unusable where OpenSSL cannot use them, or key and certificate differ."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(certificate_file, private_key_file, password=_no_password)
        except (ssl.SSLError, OSError, ValueError) as error:
            what = f"cannot be used with the key {private_key_file}: {error}"
            remedy = "Give a PEM chain, leaf first, and the leaf's own PEM key without a password."
            raise Unusable(Problem(Place(certificate_file), what, remedy)) from error
        try:
            context.load_verify_locations(client_ca_file)
        except (ssl.SSLError, OSError) as error:
            remedy = "Give the PEM certificates of the authorities that callers' certificates come from."
            raise Unusable(Problem(Place(client_ca_file), f"holds no usable certificate: {error}", remedy)) from error
        return cls(certificate_file.read_bytes(), private_key_file.read_bytes(), client_ca_file.read_bytes())


def _no_password() -> str:
    """OpenSSL would ask on the terminal."""
    raise ValueError("the key has a password")
