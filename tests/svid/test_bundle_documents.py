"""Bundle documents are read as SPIFFE publishes them; what is unknown is ignored, what is broken refuses the whole."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey, RSAKey

from authz.core.errors import Unusable
from authz.core.reasons import Reason
from authz.demo.ca import DevelopmentCa
from authz.svid.bundle_documents import BundleDocument, load_bundle_file, parse_bundle_document
from authz.svid.bundles import NotATrustBundle, TrustBundle
from tests.svid.checks import AGENT, DOMAIN, NOW, der_of, judge, verifier

CA = DevelopmentCa(DOMAIN, now=NOW)
RSA_CA = DevelopmentCa(DOMAIN, now=NOW, key=rsa.generate_private_key(65537, 2048))
KEY, SECOND = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)
PRIVATE = ECKey.import_key(KEY).as_dict(private=True)


def jwk(key: Any) -> dict[str, Any]:  # noqa: ANN401  two kinds of key
    """The key's own members."""
    made = RSAKey.import_key(key) if isinstance(key, rsa.RSAPublicKey) else ECKey.import_key(key)
    return dict(made.as_dict())


def x509_key(authority: DevelopmentCa, **changes: Any) -> dict[str, Any]:  # noqa: ANN401  members have many types
    """The entry of an authority, or as changed."""
    encoded = base64.b64encode(der_of(authority.root)).decode()
    return {"use": "x509-svid", **jwk(authority.root.public_key()), "x5c": [encoded], **changes}


def jwt_key(kid: str | None = "key-1", key: Any = None, **changes: Any) -> dict[str, Any]:  # noqa: ANN401  as above
    """The entry of a key for tokens, or as changed."""
    named = {} if kid is None else {"kid": kid}
    return {"use": "jwt-svid", **named, **jwk(key or KEY.public_key()), **changes}


def document(*keys: Any, **more: Any) -> bytes:  # noqa: ANN401  as above
    """A bundle document with these entries."""
    return json.dumps({"keys": list(keys), **more}).encode()


def parsed(*keys: Any) -> TrustBundle:  # noqa: ANN401  as above
    """The bundle of these entries."""
    return parse_bundle_document(DOMAIN, document(*keys)).bundle


def test_a_document_is_a_bundle_with_what_its_publisher_says() -> None:
    """Authorities in their order, keys by their ids, the sequence and the hint when to look again."""
    keys: dict[str, PublicKeyTypes] = {"key-1": KEY.public_key(), "key-2": SECOND.public_key()}
    expected = BundleDocument(TrustBundle(DOMAIN, (CA.root, RSA_CA.root), keys), 2**63, 300)
    entries = (x509_key(CA), x509_key(RSA_CA), jwt_key(), jwt_key("key-2", SECOND.public_key()))
    written = document(*entries, spiffe_sequence=2**63, spiffe_refresh_hint=300)
    assert expected == parse_bundle_document(DOMAIN, written)
    assert judge(verifier(expected.bundle), CA.mint(AGENT).pem) == AGENT


@pytest.mark.parametrize(
    "ignored",
    [
        {},
        jwt_key(use="wit-svid"),
        jwt_key("key-2", use="JWT-SVID"),
        {key: value for key, value in jwt_key("key-2").items() if key != "use"},
        {key: value for key, value in jwt_key("key-2").items() if key != "kty"},
        {"use": "jwt-svid", "kid": "key-2", **OKPKey.generate_key("Ed25519").as_dict(private=False)},
        {"use": "jwt-svid", "kid": "key-2", "kty": "oct", "k": "AAAA"},
        {"use": "jwt-svid", "kid": "key-2", "kty": ["EC"]},
        x509_key(RSA_CA, x5c=[]),
        x509_key(RSA_CA, x5c="text"),
        {key: value for key, value in x509_key(RSA_CA).items() if key != "x5c"},
    ],
    ids=lambda entry: "-".join(sorted(entry)),  # keys are made anew in each process, so names alone tell
)
def test_what_is_unknown_is_ignored(ignored: dict[str, Any]) -> None:
    """SPIFFE Trust Domain and Bundle 4.2: entries of other types or uses, or without a certificate, say nothing."""
    assert TrustBundle(DOMAIN, (CA.root,), {"key-1": KEY.public_key()}) == parsed(ignored, x509_key(CA), jwt_key())
    with pytest.raises(NotATrustBundle, match="no authority"):
        parsed(ignored)


