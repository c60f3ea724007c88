"""Whom the four modes believe, and that none believes anybody where an identity is absent or ambiguous."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.core.identity import Asker, Identity, Proof
from authz.core.reasons import Reason
from authz.core.request import Request
from authz.core.spiffe import SpiffeId
from authz.demo.ca import DevelopmentCa
from authz.ports import Verifier
from authz.svid.attested import AttestedVerifier
from authz.svid.bundles import BundleSource
from authz.svid.sidecar import SidecarVerifier
from authz.svid.x509 import CertificateVerifier, Prover
from authz.svid.xfcc import XfccVerifier
from tests.svid.checks import (
    AGENT,
    ANYONE,
    AT,
    DOMAIN,
    ENVOY,
    NOW,
    PROVEN,
    XFCC,
    bundle,
    found,
    request,
    source_of,
    who,
)

CA, FORGER = DevelopmentCa(DOMAIN, now=NOW), DevelopmentCa(DOMAIN, now=NOW)
SOURCE = source_of(bundle(CA))
CERTIFICATE, OTHER = CA.mint(AGENT), CA.mint(f"spiffe://{DOMAIN}/agent/other")
NOT_IDS = [
    f"CN={AGENT}",
    "agent.example.org",
    AGENT + "\n",
    AGENT + "/",
    AGENT + "?x=1",
    f"{AGENT},{AGENT}",
    f"{AGENT};URI={AGENT}",
    AGENT.upper(),
    f"spiffe://{DOMAIN}/agent/../admin",
    "spiffe:///agent",
]


def attested(source: BundleSource = SOURCE) -> AttestedVerifier:
    """Mode `attested`, with nothing in its cache."""
    return AttestedVerifier(source, Prover(source, cache_entries=100))


def xfcc(source: BundleSource = SOURCE) -> XfccVerifier:
    """Mode `xfcc`, with nothing in its cache."""
    return XfccVerifier(source, Prover(source, cache_entries=100))


def certificate(source: BundleSource = SOURCE) -> CertificateVerifier:
    """Mode `certificate`, with nothing in its cache."""
    return CertificateVerifier(Prover(source, cache_entries=100))


def forwarded(*values: str, principal: str = "", pem: str = "") -> Request:
    """A request with these values of x-forwarded-client-cert."""
    return request(pem, principal, headers={XFCC: values})


ELEMENT = f"By={ENVOY};URI={AGENT}"
TELLING: list[tuple[Callable[[], Verifier], Proof, Request]] = [
    (attested, Proof.ATTESTED, request("")),
    (attested, Proof.ATTESTED, request(CERTIFICATE.pem)),
    (xfcc, Proof.XFCC, forwarded(ELEMENT)),
    (xfcc, Proof.XFCC, forwarded(ELEMENT, principal=AGENT)),
    (xfcc, Proof.XFCC, forwarded(ELEMENT, principal=AGENT, pem=CERTIFICATE.pem)),
    (SidecarVerifier, Proof.SIDECAR, request("", "")),
    (SidecarVerifier, Proof.SIDECAR, request("", AGENT)),
]


@pytest.mark.parametrize(("make", "proof", "sent"), TELLING)
def test_a_proven_envoys_word_names_the_caller(make: Callable[[], Verifier], proof: Proof, sent: Request) -> None:
    """The proof names the mode, and lasts for the moment of the check: nobody knows what the Envoy says next."""
    asker = Asker(SpiffeId.parse(AGENT)) if proof is Proof.SIDECAR else PROVEN
    assert Identity(SpiffeId.parse(AGENT), proof, AT) == found(make(), sent, asker)


@pytest.mark.parametrize(("make", "proof", "sent"), TELLING)
def test_in_plain_text_nobodys_word_counts(make: Callable[[], Verifier], proof: Proof, sent: Request) -> None:
    """The same checks are refused where nobody knows who asks, whichever mode is configured."""
    assert proof is not Proof.CERTIFICATE
    assert Reason.ASKER_UNPROVEN is who(make(), sent, ANYONE)


@pytest.mark.parametrize("make", [attested, xfcc, certificate])
def test_who_is_not_named_is_nobody(make: Callable[[], Verifier]) -> None:
    """A check without principal, certificate and header names no caller, and the asker is none."""
    assert Reason.IDENTITY_MISSING is who(make(), request("", ""), PROVEN)


@pytest.mark.parametrize("text", NOT_IDS)
def test_what_is_no_spiffe_id_names_nobody(text: str) -> None:
    """A principal or URI must be a SPIFFE ID to the letter, as it must in a certificate."""
    assert Reason.SPIFFE_ID_MALFORMED is who(attested(), request("", text), PROVEN)
    told = who(xfcc(), forwarded(f"By={ENVOY};URI={text}"), PROVEN)
    assert told in {Reason.SPIFFE_ID_MALFORMED, Reason.XFCC_AMBIGUOUS, Reason.XFCC_MALFORMED}


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        (f"spiffe://{DOMAIN}", Reason.SVID_WITHOUT_PATH),
        ("spiffe://unknown.example/agent/support", Reason.TRUST_DOMAIN_UNKNOWN),
        (f"spiffe://sub.{DOMAIN}/agent/support", Reason.TRUST_DOMAIN_UNKNOWN),
    ],
)
def test_only_workloads_of_known_trust_domains_are_named(uri: str, reason: Reason) -> None:
    """An Envoy's word about a foreign trust domain, or about a domain itself, is refused."""
    assert reason is who(attested(), request("", uri), PROVEN)
    assert reason is who(xfcc(), forwarded(f"URI={uri}"), PROVEN)
    assert Reason.TRUST_DOMAIN_UNKNOWN is who(attested(source_of()), request(""), PROVEN)
    assert Reason.TRUST_DOMAIN_UNKNOWN is who(xfcc(source_of()), forwarded(ELEMENT), PROVEN)


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        (OTHER.pem, Reason.PRINCIPAL_MISMATCH),
        (FORGER.mint(AGENT).pem, Reason.SVID_UNTRUSTED),
        (CA.mint(AGENT, AGENT).pem, Reason.SVID_URI_SAN_COUNT),
        (CA.mint(dns=(AGENT,)).pem, Reason.SVID_URI_SAN_COUNT),
        (CA.mint(AGENT, with_usage=False).pem, Reason.SVID_KEY_USAGE),
        ("no certificate", Reason.CERTIFICATE_MALFORMED),
    ],
)
def test_a_certificate_that_is_there_must_prove_the_same(pem: str, reason: Reason) -> None:
    """An Envoy's word never outweighs a certificate: it is verified by every rule, and must name the same caller."""
    assert reason is who(attested(), request(pem), PROVEN)
    assert reason is who(xfcc(), forwarded(ELEMENT, principal=AGENT, pem=pem), PROVEN)


