"""A leaf is believed on the strength of a path to its own trust domain's bundle, and of nothing else."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from authz.core.reasons import Reason
from authz.demo.ca import DAY, DevelopmentCa, key_usage
from authz.svid.bundles import Bundles
from authz.svid.certificates import UnverifiedCertificate, Window
from authz.svid.paths import MAX_INTERMEDIATES, validate_path
from authz.svid.x509 import CertificateVerifier, Prover
from tests.support.refusals import outcome
from tests.svid.checks import (
    AGENT,
    ANYONE,
    AT,
    DOMAIN,
    ENVOY,
    NOW,
    XFCC,
    arrival,
    bundle,
    chain_header,
    der_of,
    judge,
    pem_of,
    request,
    source_of,
    verifier,
    who,
)

CA = DevelopmentCa(DOMAIN, now=NOW)
HOUR = dt.timedelta(hours=1)
WEAK_KEY = rsa.generate_private_key(65537, 1024)  # noqa: S505  its weakness is the point
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")


def authority(**changes: Any) -> DevelopmentCa:  # noqa: ANN401  as in the constructor
    """An authority of the domain, changed."""
    return DevelopmentCa(DOMAIN, now=NOW, **changes)


def path_of(issuer: DevelopmentCa, *anchors: DevelopmentCa) -> Window | Reason:
    """What comes of a leaf of that issuer, shown with all its intermediates."""
    leaf, *intermediates = map(UnverifiedCertificate.read, (issuer.mint(AGENT).certificate, *issuer.intermediates))
    return outcome(lambda: validate_path(leaf, intermediates, bundle(*anchors), AT))


def seconds(*moments: dt.datetime) -> Window:
    """The window between two moments."""
    return Window(*(moment.timestamp() for moment in moments))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"key": ec.generate_private_key(ec.SECP384R1())}, id="P-384"),
        pytest.param({"key": rsa.generate_private_key(65537, 2048)}, id="RSA"),
        pytest.param({"with_usage": False}, id="no key usage"),
        pytest.param({"path_length": 0}, id="no authority below it"),
        pytest.param({"extensions": [(UNKNOWN, False)]}, id="an unknown extension"),
    ],
)
def test_any_authority_of_rfc_5280_may_sign(changes: dict[str, Any]) -> None:
    """Leaves of authorities that differ in what the standards leave open are believed."""
    signer = authority(**changes)
    assert judge(verifier(bundle(signer)), signer.mint(AGENT).pem) == AGENT


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"lifetime": dt.timedelta(minutes=4)}, id="expired a minute ago"),
        pytest.param({"extensions": [(UNKNOWN, True)]}, id="an extension that nobody understands"),
        pytest.param({"key": WEAK_KEY}, id="an RSA key too weak to sign"),
        pytest.param({"key": ed25519.Ed25519PrivateKey.generate()}, id="Ed25519, which the library does not sign with"),
    ],
)
def test_an_authority_that_cannot_vouch_leads_nowhere(changes: dict[str, Any]) -> None:
    """A bundle may hold an authority that is expired, weak or strange, but nobody is believed on its word."""
    signer = authority(**changes)
    assert Reason.SVID_UNTRUSTED is judge(verifier(bundle(signer)), signer.mint(AGENT).pem)


@pytest.mark.parametrize("critical", [True, False])
@pytest.mark.parametrize(
    "constraints",
    [
        x509.NameConstraints([x509.UniformResourceIdentifier(DOMAIN)], None),
        x509.NameConstraints([x509.UniformResourceIdentifier("evil.example")], None),
        x509.NameConstraints(None, [x509.UniformResourceIdentifier(DOMAIN)]),
        x509.NameConstraints(None, [x509.UniformResourceIdentifier("evil.example")]),
    ],
    ids=["permits us", "permits others", "excludes us", "excludes others"],
)
def test_a_uri_name_constraint_that_cannot_be_judged_refuses(
    *, constraints: x509.NameConstraints, critical: bool
) -> None:
    """X509-SVID section 4.2: a path below URI name constraints is refused, even where they might permit the leaf."""
    constrained = [(constraints, critical)]
    signer = authority(extensions=constrained)
    assert Reason.SVID_UNTRUSTED is judge(verifier(bundle(signer)), signer.mint(AGENT).pem)
    assert Reason.SVID_UNTRUSTED is path_of(authority(parent=CA, extensions=constrained), CA)


def test_an_authority_of_the_same_name_is_not_the_authority() -> None:
    """A signature counts, not the name under it."""
    forger = authority()
    assert forger.name == CA.name
    assert Reason.SVID_UNTRUSTED is judge(verifier(bundle(CA)), forger.mint(AGENT).pem)


def test_a_leaf_cannot_sign_for_itself_or_for_another() -> None:
    """Neither a certificate signed with its own key, nor one signed by a workload's, is believed."""
    key = ec.generate_private_key(ec.SECP256R1())
    impostor = authority(key=key)
    workload = CA.mint(AGENT, key=key)
    own = impostor.mint(AGENT, key=key)
    assert Reason.SVID_UNTRUSTED is judge(verifier(bundle(CA)), own.pem)
    leaf, issuer = map(UnverifiedCertificate.read, (own.certificate, workload.certificate))
    assert Reason.SVID_UNTRUSTED is outcome(lambda: validate_path(leaf, [issuer], bundle(CA), AT))


