"""Our own X509-SVID, with which our port proves itself to Envoys: PEM texts in, one value that is swapped whole out."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from authz.core.errors import Place, Problem, Unavailable, Unusable
from authz.core.spiffe import NotASpiffeId, SpiffeId
from authz.svid.certificates import NotACertificate, UnverifiedCertificate, parse_certificate, split_pem
from authz.svid.watched import WatchedFiles, read_file

_REMEDY = "Give a PEM chain, leaf first, with the workload's SPIFFE ID, and the leaf's own PEM key without a password."


class NotOurSvid(ValueError):
    """The chain and key are not one X509-SVID that a server can show; the message says why."""


@dataclass(frozen=True, slots=True)
class OwnSvid:
    """A certificate chain with its key. Made by `of`, so the two belong together."""

    spiffe_id: SpiffeId
    chain_pem: bytes  # leaf first
    key_pem: bytes = field(repr=False)
    begins_unix_seconds: float
    expires_unix_seconds: float
    serial: str  # of the leaf, hexadecimal

    @classmethod
    def of(cls, chain_pem: bytes, key_pem: bytes) -> Self:
        """The SVID that these PEM texts are; raises NotOurSvid. Whom it convinces is for its peers to say."""
        chain = _read_chain(chain_pem)
        leaf = chain[0]
        if leaf.is_authority:
            raise NotOurSvid("the first certificate is of an authority, not of a workload")
        if len(leaf.uris) != 1:
            raise NotOurSvid(f"the first certificate has {len(leaf.uris)} URI SANs; an X509-SVID has one")
        try:
            spiffe_id = SpiffeId.parse(leaf.uris[0])
        except NotASpiffeId as error:
            raise NotOurSvid(f"the first certificate's URI SAN: {error}") from error
        _must_belong(leaf, key_pem)
        window = leaf.window
        serial = f"{leaf.parsed.serial_number:x}"
        return cls(spiffe_id, chain_pem, key_pem, window.begins_unix_seconds, window.ends_unix_seconds, serial)


class OwnIdentity:
    """Holds the SVID that counts now, behind one reference: a handshake, in whatever thread, sees one pair."""

    def __init__(self) -> None:
        self._current: OwnSvid | None = None

    def current(self) -> OwnSvid:
        """The SVID to show, perhaps expired: peers judge; raises Unavailable where we have none."""
        if self._current is None:
            raise Unavailable("there is no SVID of our own")
        return self._current

    def replace(self, svid: OwnSvid) -> None:
        """Show this one from the next handshake on."""
        self._current = svid

    def withdraw(self) -> None:
        """We are nobody: our SVID was taken back."""
        self._current = None


class OwnSvidFiles:
    """Our SVID from two files. A pair that does not fit, such as one that is half replaced, keeps the last good one."""

    def __init__(self, certificate_file: Path, private_key_file: Path, own: OwnIdentity) -> None:
        self._certificate_file, self._private_key_file, self._own = certificate_file, private_key_file, own
        self.watched = WatchedFiles("our own SVID", (certificate_file, private_key_file), self.load)

    def load(self) -> None:
        """Read both files and show what they hold; raises Unusable and leaves the last good pair.

        OpenSSL would read the files a second time; here the very bytes that were tried are the ones that are shown.
        """
        certificate, key = read_file(self._certificate_file), read_file(self._private_key_file)
        try:
            svid = OwnSvid.of(certificate, key)
        except NotOurSvid as error:
            what = f"cannot be used with the key {self._private_key_file}: {error}"
            raise Unusable(Problem(Place(self._certificate_file), what, _REMEDY)) from error
        if svid.expires_unix_seconds <= time.time():
            raise Unusable(Problem(Place(self._certificate_file), "the certificate has expired", "Renew it."))
        self._own.replace(svid)


def _read_chain(pem: bytes) -> list[UnverifiedCertificate]:
    try:
        chain = [parse_certificate(each) for _, each in split_pem(pem)]
    except NotACertificate as error:
        raise NotOurSvid(str(error)) from error
    if not chain:
        raise NotOurSvid("there is no PEM certificate")
    return chain


def _must_belong(leaf: UnverifiedCertificate, key_pem: bytes) -> None:
    """The key is the leaf's. A password would have to be asked for, so it is an error."""
    try:
        key = load_pem_private_key(key_pem, password=None)
        same = _spki(key.public_key()) == _spki(leaf.parsed.public_key())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise NotOurSvid(f"the private key cannot be read ({type(error).__name__}: {error})") from error
    if not same:
        raise NotOurSvid("the private key is not the certificate's")


def _spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
