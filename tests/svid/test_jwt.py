"""A JWT-SVID beside the caller's proof: it must be whole, ours, in time, and name the same workload."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from hypothesis import given
from hypothesis import strategies as st

from authz.core.identity import Identity, Proof
from authz.core.reasons import Reason
from authz.core.request import Request
from authz.core.spiffe import SpiffeId
from authz.demo.ca import DevelopmentCa
from authz.jose import MAX_TOKEN_CHARACTERS
from authz.svid.bundles import Bundles, BundleSource, TrustBundle
from authz.svid.jwt import JwtVerifier
from authz.svid.x509 import CertificateVerifier, Prover
from tests.svid.checks import AGENT, AT, DOMAIN, NOW, bundle, found, request, source_of, who
from tests.svid.signing import AUDIENCE, KEY_ID, base64url, claims, encoded, header, token

HEADER = "x-jwt-svid"
LEEWAY_SECONDS = 10.0
CA, FOREIGN = DevelopmentCa(DOMAIN, now=NOW), DevelopmentCa("other.example", now=NOW)
OTHER_AGENT = f"spiffe://{DOMAIN}/agent/research"
KEY, STRANGER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)
WEAK_KEY = rsa.generate_private_key(65537, 1024)  # noqa: S505  its weakness is the point
P384, P521 = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP521R1())
KEYS: dict[str, PublicKeyTypes] = {
    KEY_ID: KEY.public_key(),
    "rsa": RSA_KEY.public_key(),
    "weak": WEAK_KEY.public_key(),
    "p384": P384.public_key(),
    "p521": P521.public_key(),
}
BUNDLE = bundle(CA, keys=KEYS)
CERTIFICATE = CA.mint(AGENT)
GOOD = token(KEY, header(), claims())


def layer(
    source: BundleSource, *, required: bool = False, audiences: frozenset[str] = frozenset({AUDIENCE})
) -> JwtVerifier:
    """The layer around mode `certificate`, with nothing in its caches."""
    return JwtVerifier(
        CertificateVerifier(Prover(source, cache_entries=100)),
        source,
        header=HEADER,
        audiences=audiences,
        leeway_seconds=LEEWAY_SECONDS,
        required=required,
        cache_entries=100,
    )


def sent(*values: str) -> Request:
    """The request of a caller with a correct certificate, with these values in the header of the token."""
    return request(CERTIFICATE.pem, headers={HEADER: values} if values else {})


def told(*values: str, at: float = AT) -> str | Reason:
    """Who a caller is that sends these values."""
    return who(layer(source_of(BUNDLE)), sent(*values), at=at)


@pytest.mark.parametrize("value", [GOOD, f"Bearer {GOOD}", f"bearer {GOOD}", f"BEARER   {GOOD}"])
def test_a_correct_token_of_the_caller_is_accepted(value: str) -> None:
    """Bare or as a bearer's, it leaves the caller who the certificate proves, valid no longer than the token."""
    expected = Identity(SpiffeId.parse(AGENT), Proof.CERTIFICATE, int(AT) + 300 + LEEWAY_SECONDS)
    verifier = layer(source_of(BUNDLE))
    assert [expected] * 2 == [found(verifier, sent(value)) for _ in range(2)]


def test_a_token_proves_nobody_by_itself() -> None:
    """Without the certificate the token of a live workload is worth nothing."""
    assert Reason.IDENTITY_MISSING is who(layer(source_of(BUNDLE)), request("", "", headers={HEADER: (GOOD,)}))


def test_a_token_may_be_required() -> None:
    """Where none is sent, the caller is who it was proven to be, or is refused, as configured."""
    assert who(layer(source_of(BUNDLE)), sent()) == AGENT
    assert Reason.JWT_MISSING is who(layer(source_of(BUNDLE), required=True), sent())
    assert who(layer(source_of(BUNDLE), required=True), sent(GOOD)) == AGENT


