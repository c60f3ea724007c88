"""Certificates that nobody here made: Envoy's own recordings, and the fixtures of four SPIFFE implementations."""

import datetime as dt
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from authz.core.errors import Unusable
from authz.core.reasons import Reason
from authz.demo.ca import DevelopmentCa
from authz.svid.bundle_documents import load_bundle_file
from authz.svid.bundles import NotATrustBundle, TrustBundle
from authz.svid.certificates import UnverifiedCertificate, Window, parse_certificate, split_pem
from authz.svid.paths import validate_path
from tests.support import corpora
from tests.support.refusals import outcome
from tests.svid.checks import DOMAIN, bundle, found, judge, pem_of, request, verifier

CAPTURED_AT = dt.datetime(2026, 11, 22, 15, 24, tzinfo=dt.UTC)
COUNT, FORM, USAGE = Reason.SVID_URI_SAN_COUNT, Reason.SPIFFE_ID_MALFORMED, Reason.SVID_KEY_USAGE

# For each recording: the reason for the certificate as it is, and what comes of its names in a certificate that is
# right otherwise. None of the recorded certificates has a key usage, so none of them is an X509-SVID.
CAPTURED: dict[str, tuple[Reason, str | Reason]] = {
    "one_uri": (USAGE, "spiffe://td.test/agent-a"),
    "two_uris": (COUNT, COUNT),
    "two_uris_swapped": (COUNT, COUNT),
    "dns_only": (COUNT, COUNT),
    "dns_looks_like_spiffe": (COUNT, COUNT),
    "no_san_cn_spiffe": (COUNT, COUNT),
    "uri_other_td": (USAGE, Reason.TRUST_DOMAIN_UNKNOWN),
    "uri_upper": (FORM, FORM),
    "uri_query": (FORM, FORM),
    "uri_dotdot": (FORM, FORM),
    "uri_comma": (FORM, FORM),
    "uri_quote_semicolon": (FORM, FORM),
    "uri_and_dns": (USAGE, "spiffe://td.test/agent-a"),
    "ca_true_leaf": (Reason.SVID_IS_CA, Reason.SVID_IS_CA),
}


def captured() -> tuple[str, dict[str, dict[str, Any]]]:
    """The authority that Envoy trusted, and the cases by name."""
    recorded = json.loads((corpora.folder("envoy-captured") / "mtls_checkrequests.json").read_text())
    return recorded["trusted_ca_pem"], {each["case"]: each for each in recorded["cases"]}


@pytest.mark.parametrize("name", CAPTURED)
def test_a_caller_that_envoy_let_through_is_judged_again(name: str, tmp_path: Path) -> None:
    """All 14 certificates that a real Envoy accepted and named a principal of are refused, each for its own reason."""
    authority_pem, cases = captured()
    assert set(CAPTURED) == set(cases)
    (tmp_path / "bundle.pem").write_text(authority_pem)
    caller = verifier(load_bundle_file("td.test", tmp_path / "bundle.pem"))
    source = cases[name]["check_request"]["attributes"]["source"]
    sent = replace(request("", source["principal"]), unverified_certificate=source["certificate"])
    assert CAPTURED[name][0] is found(caller, sent, at=CAPTURED_AT.timestamp())


@pytest.mark.parametrize("name", CAPTURED)
def test_names_that_envoy_let_through_are_judged_again(name: str) -> None:
    """The same 14 sets of names, in certificates that are right otherwise, prove an ID only where there is just one."""
    case = captured()[1][name]
    kinds = [entry.partition(":")[::2] for entry in case["sans"]]
    uris = [value for kind, value in kinds if kind == "UniformResourceIdentifier"]
    dns = tuple(value for kind, value in kinds if kind == "DNSName")
    authority = DevelopmentCa("td.test", now=CAPTURED_AT)
    certificate = authority.mint(*uris, dns=dns, subject=case["subject_cn"], ca=name == "ca_true_leaf")
    principal = case["check_request"]["attributes"]["source"]["principal"]
    assert CAPTURED[name][1] == judge(
        verifier(bundle(authority)), certificate.pem, principal, at=CAPTURED_AT.timestamp()
    )


STRANGER = DevelopmentCa(DOMAIN, now=dt.datetime(2020, 1, 1, tzinfo=dt.UTC), lifetime=dt.timedelta(days=20_000))

