"""Certificates: PEM in, certificates read whole out; what cannot be read raises NotACertificate, and nothing else.

`cryptography` reads extensions and names only when asked, and fails in many ways. Here all that a rule asks for is
read at once, so that no rule can fail for a second reason. Nothing that is read here is proven.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Self, TypeVar

from cryptography import x509

_BEGIN = re.compile(rb"-----BEGIN [A-Z0-9 ]*CERTIFICATE-----")
_E = TypeVar("_E", bound=x509.ExtensionType)


class NotACertificate(ValueError):
    """The bytes are not one X.509 certificate that can be read to its end; the message says why."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, both ends included, as RFC 5280 section 4.1.2.5 has it."""

    begins_unix_seconds: float
    ends_unix_seconds: float

    def holds_at(self, unix_seconds: float) -> bool:
        """Whether the moment lies within."""
        return self.begins_unix_seconds <= unix_seconds <= self.ends_unix_seconds


@dataclass(frozen=True, slots=True)
class UnverifiedCertificate:
    """What a certificate says of itself. An extension that is absent is None; one that is there tells if critical."""

    parsed: x509.Certificate
    window: Window
    has_subject: bool
    uris: tuple[str, ...]
    alternative_name_is_critical: bool
    is_authority: bool  # basic constraints, cA; absent is false
    key_usage: x509.Extension[x509.KeyUsage] | None
    extended_key_usage: x509.Extension[x509.ExtendedKeyUsage] | None

    @classmethod
    def read(cls, parsed: x509.Certificate) -> Self:
        """The certificate, read whole; raises NotACertificate."""
        with _reading():
            parsed.public_key()  # an authority whose key cannot be read would fail every check against it
            extensions = parsed.extensions
            name = _find(extensions, x509.SubjectAlternativeName)
            constraints = _find(extensions, x509.BasicConstraints)
            return cls(
                parsed=parsed,
                window=Window(parsed.not_valid_before_utc.timestamp(), parsed.not_valid_after_utc.timestamp()),
                has_subject=bool(parsed.subject.rdns),
                uris=tuple(name.value.get_values_for_type(x509.UniformResourceIdentifier)) if name else (),
                alternative_name_is_critical=name is not None and name.critical,
                is_authority=constraints is not None and constraints.value.ca,
                key_usage=_find(extensions, x509.KeyUsage),
                extended_key_usage=_find(extensions, x509.ExtendedKeyUsage),
            )


def parse_certificate(pem: bytes) -> UnverifiedCertificate:
    """The one certificate in a text; raises NotACertificate also where there are none or several."""
    if (count := len(_BEGIN.findall(pem))) != 1:
        raise NotACertificate(f"the text holds {count} PEM certificates, not one")
    with _reading():
        parsed = x509.load_pem_x509_certificate(pem)
    return UnverifiedCertificate.read(parsed)


def read_der(der: bytes) -> UnverifiedCertificate:
    """The one certificate that these bytes are; raises NotACertificate."""
    with _reading():
        parsed = x509.load_der_x509_certificate(der)
    return UnverifiedCertificate.read(parsed)


def split_pem(pem: bytes) -> Iterator[tuple[int, bytes]]:
    """The texts that each begin with one certificate, with the number of the line they begin on."""
    starts = [match.start() for match in _BEGIN.finditer(pem)]
    for start, end in pairwise([*starts, len(pem)]):
        yield pem.count(b"\n", 0, start) + 1, pem[start:end]


@contextmanager
def without_warnings() -> Iterator[None]:
    """Let no answer, and no line in the log, depend on the warning filters that the process runs with.

    The library warns of names longer than X.520 allows and of serial number zero, which roots of early SPIRE servers
    have. Both are read as they are; what RFC 5280 forbids on a path, such as a negative serial number, it refuses.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _reading() -> Iterator[None]:
    try:
        with without_warnings():
            yield
    except Exception as error:
        # Hostile parts make the library raise ValueError, TypeError, KeyError and its own errors: no base in common.
        raise NotACertificate(f"the certificate cannot be read ({type(error).__name__}: {error})") from error


def _find(extensions: x509.Extensions, kind: type[_E]) -> x509.Extension[_E] | None:
    try:
        return extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None
