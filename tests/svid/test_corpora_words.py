"""Tokens, bundle documents and headers that nobody here made, and what comes of each."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from authz.core.errors import Unusable
from authz.core.identity import Asker
from authz.core.reasons import Reason
from authz.core.request import Request
from authz.core.spiffe import SpiffeId
from authz.demo.ca import DevelopmentCa
from authz.svid.attested import AttestedVerifier
from authz.svid.bundle_documents import load_bundle_file
from authz.svid.bundles import Bundles
from authz.svid.tokens import Token, prove_token
from authz.svid.x509 import Prover
from authz.svid.xfcc import XfccVerifier
from tests.support import corpora
from tests.support.refusals import outcome
from tests.svid.checks import AT, DOMAIN, NOW, XFCC, bundle, source_of, who
from tests.svid.signing import header, token

AUTHORITY = DevelopmentCa("trustdomain", now=NOW)
EC_KEY, RSA_KEY = ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)
KEYS: dict[str, PublicKeyTypes] = {"authority1": EC_KEY.public_key(), "authority2": RSA_KEY.public_key()}
GO = Bundles.of([bundle(AUTHORITY, keys=KEYS)])

# go-spiffe's 13 cases, and what is said here of each.
GO_CASES: dict[str, str | Reason] = {
    "success": "spiffe://trustdomain/host",
    "malformed": Reason.JWT_MALFORMED,
    "unsupported algorithm": Reason.JWT_ALGORITHM,
    "missing subject": Reason.JWT_CLAIM_MISSING,
    "missing expiration claim": Reason.JWT_CLAIM_MISSING,
    "expired": Reason.JWT_EXPIRED,
    "unexpected audience": Reason.JWT_FOR_ANOTHER_AUDIENCE,
    "invalid subject claim": Reason.SPIFFE_ID_MALFORMED,
    "missing key": Reason.JWT_KEY_UNKNOWN,
    "no bundle for trust domain": Reason.TRUST_DOMAIN_UNKNOWN,
    "no bundle for authority": Reason.JWT_KEY_UNKNOWN,
    "mismatched JWT authority": Reason.JWT_ALGORITHM,  # an RSA signature for an EC key: the two do not fit
    "invalid typ": Reason.JWT_HEADER_NOT_ALLOWED,
}


def proven(text: str, bundles: Bundles, audience: str, at: float, leeway_seconds: float = 10) -> str | Reason:
    """The token's subject, or the reason for which it proves nothing."""

    def check() -> Token:
        found = prove_token(text, bundles, frozenset({audience}))
        found.must_hold_at(at, leeway_seconds)
        return found

    found = outcome(check)
    return found.subject.uri if isinstance(found, Token) else found


@pytest.mark.parametrize("name", GO_CASES)
def test_tokens_of_another_implementation_are_judged_alike(name: str) -> None:
    """go-spiffe's one good token is accepted, and its twelve others are refused, each for its own rule."""
    cases = {case["name"]: case for case in json.loads(jwt_folder("go_jwtsvid_cases.json"))["cases"]}
    assert set(GO_CASES) == set(cases)
    case = cases[name]
    (audience,) = case["expected_audience"] or ["audience"]
    assert case["expect"]["ok"] is isinstance(GO_CASES[name], str)
    assert GO_CASES[name] == proven(case.get("token") or minted(case), GO, audience, AT)


def minted(case: dict[str, Any]) -> str:
    """The token that a case describes."""
    key, algorithm = (EC_KEY, "ES384") if case["signing_key"].startswith("EC") else (RSA_KEY, "RS256")
    claims = {name: moment(value) for name, value in case["claims"].items()}
    return token(key, header(alg=algorithm, kid=case["kid"] or None, typ=case["typ"] or None), claims)


def moment(value: Any) -> Any:  # noqa: ANN401  claims have many types
    """`now`, and seconds before and after it, as a number."""
    return int(AT) + int(value.removeprefix("now") or 0) if str(value).startswith("now") else value


def jwt_folder(name: str) -> str:
    """A file of the corpus of tokens."""
    return (corpora.folder("spiffe-jwt") / name).read_text()


def test_jwts_that_are_no_svids_are_refused() -> None:
    """Istio's 14 test tokens, of which 12 are in time and well signed, name no workload: a JWT is not a JWT-SVID."""
    tokens = json.loads(jwt_folder("istio_tokens.json"))
    assert len(tokens) == 14
    found = {each["name"]: proven(each["token"], GO, "foo", 1.8e9) for each in tokens}
    assert found.pop("TokenInvalid") is Reason.JWT_MALFORMED
    assert set(found.values()) == {Reason.SPIFFE_ID_MALFORMED}