@pytest.mark.parametrize("values", [(GOOD, GOOD), (f"{GOOD},{GOOD}",), (f"Bearer {GOOD},Bearer {GOOD}",), (",",)])
def test_one_token_is_sent_or_none(values: tuple[str, ...]) -> None:
    """Two values are refused, kept apart or folded by Envoy, even where they are the same."""
    assert Reason.JWT_REPEATED is told(*values)


def test_no_audience_of_ours_admits_no_token() -> None:
    """Empty means no."""
    assert Reason.JWT_FOR_ANOTHER_AUDIENCE is who(layer(source_of(BUNDLE), audiences=frozenset()), sent(GOOD))


@pytest.mark.parametrize(
    ("key", "head"),
    [
        *[(RSA_KEY, {"alg": f"{kind}{bits}", "kid": "rsa"}) for kind in ("RS", "PS") for bits in (256, 384, 512)],
        (KEY, {"alg": "ES256"}),
        (P384, {"alg": "ES384", "kid": "p384"}),
        (P521, {"alg": "ES512", "kid": "p521"}),
        (KEY, {"typ": "JOSE"}),
        (KEY, {"typ": None}),
    ],
    ids=lambda part: str(part) if isinstance(part, dict) else "",
)
def test_every_algorithm_and_type_of_jwt_svids_is_accepted(key: Any, head: dict[str, Any]) -> None:  # noqa: ANN401  two kinds of key
    """JWT-SVID section 2.1 names nine algorithms, section 2.3 two types, which may be absent."""
    assert told(token(key, header(**head), claims())) == AGENT


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": AUDIENCE},
        {"aud": ["another", AUDIENCE]},
        {"iat": None},
        {"nbf": int(AT)},
        {"exp": AT + 0.5},
        {"iss": "https://issuer.example.org", "jti": "1", "groups": ["a", {"b": None}]},
    ],
    ids=str,
)
def test_what_the_standard_leaves_open_is_accepted(changes: dict[str, Any]) -> None:
    """An audience may stand alone or among others, times may have fractions, and further claims are no matter."""
    assert told(token(KEY, header(), claims(**changes))) == AGENT


BROKEN_HEADERS: list[tuple[Reason, dict[str, Any]]] = [
    *[(Reason.JWT_HEADER_NOT_ALLOWED, {name: 1}) for name in ("jku", "jwk", "x5c", "x5u", "crit", "b64", "cty", "ALG")],
    *[(Reason.JWT_HEADER_NOT_ALLOWED, {"typ": typ}) for typ in ("wit+jwt", "at+jwt", "jwt", "", 1, ["JWT"])],
    *[
        (Reason.JWT_ALGORITHM, {"alg": alg})
        for alg in (None, "none", "None", "", "HS256", "EdDSA", "es256", "ES256K", ["ES256"], 1, {"a": 1})
    ],
    (Reason.JWT_ALGORITHM, {"alg": "ES384"}),  # the key is on another curve
    (Reason.JWT_ALGORITHM, {"alg": "RS256"}),  # the key is no RSA key
    (Reason.JWT_ALGORITHM, {"alg": "ES256", "kid": "rsa"}),
    (Reason.JWT_ALGORITHM, {"alg": "RS256", "kid": "weak"}),
    *[(Reason.JWT_KEY_UNKNOWN, {"kid": kid}) for kid in (None, "", "key-2", "KEY-1", 1, [KEY_ID])],
    (Reason.JWT_UNTRUSTED, {"alg": "RS256", "kid": "rsa"}),  # signed by another key than the one it names
]


@pytest.mark.parametrize(("reason", "head"), BROKEN_HEADERS, ids=str)
def test_a_header_that_breaks_a_rule_is_refused(reason: Reason, head: dict[str, Any]) -> None:
    """JWT-SVID section 2: three fields and no other, the listed algorithms and types, a known key that fits."""
    assert reason is told(token(KEY, header(**head), claims()))


