"""Who is proven by an X509-SVID, and for which reason a certificate proves nothing."""

import datetime as dt
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from authz.core.identity import Identity, Proof
from authz.core.reasons import Reason
from authz.core.spiffe import SpiffeId
from authz.demo.ca import DAY, DevelopmentCa, key_usage
from authz.svid.x509 import MAX_CERTIFICATE_CHARACTERS
from tests.svid.checks import (
    AGENT,
    ANYONE,
    AT,
    DOMAIN,
    NOW,
    arrival,
    bundle,
    der_of,
    judge,
    pem_of,
    request,
    verifier,
    who,
)

CA = DevelopmentCa(DOMAIN, now=NOW)
FORGER = DevelopmentCa(DOMAIN, now=NOW)  # of the same name, with another key
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
SECOND = dt.timedelta(seconds=1)


def test_a_correct_svid_proves_its_spiffe_id() -> None:
    """The identity is the SPIFFE ID of the certificate, proven by it, for as long as the certificate is valid."""
    certificate = CA.mint(AGENT)
    until = certificate.certificate.not_valid_after_utc.timestamp()
    expected = Identity(SpiffeId.parse(AGENT), Proof.CERTIFICATE, until)
    assert expected == verifier(bundle(CA)).verify(request(certificate.pem), ANYONE, arrival())


@pytest.mark.parametrize(
    "minted",
    [
        pytest.param({"extended_key_usage": None}, id="no extended key usage"),
        pytest.param({"ca": None}, id="no basic constraints"),
        pytest.param({"subject": "support"}, id="a subject, and a name that is not critical"),
        pytest.param({"subject": "support", "san_critical": True}, id="a subject, and a critical name"),
        pytest.param({"dns": ("support.example.org", "spiffe://example.org/admin")}, id="DNS names beside the URI"),
        pytest.param({"extensions": [(UNKNOWN, False)]}, id="an unknown extension that is not critical"),
        pytest.param({"key": ed25519.Ed25519PrivateKey.generate()}, id="an Ed25519 key"),
        pytest.param({"key": ec.generate_private_key(ec.SECP384R1())}, id="a P-384 key"),
        pytest.param({"key": rsa.generate_private_key(65537, 2048)}, id="an RSA key"),
        pytest.param(
            {"extended_key_usage": (*[ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH] * 2,)},
            id="uses named twice",
        ),
    ],
)
def test_what_the_standard_leaves_open_is_accepted(minted: dict[str, Any]) -> None:
    """A certificate may differ in all that X509-SVID leaves to its issuer."""
    assert judge(verifier(bundle(CA)), CA.mint(AGENT, **minted).pem) == AGENT


def test_a_subject_longer_than_x520_allows_is_accepted() -> None:
    """A common name of 70 characters is read without a word, whatever warnings the process turns into errors."""
    key = ec.generate_private_key(ec.SECP256R1())
    with pytest.warns(UserWarning, match="length must be"):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "s" * 70, _validate=False)])
    builder = x509.CertificateBuilder(subject_name=subject, public_key=key.public_key())
    for extension in CA.mint(AGENT).certificate.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    certificate = CA.sign(builder, not_before=NOW, lifetime=DAY)
    assert judge(verifier(bundle(CA)), pem_of(der_of(certificate))) == AGENT
    assert judge(verifier(bundle(CA)), pem_of(der_of(certificate)), at=AT - 1) is Reason.SVID_NOT_YET_VALID


@dataclass(frozen=True)
class Caller:
    """A caller who is right in every way but those that a test changes."""

    domain: str = DOMAIN
    path: str = "/agent/support"
    more_uris: tuple[str, ...] = ()
    authority: DevelopmentCa = CA
    minted: tuple[tuple[str, Any], ...] = ()
    principal: str = AGENT

    def judged(self) -> str | Reason:
        """What comes of it, where the bundle of the right trust domain is loaded."""
        uris = (f"spiffe://{self.domain}{self.path}", *self.more_uris)
        certificate = self.authority.mint(*uris, **dict(self.minted))
        return judge(verifier(bundle(CA)), certificate.pem, self.principal)


def lifetime(not_before: dt.datetime) -> dict[str, Any]:
    """One day from then on."""
    return {"not_before": not_before, "lifetime": DAY}


@dataclass(frozen=True)
class Breach:
    """One way to be wrong: what differs in the caller, and in how its certificate is minted."""

    reason: Reason
    caller: Mapping[str, Any] = field(default_factory=dict)
    minted: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return str(self.reason)