# What is said of each document of go-spiffe, java-spiffe and py-spiffe: its authorities and keys, or why it is none.
DOCUMENTS: dict[str, tuple[int, int] | str] = {
    "go_spiffebundle/spiffebundle_valid_1.json": (1, 1),
    "go_spiffebundle/spiffebundle_valid_2.json": (1, 6),
    "go_spiffebundle/spiffebundle_valid_with_wit.json": (1, 2),
    # go-spiffe refuses an entry with two certificates; the standard has all but the first ignored.
    "go_spiffebundle/spiffebundle_multiple_x509.json": (1, 1),
    "go_spiffebundle/spiffebundle_no_keys.json": "keys is not a list",
    "go_spiffebundle/spiffebundle_missing_kid.json": "key 2: a jwt-svid key has a kid",
    "java/workloadapi/bundle.json": (0, 3),
    # JWK sets without `use`: others read them as keys for tokens; the standard has an entry without a use ignored.
    "go_jwtbundle/jwks_valid_1.json": "no authority",
    "go_jwtbundle/jwks_valid_2.json": "no authority",
    "go_jwtbundle/jwks_missing_kid.json": "no authority",
    "java/jwtbundle/jwks_valid_EC_1.json": "no authority",
    "java/jwtbundle/jwks_missing_kid.json": "no authority",
    "java/jwtbundle/jwks_invalid_keytype.json": "no authority",
    "py_jwks/jwks_1_ec_key.json": "no authority",
    "py_jwks/jwks_3_keys.json": "no authority",
    "py_jwks/jwks_ec_missing_x.json": "no authority",
    "py_jwks/jwks_missing_kid.json": "no authority",
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_of_other_implementations_are_read_by_the_standard(name: str) -> None:
    """Each is a bundle of so many authorities and keys, or is refused; where others differ, the standard decides."""
    folder, expected = corpora.folder("spiffe-x509"), DOCUMENTS[name]
    documents = {str(path.relative_to(folder)) for path in folder.glob("*/**/*.json")}
    assert set(DOCUMENTS) == documents
    if isinstance(expected, str):
        with pytest.raises(Unusable, match=expected):
            load_bundle_file(DOMAIN, folder / name)
    else:
        read = load_bundle_file(DOMAIN, folder / name)
        assert expected == (len(read.authorities), len(read.jwt_authorities))


AGENT_A, ADMIN = "spiffe://td.test/agent-a", "spiffe://td.test/admin"
FORM, COUNT = Reason.SPIFFE_ID_MALFORMED, Reason.XFCC_AMBIGUOUS

# For each recording: what its principal alone names, and what its header alone names. Four principals name a caller
# that the certificate does not prove, because that Envoy did not validate by SPIFFE's rules: mode `attested` says that
# it must, and mode `certificate` refuses all four. Of a signing certificate neither word tells.
CAPTURED: dict[str, tuple[str | Reason, str | Reason]] = {
    "one_uri": (AGENT_A, AGENT_A),
    "two_uris": (AGENT_A, COUNT),
    "two_uris_swapped": (ADMIN, COUNT),
    "dns_only": (FORM, FORM),
    "dns_looks_like_spiffe": (ADMIN, FORM),
    "no_san_cn_spiffe": (FORM, FORM),
    "uri_other_td": (Reason.TRUST_DOMAIN_UNKNOWN, Reason.TRUST_DOMAIN_UNKNOWN),
    "uri_upper": (FORM, FORM),
    "uri_query": (FORM, FORM),
    "uri_dotdot": (FORM, FORM),
    "uri_comma": (FORM, Reason.XFCC_MALFORMED),
    "uri_quote_semicolon": (FORM, COUNT),
    "uri_and_dns": (AGENT_A, AGENT_A),
    "ca_true_leaf": (AGENT_A, AGENT_A),
}


@pytest.mark.parametrize("name", CAPTURED)
def test_the_word_of_an_envoy_that_validates_loosely_is_what_it_is(name: str) -> None:
    """All 14 recordings of a real Envoy, judged by its principal alone and by its header alone."""
    recorded = json.loads((corpora.folder("envoy-captured") / "mtls_checkrequests.json").read_text())["cases"]
    cases = {case["case"]: case["check_request"]["attributes"] for case in recorded}
    assert set(CAPTURED) == set(cases)
    principal, forwarded = cases[name]["source"]["principal"], cases[name]["request"]["http"]["headers"][XFCC]
    source = source_of(bundle(DevelopmentCa("td.test", now=NOW)))
    asker = Asker(SpiffeId.parse("spiffe://td.test/envoy"))
    prover = Prover(source, cache_entries=10)
    by_principal = who(AttestedVerifier(source, prover), worded(principal, ""), asker)
    by_header = who(XfccVerifier(source, prover), worded("", forwarded), asker)
    assert CAPTURED[name] == (by_principal, by_header)
    contradicting = who(XfccVerifier(source, prover), worded("spiffe://td.test/other", forwarded), asker)
    assert isinstance(contradicting, Reason)


def worded(principal: str, forwarded: str) -> Request:
    """A check with that principal and that header, and no certificate."""
    headers: dict[str, tuple[str, ...]] = {XFCC: (forwarded,)} if forwarded else {}
    return Request("GET", "td.test", "/", headers, principal, "", "10.0.0.7:40000")


def test_every_header_that_envoy_wrote_is_read() -> None:
    """28 recorded headers name the principal, but for the two of certificates that are no SVIDs, and a foreign one."""
    sources: list[dict[str, Any]] = []
    for path in sorted(corpora.folder("checkrequests").glob("*.json")):
        attributes = json.loads(path.read_text())["check_request"]["attributes"]
        if XFCC in attributes.get("request", {}).get("http", {}).get("headers", {}):
            sources.append(attributes)
    assert len(sources) == 28
    source = source_of(bundle(DevelopmentCa(DOMAIN, now=NOW)))
    asker = Asker(SpiffeId.parse(f"spiffe://{DOMAIN}/ns/default/sa/envoy"))
    verifier = XfccVerifier(source, Prover(source, cache_entries=10))
    found = [
        who(verifier, worded(each["source"]["principal"], each["request"]["http"]["headers"][XFCC]), asker)
        for each in sources
    ]
    client = f"spiffe://{DOMAIN}/ns/default/sa/client"
    assert found.count(client) == 25
    assert {COUNT, FORM, Reason.TRUST_DOMAIN_UNKNOWN} == {each for each in found if each != client}