NOW_SECONDS = int(AT)
NO_TIMES: list[Any] = [str(NOW_SECONDS + 300), True, False, [], {}, 10**400, -(10**400)]
BROKEN_CLAIMS: list[tuple[Reason, dict[str, Any]]] = [
    (Reason.JWT_CLAIM_MISSING, {"sub": None}),
    (Reason.JWT_CLAIM_MISSING, {"sub": 1}),
    (Reason.SPIFFE_ID_MALFORMED, {"sub": "invalid subject"}),
    (Reason.SPIFFE_ID_MALFORMED, {"sub": AGENT + "\n"}),
    (Reason.SPIFFE_ID_MALFORMED, {"sub": AGENT.upper()}),
    (Reason.SVID_WITHOUT_PATH, {"sub": f"spiffe://{DOMAIN}"}),
    (Reason.TRUST_DOMAIN_UNKNOWN, {"sub": "spiffe://unknown.example/agent/support"}),
    (Reason.JWT_OF_ANOTHER_WORKLOAD, {"sub": OTHER_AGENT}),
    (Reason.JWT_OF_ANOTHER_WORKLOAD, {"sub": AGENT + "/x"}),
    (Reason.JWT_CLAIM_MISSING, {"aud": None}),
    (Reason.JWT_CLAIM_MISSING, {"aud": []}),
    (Reason.JWT_FOR_ANOTHER_AUDIENCE, {"aud": ["another"]}),
    (Reason.JWT_FOR_ANOTHER_AUDIENCE, {"aud": ""}),
    (Reason.JWT_FOR_ANOTHER_AUDIENCE, {"aud": AUDIENCE.upper()}),
    (Reason.JWT_FOR_ANOTHER_AUDIENCE, {"aud": AUDIENCE[:-1]}),
    (Reason.JWT_MALFORMED, {"aud": [AUDIENCE, 1]}),
    (Reason.JWT_MALFORMED, {"aud": {AUDIENCE: True}}),
    (Reason.JWT_MALFORMED, {"aud": 1}),
    (Reason.JWT_CLAIM_MISSING, {"exp": None}),
    *[(Reason.JWT_MALFORMED, {"exp": value}) for value in NO_TIMES],
    (Reason.JWT_EXPIRED, {"exp": NOW_SECONDS - 10}),
    (Reason.JWT_EXPIRED, {"exp": 0}),
    (Reason.JWT_NOT_YET_VALID, {"nbf": NOW_SECONDS + 11}),
    (Reason.JWT_NOT_YET_VALID, {"iat": NOW_SECONDS + 11}),
    (Reason.JWT_NOT_YET_VALID, {"nbf": 0, "iat": NOW_SECONDS + 11}),
    *[(Reason.JWT_MALFORMED, {name: value}) for name in ("nbf", "iat") for value in NO_TIMES],
]


@pytest.mark.parametrize(("reason", "changes"), BROKEN_CLAIMS, ids=lambda each: str(each)[:60])
def test_claims_that_break_a_rule_are_refused(reason: Reason, changes: dict[str, Any]) -> None:
    """JWT-SVID section 3: a workload we know, meant for us, in time; each of them of the right type."""
    assert reason is told(token(KEY, header(), claims(**changes)))


def test_both_ends_of_a_token_have_the_leeway() -> None:
    """Valid up to, not at, `exp` and the leeway; from `nbf` less the leeway on; whether or not it is remembered."""
    text = token(KEY, header(), claims(nbf=NOW_SECONDS, exp=NOW_SECONDS + 60))
    verifier = layer(source_of(BUNDLE))
    for _ in range(2):
        assert who(verifier, sent(text), at=NOW_SECONDS + 69.9) == AGENT
        assert Reason.JWT_EXPIRED is who(verifier, sent(text), at=NOW_SECONDS + 70)
        assert who(verifier, sent(text), at=NOW_SECONDS - 10) == AGENT
        assert Reason.JWT_NOT_YET_VALID is who(verifier, sent(text), at=NOW_SECONDS - 10.1)


