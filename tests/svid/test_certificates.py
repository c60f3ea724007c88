"""Certificates that are hard to read are refused as malformed, however the library trips over them."""

import warnings

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from authz.core.errors import Refused
from authz.core.reasons import Reason
from authz.demo.ca import DevelopmentCa
from authz.svid.bundles import NotATrustBundle, TrustBundle
from authz.svid.certificates import NotACertificate, UnverifiedCertificate, parse_certificate, split_pem
from tests.svid.checks import AGENT, ANYONE, AT, DOMAIN, NOW, arrival, bundle, der_of, judge, pem_of, request, verifier

CA = DevelopmentCa(DOMAIN, now=NOW)
SUBJECT = "\0abc"  # as a bit string it says: no unused bits, then three bytes
DER = der_of(CA.mint(AGENT, subject=SUBJECT).certificate)
SUBJECT_DER = b"\x0c\x04" + SUBJECT.encode()
VERSION_DER, VERSION_9_DER = b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x08"
CONSTRAINTS_OID, USAGE_OID = b"\x06\x03\x55\x1d\x13", b"\x06\x03\x55\x1d\x0f"


def spoiled(old: bytes, new: bytes) -> str:
    """The certificate with one part replaced by another of the same length."""
    assert len(old) == len(new)
    assert DER.count(old) == 1
    return pem_of(DER.replace(old, new))


def named(*names: tuple[int, bytes]) -> str:
    """A certificate, well signed, whose alternative names have these tags and contents."""
    body = b"".join(bytes([tag, len(content)]) + content for tag, content in names)
    raw = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, bytes([0x30, len(body)]) + body)
    return CA.mint(extensions=[(raw, True)]).pem


def negative_serial() -> str:
    """A certificate whose serial number is below zero."""
    serial = parse_certificate(pem_of(DER).encode()).parsed.serial_number
    encoded = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return spoiled(encoded, bytes([encoded[0] ^ 0x80]) + encoded[1:])


URI, DNS, X400, ADDRESS = 0x86, 0x82, 0xA3, 0x87
HARD_TO_READ = {
    "a subject of bits": spoiled(SUBJECT_DER, b"\x03\x04" + SUBJECT.encode()),
    "a subject that is a number": spoiled(SUBJECT_DER, b"\x02\x04" + SUBJECT.encode()),
    "a subject that is not UTF-8": spoiled(SUBJECT_DER, b"\x0c\x04\xff\xfe\xfd\xfc"),
    "an extension given twice": spoiled(CONSTRAINTS_OID, USAGE_OID),
    "version 9": spoiled(VERSION_DER, VERSION_9_DER),
    "a URI that is not UTF-8": named((URI, b"spiffe://example.org/\xff")),
    "a DNS name that is not UTF-8": named((URI, AGENT.encode()), (DNS, b"\xff")),
    "an address of three bytes": named((URI, AGENT.encode()), (ADDRESS, b"abc")),
    "an X.400 name": named((URI, AGENT.encode()), (X400, b"")),
    "a TLS feature that nobody knows": CA.mint(
        AGENT, extensions=[(x509.UnrecognizedExtension(ExtensionOID.TLS_FEATURE, b"\x30\x03\x02\x01\x63"), False)]
    ).pem,
    "a key usage that is none": CA.mint(
        AGENT, with_usage=False, extensions=[(x509.UnrecognizedExtension(ExtensionOID.KEY_USAGE, b"\x05\0"), True)]
    ).pem,
}


@pytest.mark.parametrize("filters", ["error", "default", "ignore"])
@pytest.mark.parametrize("pem", HARD_TO_READ.values(), ids=HARD_TO_READ.keys())
def test_what_cannot_be_read_whole_is_malformed(pem: str, filters: str) -> None:
    """No unreadable part is passed over, be it one that no rule asks for, and whatever warnings the process shows."""
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter(filters)  # type: ignore[arg-type]  # one of the actions above
        assert Reason.CERTIFICATE_MALFORMED is judge(verifier(bundle(CA)), pem)
        assert judge(verifier(bundle(CA)), CA.mint(AGENT).pem) == AGENT
    assert shown == []


@pytest.mark.parametrize("filters", ["error", "default", "ignore"])
def test_a_negative_serial_number_refuses(filters: str) -> None:
    """RFC 5280 section 4.1.2.2: a certificate whose serial number is below zero is on no valid path."""
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter(filters)  # type: ignore[arg-type]  # one of the actions above
        with pytest.raises(Refused, match="serial number cannot be negative") as refused:
            verifier(bundle(CA)).verify(request(negative_serial()), ANYONE, arrival())
    assert refused.value.reason is Reason.SVID_UNTRUSTED
    assert shown == []


def test_what_cannot_be_read_whole_is_no_authority() -> None:
    """A certificate authority with a part that cannot be read is not taken into a bundle."""
    unreadable = x509.UnrecognizedExtension(ExtensionOID.EXTENDED_KEY_USAGE, b"\x05\0")
    authority = DevelopmentCa(DOMAIN, now=NOW, extensions=[(unreadable, False)])
    with pytest.raises(NotATrustBundle, match="cannot be read"):
        TrustBundle(DOMAIN, (authority.root,))


def test_text_that_utf8_can_spell_is_read() -> None:
    """A URI in letters beyond ASCII is read, and is then no SPIFFE ID."""
    uri = "spiffe://example.org/ágent"
    assert Reason.SPIFFE_ID_MALFORMED is judge(verifier(bundle(CA)), named((URI, uri.encode())), uri)


def test_a_certificate_is_read_as_it_is() -> None:
    """What the rules ask for is what the certificate says."""
    minted = CA.mint(AGENT, subject="support", san_critical=True)
    read = parse_certificate(minted.pem.encode())
    assert minted.certificate == read.parsed
    assert read.uris == (AGENT,)
    assert read.has_subject
    assert read.alternative_name_is_critical
    assert not read.is_authority
    assert read.window.holds_at(AT)
    bare = UnverifiedCertificate.read(CA.mint(with_usage=False, extended_key_usage=None, ca=None).certificate)
    assert bare.uris == ()
    assert (bare.has_subject, bare.alternative_name_is_critical, bare.is_authority) == (False, False, False)
    assert (bare.key_usage, bare.extended_key_usage) == (None, None)


def test_a_text_is_split_where_its_certificates_begin() -> None:
    """Each part holds one certificate and knows its line; text before the first belongs to none."""
    first, second = CA.bundle_pem, CA.mint(AGENT).pem
    parts = list(split_pem(f"# ours\n{first}\n{second}".encode()))
    assert [line for line, _ in parts] == [2, 2 + len(first.splitlines()) + 1]
    expected = [parse_certificate(each.encode()) for each in (first, second)]
    assert expected == [parse_certificate(part) for _, part in parts]
    assert list(split_pem(b"none")) == []
    with pytest.raises(NotACertificate, match="holds 2"):
        parse_certificate((first + second).encode())