@pytest.mark.parametrize("loaded", [("a.example", "b.example"), ("a.example",), ("b.example",), ()])
def test_no_trust_domain_vouches_for_another(loaded: tuple[str, ...]) -> None:
    """A leaf of one domain that another's authority signed is refused, whichever bundles are loaded."""
    authorities = {name: DevelopmentCa(name, now=NOW) for name in ("a.example", "b.example")}
    caller = verifier(*(bundle(authorities[name]) for name in loaded))
    uri = "spiffe://a.example/agent"
    foreign = authorities["b.example"].mint(uri)
    expected = Reason.SVID_UNTRUSTED if "a.example" in loaded else Reason.TRUST_DOMAIN_UNKNOWN
    assert expected is judge(caller, foreign.pem, uri)


def test_an_intermediate_authority_is_believed_where_the_bundle_holds_it() -> None:
    """Envoy passes the leaf alone: its issuer must be in the bundle, be it root or intermediate."""
    intermediate = authority(parent=CA)
    certificate = intermediate.mint(AGENT)
    assert Reason.SVID_UNTRUSTED is judge(verifier(bundle(CA)), certificate.pem)
    assert judge(verifier(bundle(intermediate)), certificate.pem) == AGENT
    assert judge(verifier(bundle(CA, intermediate)), certificate.pem) == AGENT


def shown(pem: str, *chain: str, header: str = "") -> str | Reason:
    """Who is proven by a certificate that Envoy passes with this chain, where the bundle holds the root alone."""
    headers = {XFCC: (header,)} if header else chain_header(*chain)
    return who(verifier(bundle(CA)), request(pem, headers=headers))


def pem(authority: DevelopmentCa) -> str:
    """The authority's own certificate."""
    return pem_of(der_of(authority.root))


def test_the_chain_of_envoys_header_leads_an_intermediates_leaf_to_the_bundle() -> None:
    """With the intermediates in `Chain` the bundle need hold the root alone, and each of them is needed."""
    middle = authority(parent=CA)
    lowest = authority(parent=middle)
    leaf = lowest.mint(AGENT).pem
    assert shown(leaf, leaf, pem(lowest), pem(middle)) == AGENT
    assert shown(leaf, leaf, pem(middle), pem(lowest)) == AGENT
    assert shown(leaf, leaf, pem(lowest), pem(middle), CA.bundle_pem) == AGENT
    assert Reason.SVID_UNTRUSTED is shown(leaf, leaf, pem(lowest))
    assert Reason.SVID_UNTRUSTED is shown(leaf, leaf)
    expected = seconds(lowest.root.not_valid_before_utc, lowest.mint(AGENT).certificate.not_valid_after_utc)
    sent = request(leaf, headers=chain_header(leaf, pem(lowest), pem(middle)))
    proven = verifier(bundle(CA)).verify(sent, ANYONE, arrival())
    assert expected.ends_unix_seconds == proven.valid_until_unix_seconds


