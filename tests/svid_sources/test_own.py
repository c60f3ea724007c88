"""Our own SVID from files: only a pair that belongs together is ever shown."""

import datetime as dt
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from authz.core.errors import Unavailable, Unusable
from authz.demo.ca import Certificate, DevelopmentCa
from authz.svid.own import NotOurSvid, OwnIdentity, OwnSvid, OwnSvidFiles

CA = DevelopmentCa("example.org")
AUTHZ = "spiffe://example.org/authz"
DAY = dt.timedelta(days=1)


class Pair:
    """A certificate and a key file, watched."""

    def __init__(self, folder: Path) -> None:
        self.first = CA.mint(AUTHZ)
        self.certificate_file, self.key_file = self.first.write(folder, "own")
        self.own = OwnIdentity()
        self.watched = OwnSvidFiles(self.certificate_file, self.key_file, self.own).watched


def serial(svid: Certificate) -> str:
    """As OwnSvid has it."""
    return f"{svid.certificate.serial_number:x}"


def test_the_pair_is_shown_with_its_name_and_times(tmp_path: Path) -> None:
    """SPIFFE ID, serial number and expiry are the leaf's; nothing is shown before the start."""
    pair = Pair(tmp_path)
    with pytest.raises(Unavailable):
        pair.own.current()
    pair.watched.start()
    svid = pair.own.current()
    assert (AUTHZ, serial(pair.first)) == (svid.spiffe_id.uri, svid.serial)
    assert pair.first.certificate.not_valid_after_utc.timestamp() == svid.expires_unix_seconds
    assert (pair.first.chain_pem.encode(), pair.first.key_pem.encode()) == (svid.chain_pem, svid.key_pem)
    assert "PRIVATE" not in repr(svid)


def test_a_half_replaced_pair_keeps_the_last_good_one(tmp_path: Path) -> None:
    """Between the writing of the new certificate and of its key the old pair is shown, then the new one."""
    pair = Pair(tmp_path)
    pair.watched.start()
    new = CA.mint(AUTHZ)
    pair.certificate_file.write_text(new.chain_pem)
    pair.watched.look()
    assert serial(pair.first) == pair.own.current().serial
    assert pair.watched.refusals == 1
    pair.key_file.write_text(new.key_pem)
    pair.watched.look()
    assert serial(new) == pair.own.current().serial
    assert not pair.watched.trouble


def test_an_expired_certificate_is_no_start_and_no_replacement(tmp_path: Path) -> None:
    """Peers would refuse it, so it is said here, with the file's name."""
    pair = Pair(tmp_path)
    pair.watched.start()
    old = CA.mint(AUTHZ, not_before=dt.datetime.now(dt.UTC) - 3 * DAY, lifetime=DAY)
    old.write(tmp_path, "own")
    pair.watched.look()
    assert serial(pair.first) == pair.own.current().serial
    with pytest.raises(Unusable, match="expired"):
        pair.watched.start()


def test_intermediates_are_shown_too() -> None:
    """The chain goes out whole, leaf first."""
    leaf = DevelopmentCa("example.org", parent=CA).mint(AUTHZ)
    svid = OwnSvid.of(leaf.chain_pem.encode(), leaf.key_pem.encode())
    assert svid.chain_pem.count(b"BEGIN CERTIFICATE") == 2


def _texts(svid: Certificate) -> tuple[bytes, bytes]:
    return svid.chain_pem.encode(), svid.key_pem.encode()


LEAF = CA.mint(AUTHZ)
WITH_PASSWORD = LEAF.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
UNUSABLE: dict[str, tuple[bytes, bytes, str]] = {
    "no certificate": (b"", LEAF.key_pem.encode(), "no PEM certificate"),
    "no key": (LEAF.pem.encode(), b"", "private key cannot be read"),
    "a key with a password": (LEAF.pem.encode(), WITH_PASSWORD, "private key cannot be read"),
    "another key": (LEAF.pem.encode(), CA.mint(AUTHZ).key_pem.encode(), "not the certificate's"),
    "the authority first": ((CA.bundle_pem + LEAF.pem).encode(), LEAF.key_pem.encode(), "of an authority"),
    "two identities": (*_texts(CA.mint(AUTHZ, AUTHZ + "2")), "2 URI SANs"),
    "no identity": (*_texts(CA.mint(dns=("authz.example.org",))), "0 URI SANs"),
    "no SPIFFE ID": (*_texts(CA.mint("https://example.org/authz")), "begins with"),
    "garbage in the chain": (
        (LEAF.pem + "-----BEGIN CERTIFICATE-----\nAAAA").encode(),
        LEAF.key_pem.encode(),
        "cannot be read",
    ),
}


@pytest.mark.parametrize(("chain", "key", "why"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_is_no_svid_says_why(chain: bytes, key: bytes, why: str) -> None:
    """Nothing but a leaf with one SPIFFE ID and its own key is ever shown."""
    with pytest.raises(NotOurSvid, match=why):
        OwnSvid.of(chain, key)
