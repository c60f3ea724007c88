"""Bundle files are read whole or refused with their place, and each trust domain keeps its own authorities."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from authz.core.errors import Refused, Unusable
from authz.core.reasons import Reason
from authz.demo.ca import DevelopmentCa, key_usage
from authz.svid.bundle_documents import load_bundle_file
from authz.svid.bundles import Bundles, BundleSource, NotATrustBundle, TrustBundle
from tests.svid.checks import AGENT, DOMAIN, NOW, bundle, der_of, pem_of

CA, SECOND = DevelopmentCa(DOMAIN, now=NOW), DevelopmentCa(DOMAIN, now=NOW)
FOREIGN = DevelopmentCa("evil.example", now=NOW)
LEAF = CA.mint(AGENT)
NO_SIGNER = DevelopmentCa(DOMAIN, now=NOW, usage=key_usage(crl_sign=True))

SECOND_LINE = len(CA.bundle_pem.splitlines()) + 1  # where a second certificate begins


def written(folder: Path, content: str | bytes) -> Path:
    """A bundle file with that content."""
    path = folder / "bundle.pem"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_file_of_ca_certificates_is_a_bundle(tmp_path: Path) -> None:
    """One certificate or several, with any text between them, become the authorities in their order."""
    text = f"# the old one\n{CA.bundle_pem}\n# the new one\r\n{SECOND.bundle_pem}"
    assert TrustBundle(DOMAIN, (CA.root, SECOND.root)) == load_bundle_file(DOMAIN, written(tmp_path, text))
    assert TrustBundle(DOMAIN, (CA.root,)) == load_bundle_file(DOMAIN, written(tmp_path, CA.bundle_pem.encode()))


@pytest.mark.parametrize(
    ("content", "what", "line"),
    [
        pytest.param("", "no PEM certificate", 0, id="empty"),
        pytest.param("spiffe://example.org\n", "no PEM certificate", 0, id="not PEM"),
        pytest.param(der_of(CA.root), "no PEM certificate", 0, id="DER"),
        pytest.param(LEAF.key_pem, "no PEM certificate", 0, id="a private key"),
        pytest.param(
            CA.bundle_pem + LEAF.pem, "lack cA", SECOND_LINE, id="a workload's certificate behind an authority"
        ),
        pytest.param(
            "\n" + pem_of(der_of(NO_SIGNER.root)), "lacks keyCertSign", 2, id="an authority that may not sign"
        ),
        pytest.param(CA.bundle_pem[:200], "cannot be read", 1, id="cut off"),
        pytest.param(
            CA.bundle_pem + SECOND.bundle_pem[:-30], "cannot be read", SECOND_LINE, id="the second one cut off"
        ),
        pytest.param(CA.bundle_pem[:200] + SECOND.bundle_pem, "cannot be read", 1, id="the first one cut off"),
        pytest.param(pem_of(der_of(CA.root)[:-1]), "cannot be read", 1, id="a byte too few"),
        pytest.param(CA.bundle_pem.replace("CERTIFICATE", "TRUSTED CERTIFICATE"), "cannot be read", 1, id="OpenSSL's"),
    ],
)
def test_a_file_that_is_no_bundle_is_refused_with_its_place(
    tmp_path: Path, content: str | bytes, what: str, line: int
) -> None:
    """The operator is told the file, the line where the certificate begins, what is wrong, and what to do."""
    path = written(tmp_path, content)
    with pytest.raises(Unusable) as unusable:
        load_bundle_file(DOMAIN, path)
    (problem,) = unusable.value.problems
    assert (path, line) == (problem.place.file, problem.place.line)
    assert what in problem.what
    assert problem.remedy


def test_every_wrong_certificate_is_named(tmp_path: Path) -> None:
    """All that is wrong with a file is said at once."""
    with pytest.raises(Unusable) as unusable:
        load_bundle_file(DOMAIN, written(tmp_path, LEAF.pem + CA.bundle_pem + LEAF.pem))
    assert [1, len((LEAF.pem + CA.bundle_pem).splitlines()) + 1] == [
        problem.place.line for problem in unusable.value.problems
    ]


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """No file, and a folder in its place, are problems with a cause, not faults."""
    for path in (tmp_path / "nowhere.pem", tmp_path):
        with pytest.raises(Unusable, match="cannot be read"):
            load_bundle_file(DOMAIN, path)


def test_a_bundle_is_of_a_trust_domain(tmp_path: Path) -> None:
    """A name that is no trust domain has no bundle."""
    with pytest.raises(Unusable, match="lower-case"):
        load_bundle_file("Example.org", written(tmp_path, CA.bundle_pem))


def test_a_bundle_holds_an_authority_and_nothing_else() -> None:
    """However a bundle is made, it is refused without an authority, and with a certificate that is none."""
    for authorities in ((), (LEAF.certificate,), (CA.root, LEAF.certificate), (NO_SIGNER.root,)):
        with pytest.raises(NotATrustBundle):
            TrustBundle(DOMAIN, authorities)


def test_bundles_are_never_merged() -> None:
    """Two bundles for one trust domain are refused, and each domain is given its own authorities alone."""
    with pytest.raises(ValueError, match="two bundles"):
        Bundles.of([bundle(CA), bundle(SECOND)])
    both = Bundles.of([bundle(CA), bundle(FOREIGN)])
    assert bundle(CA) == both.of_trust_domain(DOMAIN)
    assert bundle(FOREIGN) == both.of_trust_domain("evil.example")


@pytest.mark.parametrize("name", ["", "example.or", "example.org.", "EXAMPLE.ORG", "sub.example.org"])
def test_a_trust_domain_has_a_bundle_under_its_exact_name(name: str) -> None:
    """No other spelling, parent or child of a trust domain shares its bundle."""
    with pytest.raises(Refused) as refused:
        Bundles.of([bundle(CA)]).of_trust_domain(name)
    assert refused.value.reason is Reason.TRUST_DOMAIN_UNKNOWN


def test_the_version_tells_contents_apart() -> None:
    """Snapshots have one version exactly where every trust domain has the same authorities."""
    snapshots = [
        [],
        [bundle(CA)],
        [bundle(SECOND)],
        [bundle(CA, SECOND)],
        [bundle(CA), bundle(FOREIGN)],
        [bundle(FOREIGN)],
        [TrustBundle("evil.example", (CA.root,))],
        [bundle(CA), TrustBundle("evil.example", (FOREIGN.root, SECOND.root))],
        [bundle(CA, SECOND), bundle(FOREIGN)],
    ]
    key, other = (ec.generate_private_key(ec.SECP256R1()).public_key() for _ in range(2))
    snapshots += [[bundle(CA, keys=keys)] for keys in ({"a": key}, {"b": key}, {"a": other}, {"a": key, "b": other})]
    snapshots += [[TrustBundle(DOMAIN, (), {"a": key})]]
    versions = [Bundles.of(each).version for each in snapshots]
    assert len(set(versions)) == len(snapshots)
    assert versions == [Bundles.of(reversed(each)).version for each in snapshots]


def test_the_version_tells_what_is_stale_apart() -> None:
    """What was proven while a trust domain was fresh is forgotten when it no longer is."""
    versions = {Bundles.of([bundle(CA)], stale=stale).version for stale in ((), (DOMAIN,), ("a", "b"), ("ab",))}
    assert len(versions) == 4
    with pytest.raises(Refused) as refused:
        Bundles.of([bundle(CA)], stale=[DOMAIN]).of_trust_domain(DOMAIN)
    assert refused.value.reason is Reason.TRUST_BUNDLES_STALE


def test_a_snapshot_does_not_change() -> None:
    """Whoever took a snapshot keeps it, whatever happens to the source and to what it was made from."""
    made_from = [bundle(CA)]
    source = BundleSource(Bundles.of(made_from))
    taken = source.current(0)
    made_from.append(bundle(FOREIGN))
    source.replace(Bundles.of(made_from))
    assert {DOMAIN} == set(taken.by_trust_domain)
    assert {DOMAIN, "evil.example"} == set(source.current(0).by_trust_domain)
    with pytest.raises(TypeError):
        taken.by_trust_domain["evil.example"] = bundle(FOREIGN)  # type: ignore[index]  # that it cannot be done is the point