def test_a_chain_is_trusted_in_nothing() -> None:
    """A chain that leads to a root of its own, or brings one along, makes no path to the bundle."""
    forger = authority()
    leaf = authority(parent=forger).mint(AGENT)
    chain = (leaf.pem, *(pem_of(der_of(each)) for each in leaf.intermediates), forger.bundle_pem)
    assert Reason.SVID_UNTRUSTED is shown(leaf.pem, *chain)
    impostor = CA.mint(AGENT, subject="signer")
    signed = authority(key=impostor.key).mint(AGENT)
    assert Reason.SVID_UNTRUSTED is shown(signed.pem, signed.pem, impostor.pem)


def test_a_chain_of_another_leaf_is_ignored() -> None:
    """Only a chain that begins with the certificate that Envoy passed is looked at."""
    middle = authority(parent=CA)
    leaf, other = middle.mint(AGENT).pem, middle.mint(AGENT).pem
    assert shown(leaf, leaf, pem(middle)) == AGENT
    for chain in ((other, pem(middle)), (pem(middle), leaf), (pem(middle),), (other, leaf, pem(middle))):
        assert Reason.SVID_UNTRUSTED is shown(leaf, *chain)


def test_only_the_last_elements_chain_counts() -> None:
    """Elements before the last are what clients and other proxies wrote."""
    middle = authority(parent=CA)
    leaf = middle.mint(AGENT).pem
    ours, bare = chain_header(leaf, pem(middle))[XFCC][0], f"By={ENVOY};URI={AGENT}"
    assert shown(leaf, header=f"{bare},{ours}") == AGENT
    assert Reason.SVID_UNTRUSTED is shown(leaf, header=f"{ours},{bare}")
    for broken in (ours + ";", ours + ";Chain=x", ours.replace('"', "", 1), "Chain=" + ours, "Chain="):
        assert Reason.SVID_UNTRUSTED is shown(leaf, header=broken)


def test_a_chain_that_is_not_needed_is_not_asked_for() -> None:
    """A leaf of the bundle's own authority is believed, whatever its chain says."""
    leaf = CA.mint(AGENT).pem
    for chain in (
        (leaf,),
        (leaf, CA.bundle_pem),
        ("nonsense",),
        (leaf, "-----BEGIN CERTIFICATE-----"),
        (pem(authority()),),
    ):
        assert shown(leaf, *chain) == AGENT


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda middle: middle[:-40], id="cut off"),
        pytest.param(lambda middle: middle + "-----BEGIN CERTIFICATE-----", id="a broken one behind it"),
        pytest.param(lambda middle: middle + middle, id="given twice"),
        pytest.param(lambda middle: middle + pem(authority()) * MAX_INTERMEDIATES, id="more than can be a path"),
        pytest.param(lambda middle: middle + "x" * 70_000, id="too long"),
    ],
)
def test_a_chain_that_cannot_be_a_path_is_none(spoil: Callable[[str], str]) -> None:
    """What is not a list of readable certificates with different names is not tried."""
    middle = authority(parent=CA)
    leaf = middle.mint(AGENT).pem
    assert shown(leaf, leaf, pem(middle)) == AGENT
    assert Reason.SVID_UNTRUSTED is shown(leaf, leaf, spoil(pem(middle)))