HEAD, BODY, SIGNATURE = GOOD.split(".")
DOUBLED_SUB = f'{{"sub": "{OTHER_AGENT}", {json.dumps(claims())[1:]}'.encode()
DOUBLED_ALG = f'{{"alg": "none", {json.dumps(header())[1:]}'.encode()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("Bearer", id="a scheme alone"),
        pytest.param("Bearer ", id="a scheme and a blank"),
        pytest.param("Basic " + GOOD, id="another scheme"),
        pytest.param("Bearer Bearer " + GOOD, id="a scheme twice"),
        pytest.param("invalid token", id="no token"),
        pytest.param(GOOD + " ", id="a blank behind it"),
        pytest.param(GOOD + "\n", id="a line end behind it"),
        pytest.param(GOOD + ".", id="an empty fourth part"),
        pytest.param(f"{HEAD}.{BODY}.", id="no signature"),
        pytest.param(f"{HEAD}.{BODY}", id="two parts"),
        pytest.param(f"{HEAD}..{SIGNATURE}", id="detached claims"),
        pytest.param(f"{HEAD}.{BODY}.{SIGNATURE}==", id="padding"),
        pytest.param(f"{HEAD}.{BODY}.{SIGNATURE}AAA", id="a length that base64 does not have"),
        pytest.param(f"{HEAD}=.{BODY}.{SIGNATURE}", id="padding in the header"),
        pytest.param(f"{HEAD}.{BODY}.{SIGNATURE[:-1]}é", id="not ASCII"),
        pytest.param(f"{HEAD}.{BODY}.\udcff", id="a lone surrogate"),
        pytest.param(
            json.dumps({"protected": HEAD, "payload": BODY, "signature": SIGNATURE}).replace(",", ";"), id="JSON"
        ),
        pytest.param(token(KEY, b"[]", claims()), id="a header that is a list"),
        pytest.param(token(KEY, header(), b"[]"), id="claims that are a list"),
        pytest.param(token(KEY, header(), b"{"), id="claims that are no JSON"),
        pytest.param(token(KEY, header(), b"\xff\xfe" + "{}".encode("utf-16-le")), id="claims in UTF-16"),
        pytest.param(token(KEY, header(), b"\xef\xbb\xbf" + json.dumps(claims()).encode()), id="a byte order mark"),
        pytest.param(token(KEY, header(), b'{"a":"\xff"}'), id="claims that are not UTF-8"),
        pytest.param(token(KEY, header(), b'{"exp":NaN}'), id="a number that is none"),
        pytest.param(token(KEY, header(), b"[" * 3000), id="claims nested too deep"),
        pytest.param(token(KEY, header(), DOUBLED_SUB), id="a claim given twice"),
        pytest.param(token(KEY, DOUBLED_ALG, claims()), id="a header field given twice"),
        pytest.param(token(KEY, header(), claims(extra="a" * MAX_TOKEN_CHARACTERS)), id="too long"),
    ],
)
def test_what_is_not_a_token_in_compact_form_is_malformed(text: str) -> None:
    """RFC 7515 section 7.1 and RFC 7519 section 4: one form and one reading, and nothing but the token."""
    assert Reason.JWT_MALFORMED is told(text)


def test_unused_bits_of_base64_are_refused() -> None:
    """Of the spellings of one signature that a lax reader would take, one is a token."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    results = [told(GOOD[:-1] + character) for character in alphabet]
    assert results.count(AGENT) == 1
    assert results.count(Reason.JWT_MALFORMED) == 60  # 64 bytes leave four bits of the last character unused


def test_a_token_that_another_signed_is_refused() -> None:
    """Neither a stranger's signature, nor the right one over other claims, nor one of the wrong size counts."""
    assert Reason.JWT_UNTRUSTED is told(token(STRANGER, header(), claims()))
    other = encoded(claims(jti="1"))
    assert Reason.JWT_UNTRUSTED is told(f"{HEAD}.{other}.{SIGNATURE}")
    for size in (1, 63, 64, 65, 128):
        assert Reason.JWT_UNTRUSTED is told(f"{HEAD}.{BODY}.{base64url(bytes(size))}")