@pytest.mark.parametrize("principal", ["", "agent.example.org", f"spiffe://{DOMAIN}/agent/other", AGENT + "/"])
def test_a_principal_that_is_there_must_name_the_same(principal: str) -> None:
    """The header and a certificate, or a principal, that name two callers are refused."""
    assert Reason.PRINCIPAL_MISMATCH is who(attested(), request(CERTIFICATE.pem, principal), PROVEN)
    pem = "" if principal else CERTIFICATE.pem
    assert Reason.PRINCIPAL_MISMATCH is who(xfcc(), forwarded(ELEMENT, principal=principal, pem=pem), PROVEN)


@pytest.mark.parametrize("sent", [request(CERTIFICATE.pem), request(CERTIFICATE.pem, ""), request("", AGENT + "x")])
def test_a_sidecar_speaks_for_its_own_agent_alone(sent: Request) -> None:
    """A hop that came over mTLS, or names another caller, is not on its way out of the agent that asks."""
    assert Reason.PRINCIPAL_MISMATCH is who(SidecarVerifier(), sent, Asker(SpiffeId.parse(AGENT)))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param((f"URI={AGENT}",), AGENT, id="without By, as some proxies write it"),
        pytest.param((f"by={ENVOY};uri={AGENT}",), AGENT, id="keys in lower case"),
        pytest.param((f'By="{ENVOY}";URI="{AGENT}"',), AGENT, id="values in quotes"),
        pytest.param((f'{ELEMENT};Subject="CN=a, O=\\"b;URI=c\\"";DNS=x',), AGENT, id="a quoted subject like pairs"),
        pytest.param((f"{ELEMENT};URI={AGENT}",), Reason.XFCC_AMBIGUOUS, id="the same URI twice"),
        pytest.param((f"By={ENVOY};Hash=0a",), Reason.XFCC_AMBIGUOUS, id="no URI"),
        pytest.param((f"By={ENVOY};URI=",), Reason.SPIFFE_ID_MALFORMED, id="an empty URI, as for a DNS SAN"),
        pytest.param((f"By={ENVOY};By={ENVOY};URI={AGENT}",), Reason.XFCC_OF_ANOTHER_PROXY, id="two proxies"),
        pytest.param((f"By={AGENT};URI={AGENT}",), Reason.XFCC_OF_ANOTHER_PROXY, id="by another proxy"),
        pytest.param((f"By=;URI={AGENT}",), Reason.XFCC_OF_ANOTHER_PROXY, id="by nobody"),
        pytest.param(("",), Reason.IDENTITY_MISSING, id="empty"),
        pytest.param((",",), Reason.XFCC_MALFORMED, id="a comma"),
        pytest.param((ELEMENT + ";",), Reason.XFCC_MALFORMED, id="an open end"),
        pytest.param((ELEMENT + ",",), Reason.XFCC_MALFORMED, id="an empty element behind it"),
        pytest.param(("," + ELEMENT,), Reason.XFCC_MALFORMED, id="an empty element before it"),
        pytest.param((f"{ELEMENT};X=1",), Reason.XFCC_MALFORMED, id="an unknown key"),
        pytest.param((f"{ELEMENT};URI",), Reason.XFCC_MALFORMED, id="a key without a value"),
        pytest.param((f" {ELEMENT}",), Reason.XFCC_MALFORMED, id="a blank before it"),
        pytest.param((f'URI="{AGENT}',), Reason.XFCC_MALFORMED, id="a quote that does not end"),
        pytest.param((f'URI="{AGENT}"x',), Reason.XFCC_MALFORMED, id="text behind a quote"),
        pytest.param((f'URI={AGENT}"',), Reason.XFCC_MALFORMED, id="a quote in the middle"),
        pytest.param((f'Subject="\\";URI={AGENT}',), Reason.XFCC_MALFORMED, id="a quote that is escaped"),
        pytest.param((f"{ELEMENT};DNS={'a' * 70_000}",), Reason.XFCC_MALFORMED, id="too long"),
    ],
)
def test_the_header_is_read_strictly(values: tuple[str, ...], expected: str | Reason) -> None:
    """One element by the asker, with exactly one URI, in Envoy's own grammar and no other."""
    assert expected == who(xfcc(), forwarded(*values), PROVEN)