# The first certificate of each file, judged while it is valid, by a verifier that knows its trust domain example.org
# but not its authority. Untrusted is as far as a certificate of the right form can come.
FORMS = {
    "*/good-leaf-*.pem": Reason.SVID_UNTRUSTED,
    "java/*/good-leaf-*.pem": Reason.SVID_UNTRUSTED,
    "java/internal/cert.pem": Reason.SVID_UNTRUSTED,
    "java/internal/cert2.pem": Reason.TRUST_DOMAIN_UNKNOWN,  # spiffe://other.org/test
    "java/certs/*.crt.der": Reason.TRUST_DOMAIN_UNKNOWN,  # spiffe://test/a and others
    "java/workloadapi/svid.der": Reason.SVID_UNTRUSTED,
    "java/x509svid/cert.der": Reason.SVID_UNTRUSTED,
    "py_svid/1-chain.der": Reason.SVID_UNTRUSTED,
    "py_svid/2-chain.pem": Reason.SVID_UNTRUSTED,
    "py_svid/3-good-leaf-only.pem": Reason.SVID_UNTRUSTED,
    "py_svid/4-cert.der": Reason.SVID_UNTRUSTED,
    "rust/svid/x509/*-svid-chain.der": Reason.SVID_UNTRUSTED,
    "rust/svid/x509/svid-with-dns.der": Reason.SVID_UNTRUSTED,
    "rust/svid/x509/empty-subject-name.der": USAGE,  # the key usage is not critical
    "rust_rustls/spiffe_leaf.der": Reason.SVID_UNTRUSTED,
    "rust_rustls/spiffe_leaf_uri_only.der": Reason.SVID_UNTRUSTED,
    "rust_rustls/spiffe_leaf_no_*.der": USAGE,
    "rust_rustls/no_spiffe_leaf.der": COUNT,
    "rust_rustls/ca.der": COUNT,  # authorities may have no ID
    "rust_rustls/ca_uri_only.der": COUNT,
    "rust_rustls/ca_with_spiffe_signing.der": Reason.SVID_IS_CA,
    "**/wrong-intermediate-*": Reason.SVID_UNTRUSTED,  # the leaf before the intermediate is right
    "**/wrong-leaf-ca-true.*": Reason.SVID_IS_CA,
    "**/wrong-leaf-c*-sign.*": USAGE,
    "**/wrong-leaf-no-digital-signature.*": USAGE,
    "**/wrong-*empty-*id.*": COUNT,
    "**/corrupt-cert.pem": Reason.CERTIFICATE_MALFORMED,
    "**/corrupted*": Reason.CERTIFICATE_MALFORMED,
    "**/not-pem*": Reason.CERTIFICATE_MALFORMED,
}


def pems(file: Path) -> list[str]:
    """The certificates of a file, be they PEM or DER one behind the other."""
    content = file.read_bytes()
    if file.suffix != ".der":
        return [part.decode() for _, part in split_pem(content)] or [content.decode()]
    certificates = []
    while content:
        length = 4 + int.from_bytes(content[2:4], "big")  # a sequence of 256 to 65535 bytes
        certificates.append(pem_of(content[:length]))
        content = content[length:]
    return certificates


def files(pattern: str) -> list[Path]:
    """The files of the corpus that the pattern names, of which there must be one."""
    matching = sorted(corpora.folder("spiffe-x509").glob(pattern))
    assert matching
    return matching


@pytest.mark.parametrize("pattern", FORMS)
def test_the_form_of_other_implementations_leaves_is_judged_right(pattern: str) -> None:
    """Leaves of go-spiffe, java-spiffe, py-spiffe and rust-spiffe fail for the rule they were made to break."""
    for file in files(pattern):
        pem = pems(file)[0]
        at = 0.0 if FORMS[pattern] is Reason.CERTIFICATE_MALFORMED else leaf_of(pem).window.begins_unix_seconds
        assert (file, FORMS[pattern]) == (file, judge(verifier(bundle(STRANGER)), pem, "", at=at))


def leaf_of(pem: str) -> UnverifiedCertificate:
    """The certificate, read."""
    return parse_certificate(pem.encode())