def test_the_key_is_of_the_subjects_own_trust_domain() -> None:
    """A key of another domain, or of no bundle for tokens, signs for nobody here, though its id is the same."""
    other_key = bundle(FOREIGN, keys={KEY_ID: STRANGER.public_key(), "theirs": STRANGER.public_key()})
    source = source_of(BUNDLE, other_key)
    assert Reason.JWT_UNTRUSTED is who(layer(source), sent(token(STRANGER, header(), claims())))
    assert Reason.JWT_KEY_UNKNOWN is who(layer(source), sent(token(STRANGER, header(kid="theirs"), claims())))
    assert who(layer(source), sent(GOOD)) == AGENT
    assert Reason.JWT_KEY_UNKNOWN is who(layer(source_of(bundle(CA))), sent(GOOD))


def test_a_removed_key_refuses_its_tokens_at_the_next_check() -> None:
    """Rotation: a remembered token goes with its key, and the new key's token comes with it."""
    source = source_of(BUNDLE)
    verifier = layer(source)
    renewed = token(STRANGER, header(kid="new"), claims())
    assert who(verifier, sent(GOOD)) == AGENT
    assert Reason.JWT_KEY_UNKNOWN is who(verifier, sent(renewed))
    source.replace(Bundles.of([bundle(CA, keys={"new": STRANGER.public_key()})]))
    assert Reason.JWT_KEY_UNKNOWN is who(verifier, sent(GOOD))
    assert who(verifier, sent(renewed)) == AGENT
    source.replace(Bundles.of([bundle(CA, keys={"new": KEY.public_key()})]))
    assert Reason.JWT_UNTRUSTED is who(verifier, sent(renewed))


def test_what_is_remembered_is_bounded_and_holds_no_token() -> None:
    """Of many tokens the last are remembered, by their digest."""
    source = source_of(BUNDLE)
    verifier = layer(source)
    verifier._proven = type(verifier._proven)(2)
    texts = [token(KEY, header(), claims(jti=str(number))) for number in range(5)]
    for text in texts * 2:
        assert who(verifier, sent(text)) == AGENT
        assert len(verifier._proven) <= 2
    assert not any(text in repr(verifier._proven) or SIGNATURE in repr(verifier._proven) for text in texts)


def test_a_bundle_of_tokens_alone_proves_no_certificate() -> None:
    """Keys for tokens are no authorities for certificates (SPIFFE Trust Domain and Bundle, section 4.2.2)."""
    tokens_only = TrustBundle(DOMAIN, (), KEYS)
    assert Reason.SVID_UNTRUSTED is who(layer(source_of(tokens_only)), sent(GOOD))


@given(st.data())
def test_no_change_of_a_token_makes_it_another(data: st.DataObject) -> None:
    """Replace, add or drop characters of a token: it is refused, or it was not changed."""
    place = data.draw(st.integers(0, len(GOOD)))
    dropped = data.draw(st.integers(0, 3))
    put = data.draw(st.text('ABCDwxyz019-_.=+/ \n{}"' + "é", max_size=3) | st.text(max_size=3))
    text = GOOD[:place] + put + GOOD[place + dropped :]
    assert isinstance(told(text), Reason) or text == GOOD or text.lower().startswith("bearer ")


@given(
    st.dictionaries(
        st.sampled_from(["sub", "aud", "exp", "nbf", "iat"]),
        st.none() | st.booleans() | st.floats() | st.text() | st.lists(st.text()),
    )
)
def test_no_claims_prove_another_workload_or_a_fault(changes: Mapping[str, Any]) -> None:
    """Whatever an authority signs, the caller stays who the certificate proves, or is refused."""
    body = json.dumps({**claims(), **changes}).encode()
    assert told(token(KEY, header(), body)) in {AGENT, *Reason}


@pytest.mark.parametrize(("first", "second"), [*itertools.product(["", "x"], repeat=2)])
def test_a_tokens_subject_is_compared_whole(first: str, second: str) -> None:
    """A caller and a token agree where their SPIFFE IDs are the same to the last character."""
    certificate = CA.mint(AGENT + first)
    caller = replace(
        request(certificate.pem, AGENT + first), headers={HEADER: (token(KEY, header(), claims(sub=AGENT + second)),)}
    )
    expected = AGENT + first if first == second else Reason.JWT_OF_ANOTHER_WORKLOAD
    assert expected == who(layer(source_of(BUNDLE)), caller)