FIRST = f"By={ENVOY};URI=spiffe://{DOMAIN}/admin"


@pytest.mark.parametrize(
    "values", [(f"{FIRST},{ELEMENT}",), (FIRST, ELEMENT), (f'Subject="CN=a,b",{FIRST}', ELEMENT)], ids=str
)
def test_the_last_element_counts_where_the_principal_names_the_same(values: tuple[str, ...]) -> None:
    """Elements before the last are of hops before, whether Envoy folds the values or keeps them apart."""
    assert who(xfcc(), forwarded(*values, principal=AGENT), PROVEN) == AGENT
    assert Reason.PRINCIPAL_MISMATCH is who(xfcc(), forwarded(*reversed(values), FIRST, principal=AGENT), PROVEN)


def test_without_a_principal_the_header_has_one_element() -> None:
    """A name with a comma in it, which Envoy does not escape, cannot begin an element of its own."""
    name = f"spiffe://{DOMAIN}/x,By={ENVOY};URI=spiffe://{DOMAIN}/admin"
    written = f"By={ENVOY};Hash=0a;URI={name}"
    assert Reason.XFCC_AMBIGUOUS is who(xfcc(), forwarded(written), PROVEN)
    assert Reason.PRINCIPAL_MISMATCH is who(xfcc(), forwarded(written, principal=name), PROVEN)
    assert Reason.XFCC_AMBIGUOUS is who(xfcc(), forwarded(ELEMENT, ELEMENT), PROVEN)