def test_all_but_the_first_certificate_of_an_entry_are_ignored() -> None:
    """Section 4.2.2: an authority behind the first gets no trust, and need not even be a certificate."""
    encoded = x509_key(CA)["x5c"] + x509_key(RSA_CA)["x5c"] + [1]
    assert TrustBundle(DOMAIN, (CA.root,)) == parsed(x509_key(CA, x5c=encoded))


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        ([x509_key(CA, x5c=["!"])], "not base64"),
        ([x509_key(CA, x5c=[1])], "no text"),
        ([x509_key(CA, x5c=["AAAA"])], "cannot be read"),
        ([x509_key(CA, x5c=x509_key(RSA_CA)["x5c"])], "not that of its certificate"),
        ([x509_key(CA, x=None)], "has the members"),
        ([x509_key(CA, crv="P-384")], "key"),
        ([jwt_key(None)], "has a kid"),
        ([jwt_key("")], "has a kid"),
        ([jwt_key(), jwt_key()], "two jwt-svid keys"),
        ([jwt_key(crv="secp256k1")], "unknown curve"),
        ([jwt_key(x="AAAA")], "cannot be read"),
        ([jwt_key(y=1)], "has the members"),
        ([jwt_key("key-1", SECOND.public_key(), n="")], "cannot be read"),
        ([jwt_key(d=PRIVATE["d"])], "private"),
        ([x509_key(DevelopmentCa(DOMAIN, now=NOW)), "text"], "list of objects"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_broken_key_refuses_the_document(keys: list[Any], what: str) -> None:
    """A key of a known use that cannot be read is told with what is wrong, and none of the document counts."""
    with pytest.raises(NotATrustBundle, match=what):
        parsed(x509_key(CA), *keys)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"keys": null}',
        b'{"keys": {}}',
        b'{"keys": []}',
        b'{"keys": [], "keys": []}',
        document(x509_key(CA)).replace(b'"use"', b'"use": "x509-svid", "use"', 1),
        document(x509_key(CA), spiffe_sequence="1"),
        document(x509_key(CA), spiffe_sequence=-1),
        document(x509_key(CA), spiffe_refresh_hint=1.5),
        document(x509_key(CA), spiffe_refresh_hint=True),
        document(x509_key(CA)).decode().encode("utf-16"),
        b"[" * 100_000,
    ],
)
def test_what_is_no_document_is_refused(content: bytes) -> None:
    """No keys, a member given twice at any depth, numbers that are none: refused, not half understood."""
    with pytest.raises(NotATrustBundle):
        parse_bundle_document(DOMAIN, content)


def test_a_file_is_read_as_what_it_holds(tmp_path: Path) -> None:
    """The same bundle comes of a PEM file and of a document, whatever the file is called."""
    path = tmp_path / "bundle"
    for content in (CA.bundle_pem.encode(), document(x509_key(CA)), b"\n " + document(x509_key(CA))):
        path.write_bytes(content)
        assert TrustBundle(DOMAIN, (CA.root,)) == load_bundle_file(DOMAIN, path)


@pytest.mark.parametrize("content", [document(), document(jwt_key(None)), b"{", document(x509_key(CA))])
def test_an_unusable_document_is_told_with_file_and_remedy(tmp_path: Path, content: bytes) -> None:
    """The operator learns which file, whose bundle, what is wrong and what to do."""
    path = tmp_path / "bundle.json"
    path.write_bytes(content)
    with pytest.raises(Unusable) as unusable:
        load_bundle_file("Example.org", path)
    (problem,) = unusable.value.problems
    assert path == problem.place.file
    assert "Example.org" in problem.what
    assert problem.remedy


def test_keys_for_tokens_are_no_authorities() -> None:
    """A certificate beside a jwt-svid key vouches for no certificate."""
    entry = jwt_key("key-1", CA.root.public_key(), x5c=x509_key(CA)["x5c"])
    assert parsed(entry).authorities == ()
    assert Reason.SVID_UNTRUSTED is judge(verifier(parsed(entry)), CA.mint(AGENT).pem)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40)
@given(
    st.dictionaries(st.sampled_from(["use", "kty", "crv", "x", "y", "n", "e", "x5c", "kid", "d"]), JSON), st.booleans()
)
def test_any_entry_ends_in_a_bundle_or_a_refusal(changes: dict[str, Any], is_x509: bool) -> None:  # noqa: FBT001  drawn
    """No entry is a fault, and none adds an authority that was not published."""
    entry = {**(x509_key(CA) if is_x509 else jwt_key()), **changes}
    try:
        found = parsed(entry)
    except NotATrustBundle:
        return
    assert set(found.authorities) <= {CA.root}


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps({"keys": value}).encode()))
def test_any_bytes_are_a_document_or_refused(content: bytes) -> None:
    """No bytes are a fault, and no made-up ones are a bundle."""
    with pytest.raises(NotATrustBundle):
        parse_bundle_document(DOMAIN, content)
