"""`authz identity`: the server's own judgement of an ID or a certificate, for whoever sets up a mesh."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from authz.demo.ca import Certificate, DevelopmentCa
from tests.support.commands import authz

AGENT = "spiffe://example.org/agent/support"


@dataclass(frozen=True)
class Files:
    """An authority, one below it, and what they issued, on disk."""

    folder: Path
    root: DevelopmentCa
    middle: DevelopmentCa

    def put(self, name: str, text: str) -> Path:
        """A file with that text."""
        (self.folder / name).write_text(text)
        return self.folder / name

    def verify(self, certificate: Certificate, *more: object, bundle: str = "example.org=") -> list[object]:
        """The command that verifies a certificate against the root."""
        path = self.put("leaf.pem", certificate.pem)
        return ["identity", "verify", "--cert", path, "--bundle", f"{bundle}{self.folder / 'bundle.pem'}", *more]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """The files of one trust domain."""
    root = DevelopmentCa("example.org")
    (tmp_path / "bundle.pem").write_text(root.bundle_pem)
    return Files(tmp_path, root, DevelopmentCa("example.org", parent=root))


def test_a_spiffe_id_is_told_in_its_parts() -> None:
    """Exit status 0, trust domain and path, for people and as JSON."""
    told = authz("identity", "parse", AGENT)
    assert told.status == 0
    assert [line.split()[-1] for line in told.out.splitlines()] == [AGENT, "example.org", "/agent/support"]
    expected = {"spiffe_id": AGENT, "trust_domain": "example.org", "path": "/agent/support"}
    assert expected == json.loads(authz("identity", "parse", "--json", AGENT).out)


@pytest.mark.parametrize("text", ["", "-x", "spiffe://Example.org/a", AGENT + "\n", AGENT + "/..", "\udcff"])
def test_what_is_no_spiffe_id_is_told_with_its_rule(text: str) -> None:
    """Exit status 1 and the rule that is broken, also for an ID that looks like an option."""
    told = authz("identity", "parse", "--json", "--", text)
    assert told.status == 1
    found = json.loads(told.out)
    assert found["reason"] == "spiffe_id_malformed"
    assert found["detail"]


def test_a_correct_svid_is_proven(files: Files) -> None:
    """Exit status 0, the identity, and until when it holds."""
    certificate = files.root.mint(AGENT)
    told = authz(*files.verify(certificate))
    assert told.status == 0, told.out
    assert [line.split()[-1] for line in told.out.splitlines()[:2]] == [AGENT, "certificate"]
    found = json.loads(authz(*files.verify(certificate, "--json")).out)
    until = certificate.certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert {"spiffe_id": AGENT, "proof": "certificate", "valid_until": until} == found


@pytest.mark.parametrize(
    ("uris", "at", "reason"),
    [
        ((AGENT, AGENT), None, "svid_uri_san_count"),
        (("spiffe://example.org",), None, "svid_without_path"),
        (("spiffe://other.example/agent",), None, "trust_domain_unknown"),
        ((AGENT,), "2999-01-01T00:00:00Z", "svid_expired"),
    ],
)
def test_a_wrong_svid_is_refused_for_the_servers_reason(
    files: Files, uris: tuple[str, ...], at: str | None, reason: str
) -> None:
    """Exit status 1 and the reason that a hop of this caller would be denied for."""
    moment = ["--at", at] if at else []
    told = authz(*files.verify(files.root.mint(*uris), "--json", *moment))
    assert told.status == 1
    assert reason == json.loads(told.out)["reason"]


def test_a_chain_leads_to_the_bundle(files: Files) -> None:
    """The leaf of an intermediate is proven with its chain, and untrusted without."""
    certificate = files.middle.mint(AGENT)
    chain = files.put("chain.pem", certificate.chain_pem)
    assert authz(*files.verify(certificate, "--chain", chain)).status == 0
    told = authz(*files.verify(certificate))
    assert told.status == 1
    assert "svid_untrusted" in told.out


def test_what_cannot_be_read_is_told(files: Files) -> None:
    """Exit status 2, and every file that is missing, is none, or is no bundle, with a remedy."""
    certificate = files.root.mint(AGENT)
    told = authz(*files.verify(certificate, "--chain", files.folder / "nowhere.pem", "--bundle", "b.example=none.pem"))
    assert told.status == 2
    assert "nowhere.pem" in told.err
    assert "none.pem" in told.err
    (files.folder / "bundle.pem").write_text(certificate.pem)
    told = authz(*files.verify(certificate))
    assert told.status == 2
    assert "lack cA" in told.err
    binary = files.folder / "leaf.der"
    binary.write_bytes(b"\x30\x82\xff")
    assert authz("identity", "verify", "--cert", binary, "--bundle", "a=leaf.der").status == 2


@pytest.mark.parametrize("bundle", ["", "=", "example.org", "Example.org=", "example.org=bundle.pem,example.org="])
def test_a_bundle_is_named_with_its_trust_domain(files: Files, bundle: str) -> None:
    """Exit status 2 for a bundle that is not of one trust domain."""
    certificate = files.put("leaf.pem", files.root.mint(AGENT).pem)
    assert authz("identity", "verify", "--cert", certificate, "--bundle", bundle).status == 2
    twice = ["--bundle", f"example.org={files.folder / 'bundle.pem'}"] * 2
    told = authz("identity", "verify", "--cert", certificate, *twice)
    assert told.status == 2
    assert "never merged" in told.err