BREACHES = [  # in the order in which the rules are asked
    Breach(Reason.SVID_URI_SAN_COUNT, {"more_uris": ("spiffe://example.org/admin",)}),
    Breach(Reason.SPIFFE_ID_MALFORMED, {"path": "/agent/../admin"}),
    Breach(Reason.SVID_IS_CA, {}, {"ca": True}),
    Breach(Reason.SVID_WITHOUT_PATH, {"path": ""}),
    Breach(Reason.SVID_KEY_USAGE, {}, {"with_usage": False}),
    Breach(Reason.SVID_EXTENDED_KEY_USAGE, {}, {"extended_key_usage": (ExtendedKeyUsageOID.SERVER_AUTH,)}),
    Breach(Reason.SVID_SAN_NOT_CRITICAL, {}, {"san_critical": False}),
    Breach(Reason.TRUST_DOMAIN_UNKNOWN, {"domain": "evil.example"}),
    Breach(Reason.SVID_EXPIRED, {}, lifetime(NOW - 2 * DAY)),
    Breach(Reason.SVID_UNTRUSTED, {"authority": FORGER}),
    Breach(Reason.PRINCIPAL_MISMATCH, {"principal": "spiffe://example.org/agent/other"}),
]


def breaking(*breaches: Breach) -> Caller:
    """A caller who breaks all of these rules; where two change the same thing, as the first has it."""
    caller, minted = Caller(), dict[str, Any]()
    for breach in reversed(breaches):
        caller, minted = replace(caller, **breach.caller), {**minted, **breach.minted}
    return replace(caller, minted=tuple(minted.items()))


@pytest.mark.parametrize("breach", BREACHES, ids=str)
def test_one_broken_rule_is_named(breach: Breach) -> None:
    """A caller who is wrong in one way is refused for that."""
    assert Caller().judged() == AGENT
    assert breach.reason is breaking(breach).judged()


@pytest.mark.parametrize(("first", "second"), [*itertools.combinations(BREACHES, 2)], ids=str)
def test_of_two_broken_rules_the_earlier_is_named(first: Breach, second: Breach) -> None:
    """The order is fixed: what the certificate is, then whether we know its domain, then the time, path and principal.

    So an expired certificate of a foreign domain is of an unknown domain, and an authority is one, ID or no ID.
    """
    assert first.reason is breaking(first, second).judged()


@pytest.mark.parametrize(
    ("minted", "reason"),
    [
        ({"usage": key_usage()}, Reason.SVID_KEY_USAGE),
        ({"usage": key_usage(digital_signature=True, key_cert_sign=True)}, Reason.SVID_KEY_USAGE),
        ({"usage": key_usage(digital_signature=True, crl_sign=True)}, Reason.SVID_KEY_USAGE),
        ({"usage_critical": False}, Reason.SVID_KEY_USAGE),
        ({"extended_key_usage": (ExtendedKeyUsageOID.CLIENT_AUTH,)}, Reason.SVID_EXTENDED_KEY_USAGE),
        ({"extended_key_usage": (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)}, Reason.SVID_EXTENDED_KEY_USAGE),
        (lifetime(NOW + SECOND), Reason.SVID_NOT_YET_VALID),
        ({"extensions": [(UNKNOWN, True)]}, Reason.SVID_UNTRUSTED),
    ],
)
def test_every_other_way_to_break_a_rule(minted: dict[str, Any], reason: Reason) -> None:
    """Each bit of the key usage, each lack of an extended use, the future, and an extension that nobody understands."""
    assert reason is judge(verifier(bundle(CA)), CA.mint(AGENT, **minted).pem)


@pytest.mark.parametrize(
    ("uris", "dns", "reason"),
    [
        ((), (), Reason.SVID_URI_SAN_COUNT),
        ((), ("spiffe://example.org/agent/support",), Reason.SVID_URI_SAN_COUNT),
        ((AGENT, AGENT), (), Reason.SVID_URI_SAN_COUNT),
        ((AGENT, "https://example.org"), (), Reason.SVID_URI_SAN_COUNT),
        (("https://example.org/agent/support",), (), Reason.SPIFFE_ID_MALFORMED),
        (("SPIFFE://example.org/agent/support",), (), Reason.SPIFFE_ID_MALFORMED),
        (("spiffe://example.org/agent/support\n",), (), Reason.SPIFFE_ID_MALFORMED),
        (("spiffe://example.org/agent/support?admin",), (), Reason.SPIFFE_ID_MALFORMED),
        (("spiffe://example.org/",), (), Reason.SPIFFE_ID_MALFORMED),
        (("spiffe://example.org/agent/support,spiffe://example.org/admin",), (), Reason.SPIFFE_ID_MALFORMED),
        (("",), (), Reason.SPIFFE_ID_MALFORMED),
    ],
)
def test_only_one_uri_that_is_a_spiffe_id_names_a_caller(
    uris: tuple[str, ...], dns: tuple[str, ...], reason: Reason
) -> None:
    """No DNS name, subject, second URI or almost-ID is taken for the caller's name, even where Envoy does."""
    certificate = CA.mint(*uris, dns=dns, subject=AGENT)
    for principal in (AGENT, *uris):
        assert reason is judge(verifier(bundle(CA)), certificate.pem, principal)


def test_an_authority_cannot_call() -> None:
    """The trust domain's own CA certificate, and one with a workload's ID, are refused as what they are."""
    assert Reason.SVID_IS_CA is judge(verifier(bundle(CA)), pem_of(der_of(CA.root)), f"spiffe://{DOMAIN}")
    workload = CA.mint(AGENT, ca=True, usage=key_usage(digital_signature=True, key_cert_sign=True))
    assert Reason.SVID_IS_CA is judge(verifier(bundle(CA)), workload.pem)