@pytest.mark.parametrize("pattern", [pattern for pattern, reason in FORMS.items() if reason is Reason.SVID_UNTRUSTED])
def test_leaves_of_the_right_form_expire(pattern: str) -> None:
    """The same leaves are expired once their time is over, and not yet valid before it began."""
    for file in files(pattern):
        pem, caller = pems(file)[0], verifier(bundle(STRANGER))
        window = leaf_of(pem).window
        assert Reason.SVID_EXPIRED is judge(caller, pem, at=window.ends_unix_seconds + 1)
        assert Reason.SVID_NOT_YET_VALID is judge(caller, pem, at=window.begins_unix_seconds - 1)


@pytest.mark.parametrize(
    ("leaf", "authority"), [("spiffe_leaf.der", "ca.der"), ("spiffe_leaf_uri_only.der", "ca_uri_only.der")]
)
def test_a_leaf_that_another_implementation_believes_is_believed(leaf: str, authority: str) -> None:
    """The leaves that rust-spiffe accepts under these authorities are accepted, and the identity is theirs."""
    (leaf_file,), (authority_file,) = files(f"rust_rustls/{leaf}"), files(f"rust_rustls/{authority}")
    caller = verifier(TrustBundle(DOMAIN, (leaf_of(pems(authority_file)[0]).parsed,)))
    at = dt.datetime(2026, 6, 1, tzinfo=dt.UTC).timestamp()
    expected = "spiffe://example.org/service"
    assert expected == judge(caller, pems(leaf_file)[0], expected, at=at)


def test_a_chain_that_another_implementation_made_leads_to_its_root() -> None:
    """go-spiffe's leaf and intermediate are valid under the root that signed them, and under no other."""
    (chain_file,), (root_file,) = files("go_svid/good-leaf-and-*.pem"), files("java/workloadapi/federated-bundle.pem")
    leaf, intermediate = map(leaf_of, pems(chain_file))
    root = TrustBundle(DOMAIN, (leaf_of(pems(root_file)[0]).parsed,))
    at = dt.datetime(2020, 3, 24, 14, 30, tzinfo=dt.UTC).timestamp()
    assert leaf.window == validate_path(leaf, [intermediate], root, at)
    for intermediates, anchors in (([], root), ([intermediate], bundle(STRANGER))):
        window: Window | Reason = outcome(partial(validate_path, leaf, intermediates, anchors, at))
        assert window is Reason.SVID_UNTRUSTED


@pytest.mark.parametrize(
    "pattern",
    ["java/internal/bundle.pem", "java/workloadapi/*bundle.*[mr]", "py_bundle/fed*.der", "rust_rustls/ca*.der"],
)
def test_other_implementations_authorities_are_authorities(pattern: str) -> None:
    """The roots of early SPIRE servers, with serial number zero, and of rust-spiffe can be a bundle."""
    for file in files(pattern):
        authorities = tuple(leaf_of(pem).parsed for pem in pems(file))
        assert authorities == TrustBundle(DOMAIN, authorities).authorities


@pytest.mark.parametrize("pattern", ["**/*bundle/corrupted.pem", "**/*bundle/empty.pem", "**/*bundle/not-pem*"])
def test_other_implementations_broken_bundles_are_refused(pattern: str) -> None:
    """The broken bundle files of go-spiffe, java-spiffe and py-spiffe are no bundles."""
    for file in files(pattern):
        with pytest.raises(Unusable):
            load_bundle_file(DOMAIN, file)


@pytest.mark.parametrize("pattern", ["**/*bundle/cert.pem", "**/*bundle/certs.pem"])
def test_bundles_of_version_1_certificates_are_refused(pattern: str) -> None:
    """X509-SVID section 4.1: an authority has cA. Version 1 has no extensions, although others read it as a bundle."""
    for file in files(pattern):
        with pytest.raises(Unusable, match="lack cA"):
            load_bundle_file(DOMAIN, file)


@pytest.mark.parametrize("pattern", ["**/wrong-intermediate-*"])
def test_other_implementations_wrong_intermediates_are_no_authorities(pattern: str) -> None:
    """A signing certificate without cA, or without keyCertSign, cannot be in a bundle."""
    for file in files(pattern):
        with pytest.raises(NotATrustBundle, match="is not of an authority"):
            TrustBundle(DOMAIN, (leaf_of(pems(file)[1]).parsed,))
