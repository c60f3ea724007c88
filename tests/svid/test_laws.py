"""What holds for every certificate there can be: nobody is proven to be another, and no bytes make a fault."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.core.reasons import Reason
from authz.demo.ca import DevelopmentCa
from authz.svid.bundles import NotATrustBundle, TrustBundle
from authz.svid.certificates import NotACertificate, parse_certificate
from tests.svid.checks import (
    AGENT,
    DOMAIN,
    NOW,
    XFCC,
    bundle,
    chain_header,
    der_of,
    judge,
    pem_of,
    request,
    verifier,
    who,
)

CA = DevelopmentCa(DOMAIN, now=NOW)
CERTIFICATE = CA.mint(AGENT, dns=("support.example.org",), subject="support")
FORGED = DevelopmentCa(DOMAIN, now=NOW).mint(AGENT)
DER = der_of(CERTIFICATE.certificate)
MIDDLE = DevelopmentCa(DOMAIN, now=NOW, parent=CA)
BELOW = MIDDLE.mint(AGENT)

DOMAINS = ("a.example", "b.example", "c.example", "a.example.b.example")
AUTHORITIES = {name: DevelopmentCa(name, now=NOW) for name in DOMAINS}
LEAVES = {
    (domain, issuer): AUTHORITIES[issuer].mint(f"spiffe://{domain}/agent")
    for domain, issuer in itertools.product(DOMAINS, repeat=2)
}


def changed(der: bytes, changes: dict[int, int]) -> bytes:
    """The bytes, with some replaced."""
    mutable = bytearray(der)
    for place, value in changes.items():
        mutable[place] = value
    return bytes(mutable)


def test_a_certificate_with_any_bit_flipped_is_not_another_identity() -> None:
    """Flip each bit of a certificate in turn: it is refused, or it is still the same caller; it is never a fault."""
    caller = verifier(bundle(CA))
    flipped = [changed(DER, {place: DER[place] ^ 1 << bit}) for place in range(len(DER)) for bit in range(8)]
    found = [judge(caller, pem_of(der)) for der in flipped]
    believed = [each for each in found if not isinstance(each, Reason)]
    assert set(believed) <= {AGENT}
    # A signature that ends in zero bits may call up to four of them unused, which nothing guards: flips to 1, 2 and 4.
    assert len(believed) <= 3
    assert {Reason.CERTIFICATE_MALFORMED, Reason.SVID_UNTRUSTED, Reason.SPIFFE_ID_MALFORMED} <= set(found)


@given(st.dictionaries(st.integers(0, len(DER) - 1), st.integers(0, 255), min_size=1, max_size=6))
def test_a_certificate_with_some_bytes_changed_is_not_another_identity(changes: dict[int, int]) -> None:
    """Change a few bytes of a certificate: it is refused, or it is still the same caller."""
    found = judge(verifier(bundle(CA)), pem_of(changed(DER, changes)))
    assert isinstance(found, Reason) or found == AGENT


@given(st.data())
def test_a_certificate_text_with_a_character_changed_is_not_another_identity(data: st.DataObject) -> None:
    """Change a character of the text that Envoy passes: it is refused, or it is still the same caller."""
    sent = request(CERTIFICATE.pem)
    text = sent.unverified_certificate
    place = data.draw(st.integers(0, len(text) - 1))
    character = data.draw(st.characters(codec=None) | st.sampled_from("%+-=\n0AQ"))
    sent = replace(sent, unverified_certificate=text[:place] + character + text[place + 1 :])
    told = who(verifier(bundle(CA)), sent)
    assert isinstance(told, Reason) or told == AGENT


@given(st.data())
def test_no_chain_makes_another_identity(data: st.DataObject) -> None:
    """Change a few characters of the header with the chain: the leaf is untrusted, or it is still the same caller."""
    header = chain_header(BELOW.pem, pem_of(der_of(MIDDLE.root)))[XFCC][0]
    place = data.draw(st.integers(0, len(header)))
    put = data.draw(st.text('ABab01+/=%2,;"\\', max_size=3))
    changed = header[:place] + put + header[place + data.draw(st.integers(0, 3)) :]
    told = who(verifier(bundle(CA)), request(BELOW.pem, headers={XFCC: (changed,)}))
    assert told in {AGENT, Reason.SVID_UNTRUSTED}
    assert who(verifier(bundle(CA)), request(FORGED.pem, headers={XFCC: (changed,)})) is Reason.SVID_UNTRUSTED


@given(st.sets(st.sampled_from(DOMAINS)), st.sampled_from(DOMAINS), st.sampled_from(DOMAINS))
def test_a_leaf_is_believed_on_its_own_domains_word_alone(loaded: set[str], domain: str, issuer: str) -> None:
    """Whatever bundles are loaded, a leaf of domain A signed by B's authority is believed only where A is B."""
    leaf, uri = LEAVES[domain, issuer], f"spiffe://{domain}/agent"
    found = judge(verifier(*(bundle(AUTHORITIES[name]) for name in sorted(loaded))), leaf.pem, uri)
    if domain not in loaded:
        assert found is Reason.TRUST_DOMAIN_UNKNOWN
    elif domain != issuer:
        assert found is Reason.SVID_UNTRUSTED
    else:
        assert found == uri


@given(st.text(st.characters(codec=None)) | st.text("-BEGIN CERTIFICATE\nMA=%0+"), st.text(max_size=20))
def test_any_text_is_refused_for_a_reason(text: str, principal: str) -> None:
    """No text in the place of a certificate is a fault, and none is a caller."""
    sent = replace(request(""), unverified_certificate=text, unverified_principal=principal)
    expected = {Reason.CERTIFICATE_MALFORMED, Reason.CERTIFICATE_MISSING, Reason.IDENTITY_MISSING}
    assert who(verifier(bundle(CA)), sent) in expected


@given(st.binary(max_size=200))
def test_any_bytes_are_no_certificate(der: bytes) -> None:
    """No bytes between BEGIN and END are a fault of the reader."""
    with pytest.raises(NotACertificate):
        parse_certificate(pem_of(der).encode())


@settings(max_examples=300)
@given(st.dictionaries(st.integers(0, len(der_of(CA.root)) - 1), st.integers(0, 255), min_size=1, max_size=3))
def test_a_spoiled_authority_is_refused_or_vouches_for_its_own(changes: dict[int, int]) -> None:
    """Change a few bytes of an authority: it is no bundle, or checks against it end in an answer all the same."""
    try:
        spoiled = parse_certificate(pem_of(changed(der_of(CA.root), changes)).encode())
        spoiled_bundle = TrustBundle(DOMAIN, (spoiled.parsed,))
    except (NotACertificate, NotATrustBundle):
        return
    assert judge(verifier(spoiled_bundle), CERTIFICATE.pem) in {AGENT, Reason.SVID_UNTRUSTED}
    assert judge(verifier(spoiled_bundle), FORGED.pem) is Reason.SVID_UNTRUSTED