def test_a_workload_is_no_intermediate() -> None:
    """X509-SVID section 3.2: a signing certificate's SPIFFE ID has no path, so one that has signs for nobody."""
    key = ec.generate_private_key(ec.SECP256R1())
    usage = key_usage(digital_signature=True, key_cert_sign=True)
    signer = authority(key=key)
    workload = CA.sign(signer_builder(signer, f"spiffe://{DOMAIN}/agent/signer", usage), not_before=NOW, lifetime=HOUR)
    plain = CA.sign(signer_builder(signer, f"spiffe://{DOMAIN}", usage), not_before=NOW, lifetime=HOUR)
    leaf = signer.mint(AGENT).pem
    assert shown(leaf, leaf, pem_of(der_of(plain))) == AGENT
    assert Reason.SVID_UNTRUSTED is shown(leaf, leaf, pem_of(der_of(workload)))


def signer_builder(signer: DevelopmentCa, uri: str, usage: x509.KeyUsage) -> x509.CertificateBuilder:
    """A signing certificate for the signer's name and key, with that SPIFFE ID."""
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
    return (
        x509.CertificateBuilder(subject_name=signer.name, public_key=signer.root.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(names, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(signer.root.public_key()), critical=False)
    )


def test_a_remembered_path_ends_with_what_it_rests_on() -> None:
    """The same leaf without its chain, with an expired intermediate, or without its root, is refused again."""
    middle = authority(parent=CA, lifetime=HOUR)
    leaf = middle.mint(AGENT).pem
    source = source_of(bundle(CA))
    caller = CertificateVerifier(Prover(source, cache_entries=10))
    sent = request(leaf, headers=chain_header(leaf, pem(middle)))
    end = middle.root.not_valid_after_utc.timestamp()
    assert who(caller, sent) == AGENT
    assert Reason.SVID_UNTRUSTED is who(caller, request(leaf))
    assert Reason.SVID_UNTRUSTED is who(caller, sent, at=end + 1)
    assert who(caller, sent) == AGENT
    source.replace(Bundles.of([bundle(authority())]))
    assert Reason.SVID_UNTRUSTED is who(caller, sent)


def test_the_proof_holds_as_long_as_every_certificate_on_the_path() -> None:
    """An identity is valid until the first certificate of its path expires, the leaf's or an authority's."""
    root = authority(lifetime=HOUR)
    window = path_of(authority(parent=root, lifetime=2 * HOUR), root)
    assert seconds(root.root.not_valid_before_utc, root.root.not_valid_after_utc) == window
    end = root.root.not_valid_after_utc.timestamp()
    caller, certificate = verifier(bundle(root)), root.mint(AGENT)
    for _ in range(2):  # not remembered, then remembered
        assert judge(caller, certificate.pem, at=end) == AGENT
        assert Reason.SVID_UNTRUSTED is judge(caller, certificate.pem, at=end + 0.1)


def test_a_chain_of_authorities_leads_to_the_bundle() -> None:
    """A leaf shown with its intermediates is valid for as long as all of them are."""
    middle = authority(parent=CA, lifetime=2 * DAY)
    lowest = authority(parent=middle, lifetime=HOUR)
    assert seconds(lowest.root.not_valid_before_utc, lowest.root.not_valid_after_utc) == path_of(lowest, CA)
    assert Reason.SVID_UNTRUSTED is path_of(lowest, authority())


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"usage": key_usage(digital_signature=True)}, id="may not sign certificates"),
        pytest.param({"lifetime": dt.timedelta(minutes=4)}, id="expired"),
        pytest.param({"parent": authority(path_length=0)}, id="below an authority that allows none below it"),
    ],
)
def test_a_chain_is_as_good_as_its_worst_certificate(changes: dict[str, Any]) -> None:
    """One intermediate that may not sign, is expired, or stands too deep, breaks the path."""
    parent = changes.get("parent", CA)
    assert Reason.SVID_UNTRUSTED is path_of(authority(**{"parent": parent, **changes}), parent)