NAMES = st.text(st.sampled_from(',;="\\URIBy: /.') | st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    [f",By={ENVOY};URI={AGENT}", f";URI={AGENT}", f'";URI={AGENT};DNS="', f'\\";URI={AGENT}', AGENT]
)


@given(uris=st.lists(NAMES, max_size=2), dns=st.lists(NAMES, max_size=2), subject=NAMES)
def test_no_name_in_a_certificate_makes_envoy_name_another(uris: list[str], dns: list[str], subject: str) -> None:
    """Whatever names a CA signs, the header that Envoy makes of them names their own URI, or nobody.

    Beside a principal it names nobody but the principal. Envoy writes URI and DNS names as they are, an empty URI where
    there is none, and the subject in RFC 2253's form.
    """
    told = ";".join([*(f"URI={uri}" for uri in uris or [""]), *(f"DNS={name}" for name in dns)])
    quoted = subject.replace("\\", "\\\\").replace('"', '\\"')
    written = f'By={ENVOY};Hash=0a;Subject="{quoted}";{told}'
    principal = (uris or dns or [subject])[0]
    assert who(xfcc(), forwarded(written), PROVEN) in {*uris[:1], *Reason}
    assert who(xfcc(), forwarded(written, principal=principal), PROVEN) in {principal, *Reason}


@given(st.text(st.sampled_from(f',;="\\{ELEMENT}'), max_size=60) | st.text(st.characters(codec=None), max_size=20))
def test_no_header_is_a_fault(text: str) -> None:
    """Any text in the header's place is refused for a reason, in mode `xfcc` and beside a certificate."""
    assert isinstance(who(xfcc(), forwarded(text), PROVEN), Reason)
    assert who(certificate(), forwarded(text + "Chain=", principal=AGENT, pem=CERTIFICATE.pem)) == AGENT


@given(st.data())
def test_no_change_of_a_header_or_a_principal_names_another(data: st.DataObject) -> None:
    """Replace, add or drop characters: another ID is named only where its letters are written there."""
    text = data.draw(st.sampled_from([ELEMENT, f'By="{ENVOY}";URI="{AGENT}";DNS=a']))
    place = data.draw(st.integers(0, len(text)))
    put = data.draw(st.text(',;="\\x/.', max_size=2))
    changed = text[:place] + put + text[place + data.draw(st.integers(0, 2)) :]
    told = who(xfcc(), forwarded(changed), PROVEN)
    assert isinstance(told, Reason) or f"URI={told}" in changed.replace('"', "").replace("\\", "")
    if told != AGENT:
        assert Reason.PRINCIPAL_MISMATCH is who(xfcc(), forwarded(changed, principal=AGENT), PROVEN) or isinstance(
            told, Reason
        )


def test_certificates_are_proven_whoever_asks() -> None:
    """Mode `certificate` rests on the certificate alone."""
    for asker in (ANYONE, PROVEN):
        assert who(certificate(), request(CERTIFICATE.pem), asker) == AGENT


def test_other_headers_name_nobody() -> None:
    """Headers that look like the one that counts are of the client."""
    sent = replace(
        request("", ""), headers={"x-forwarded-client-certificate": (ELEMENT,), "x_forwarded_client_cert": (ELEMENT,)}
    )
    assert Reason.IDENTITY_MISSING is who(xfcc(), sent, PROVEN)