def test_no_certificate_is_no_identity() -> None:
    """Without a certificate there is no identity, and a principal without its certificate is worth nothing."""
    assert Reason.IDENTITY_MISSING is judge(verifier(bundle(CA)), "", "")
    assert Reason.CERTIFICATE_MISSING is judge(verifier(bundle(CA)), "", AGENT)


@pytest.mark.parametrize(
    "principal", ["", "spiffe://example.org", AGENT + "/", AGENT + "\n", AGENT.upper(), " " + AGENT]
)
def test_the_principal_must_be_the_certificates_id(principal: str) -> None:
    """A principal that is empty, or differs in any way from the proven SPIFFE ID, is refused, cached or not."""
    caller = verifier(bundle(CA))
    certificate = CA.mint(AGENT)
    assert Reason.PRINCIPAL_MISMATCH is judge(caller, certificate.pem, principal)
    assert judge(caller, certificate.pem) == AGENT
    assert Reason.PRINCIPAL_MISMATCH is judge(caller, certificate.pem, principal)


def test_without_bundles_nobody_is_believed() -> None:
    """No bundle at all refuses every caller."""
    assert Reason.TRUST_DOMAIN_UNKNOWN is judge(verifier(), CA.mint(AGENT).pem)


GOOD = CA.mint(AGENT)
KEY_PEM = GOOD.key_pem


@pytest.mark.parametrize(
    "pem",
    [
        pytest.param("spiffe://example.org/agent/support", id="no PEM"),
        pytest.param(GOOD.pem * 2, id="the same certificate twice"),
        pytest.param(GOOD.pem + CA.bundle_pem, id="a chain"),
        pytest.param(GOOD.pem + GOOD.pem[:200], id="a second certificate that is cut off"),
        pytest.param(GOOD.pem[:-26], id="no end"),
        pytest.param(GOOD.pem.replace("CERTIFICATE", "TRUSTED CERTIFICATE"), id="OpenSSL's trusted form"),
        pytest.param(KEY_PEM, id="a private key"),
        pytest.param(pem_of(b""), id="nothing between begin and end"),
        pytest.param(pem_of(der_of(GOOD.certificate) + b"\0"), id="a byte too many"),
        pytest.param(pem_of(der_of(GOOD.certificate)[:-1]), id="a byte too few"),
        pytest.param(GOOD.pem.ljust(MAX_CERTIFICATE_CHARACTERS + 1), id="longer than any certificate"),
        pytest.param("\udcff", id="a lone surrogate"),
        pytest.param("é" + GOOD.pem[1:], id="not ASCII"),
    ],
)
def test_what_is_not_one_certificate_is_malformed(pem: str) -> None:
    """Text that is not exactly one readable certificate is refused as malformed, whatever else it is."""
    certificate = replace(request(""), unverified_certificate=pem)
    assert Reason.CERTIFICATE_MALFORMED is who(verifier(bundle(CA)), certificate)
    if "\udcff" not in pem:
        assert Reason.CERTIFICATE_MALFORMED is judge(verifier(bundle(CA)), pem)


def test_a_plus_sign_is_part_of_base64() -> None:
    """A plus that Envoy did not escape stays a plus, and one turned into a blank is not turned back."""
    certificate = next(each for each in (CA.mint(AGENT) for _ in range(100)) if "+" in each.pem)
    plain = replace(request(""), unverified_certificate=certificate.pem)
    assert who(verifier(bundle(CA)), plain) == AGENT
    assert Reason.CERTIFICATE_MALFORMED is judge(verifier(bundle(CA)), certificate.pem.replace("+", " ", 1))


@pytest.mark.parametrize("moment", ["not_valid_before_utc", "not_valid_after_utc"])
def test_both_ends_of_the_validity_belong_to_it(moment: str) -> None:
    """RFC 5280 section 4.1.2.5: valid from notBefore through notAfter, and not a tenth of a second beyond."""
    certificate = CA.mint(AGENT, not_before=NOW - SECOND, lifetime=2 * SECOND)
    end: float = getattr(certificate.certificate, moment).timestamp()
    outside, reason = (-0.1, Reason.SVID_NOT_YET_VALID) if end < AT else (0.1, Reason.SVID_EXPIRED)
    caller = verifier(bundle(CA))
    for _ in range(2):  # not remembered, then remembered
        assert judge(caller, certificate.pem, at=end) == AGENT
        assert reason is judge(caller, certificate.pem, at=end + outside)


@pytest.mark.parametrize("moment", [math.nan, math.inf, -math.inf, -1e300, 1e300])
def test_at_no_impossible_time_is_anybody_believed(moment: float) -> None:
    """A clock that makes no sense refuses."""
    caller = verifier(bundle(CA))
    for _ in range(2):
        assert judge(caller, GOOD.pem, at=moment) in {Reason.SVID_EXPIRED, Reason.SVID_NOT_YET_VALID}
        assert judge(caller, GOOD.pem) == AGENT
