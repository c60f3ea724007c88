"""`authz policy bundle`, `bundle-key`, `bundle-verify`: from a folder to what a server takes, on the command line."""

import hashlib
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.bundles import Draft, jwks, packed, publishing
from tests.support.commands import Ended, authz
from tests.support.world import POLICIES, World

CASES = """\
config: authz.yaml
cases:
  - name: support reads contacts
    agent: spiffe://example.org/agent/support
    at: 2026-11-24T12:00:00Z
    request: GET crm.example.org/contacts/42
    expect: allow
    policies: [support-works-on-contacts]
"""


@dataclass
class Desk:
    """A folder of policies with the configuration that they are for, and a key."""

    world: World

    @property
    def folder(self) -> Path:
        """Where all lies."""
        return self.world.folder

    def bundle(self, *options: object, output: str = "bundle.tar.gz", key: str = "signing.jwk") -> Ended:
        """Make one of the policies."""
        signing = ("--key", self.folder / key) if key else ()
        where = ("--config", self.world.config_file, "--output", self.folder / output)
        return authz("policy", "bundle", self.folder / "policies", *where, *signing, *options)

    def verify(self, *options: object, archive: str = "bundle.tar.gz", keys: str = "keys.json") -> Ended:
        """Look into it."""
        return authz("policy", "bundle-verify", self.folder / archive, "--public-keys", self.folder / keys, *options)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A key was made."""
    made = Desk(World(tmp_path))
    ended = authz("policy", "bundle-key", tmp_path / "signing.jwk", "--public", tmp_path / "keys.json")
    assert ended.status == 0, ended.err
    return made


def test_what_is_made_is_verified_and_served(desk: Desk) -> None:
    """From the key to a configuration that `authz config check` takes, with the commands alone."""
    made = desk.bundle("--revision", "r7", "--expires-in", "90d")
    assert made.status == 0, made.err
    digest = hashlib.sha256((desk.folder / "bundle.tar.gz").read_bytes()).hexdigest()
    assert f"digest    sha256:{digest}" in made.out
    assert "revision  r7" in made.out
    assert f"file      crm.cedar, {len(POLICIES)} bytes" in made.out
    assert desk.verify().out == made.out
    bundle = {"file": "bundle.tar.gz", "public_keys_file": "keys.json", "cache_file": "kept.tar.gz"}
    world = World(desk.folder, desk.world.ca, {"policy": {"bundle": bundle}})
    checked = authz("config", "check", "--config", world.config_file)
    assert checked.status == 0, checked.err
    assert re.search(r"^  bundle +r7 \(sha256:[0-9a-f]{12}, signed at \S+ by \S+\)$", checked.out, re.MULTILINE)
    assert not (desk.folder / "kept.tar.gz").exists()
    by_configuration = authz("policy", "bundle-verify", desk.folder / "bundle.tar.gz", "--config", world.config_file)
    assert by_configuration.out == made.out


def test_json_is_for_machines(desk: Desk) -> None:
    """Each member is there, empty where it says nothing."""
    desk.bundle()
    told = json.loads(desk.verify("--json").out)
    assert told["revision"] is None
    assert told["expires"] is None
    assert told["files"] == [
        {"name": "crm.cedar", "bytes": len(POLICIES), "sha256": hashlib.sha256(POLICIES.encode()).hexdigest()}
    ]


def test_a_private_key_is_its_owners_alone_and_never_overwritten(desk: Desk) -> None:
    """0600 from the first byte on; a second key joins the set of the first, and both count."""
    assert (desk.folder / "signing.jwk").stat().st_mode & 0o777 == 0o600
    assert "d" not in (keys := json.loads((desk.folder / "keys.json").read_text()))["keys"][0]
    again = authz("policy", "bundle-key", desk.folder / "signing.jwk", "--public", desk.folder / "keys.json")
    assert again.status == 2
    assert "no key is overwritten" in again.err
    assert json.loads((desk.folder / "keys.json").read_text()) == keys
    authz("policy", "bundle-key", desk.folder / "next.jwk", "--public", desk.folder / "keys.json")
    desk.bundle(output="old.tar.gz")
    desk.bundle(output="new.tar.gz", key="next.jwk")
    assert [desk.verify(archive=name).status for name in ("old.tar.gz", "new.tar.gz")] == [0, 0]


def test_policies_that_a_server_would_refuse_are_not_bundled(desk: Desk) -> None:
    """They are held against the catalog first, unless that is waived; then the file says what it says."""
    (desk.folder / "policies" / "crm.cedar").write_text("permit (")
    refused = desk.bundle()
    assert refused.status == 2
    assert "crm.cedar:1:1: not valid Cedar" in refused.err
    assert not (desk.folder / "bundle.tar.gz").exists()
    assert desk.bundle("--no-check").status == 0


def test_without_a_key_the_digest_is_the_proof(desk: Desk) -> None:
    """An unsigned bundle counts where it is pinned, and nowhere else."""
    made = desk.bundle(key="")
    assert "not signed: it counts where its digest is pinned" in made.out
    (digest,) = re.findall(r"sha256:[0-9a-f]{64}", made.out)
    archive = desk.folder / "bundle.tar.gz"
    assert authz("policy", "bundle-verify", archive, "--digest", digest).status == 0
    refused = desk.verify()
    assert refused.status == 2
    assert "it is not signed" in refused.err
    assert authz("policy", "bundle-verify", archive, "--digest", digest.replace("sha256:", "sha256:0")[:-1]).status == 2


def test_an_unsigned_bundle_is_always_the_same(desk: Desk) -> None:
    """So that its digest can be told by whoever has the policies."""
    desk.bundle(key="", output="one.tar.gz")
    time.sleep(1.1)
    (desk.folder / "policies" / "crm.cedar").touch()
    desk.bundle(key="", output="two.tar.gz")
    assert (desk.folder / "one.tar.gz").read_bytes() == (desk.folder / "two.tar.gz").read_bytes()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"rubbish", "it is not gzip"),
        (packed({"crm.cedar": b""}), "it is not signed"),
        (Draft().archive(), "a key that is not known: 'release'"),
    ],
    ids=["rubbish", "unsigned", "stranger"],
)
def test_why_a_bundle_does_not_count_is_told(desk: Desk, content: bytes, why: str) -> None:
    """With what to do, and status 2."""
    (desk.folder / "bundle.tar.gz").write_bytes(content)
    ended = desk.verify()
    assert ended.status == 2
    assert why in ended.err


def test_a_bundle_of_another_scope_or_time_is_told(desk: Desk) -> None:
    """A scope must be the one that is asked for, and an end must not be past."""
    desk.bundle("--scope", "staging")
    assert desk.verify("--scope", "staging").status == 0
    assert "for the scope 'staging', and 'production' is wanted" in desk.verify("--scope", "production").err
    desk.bundle("--expires-in", "1s")
    time.sleep(2.1)
    assert "it expired at" in desk.verify().err


def test_tools_take_a_bundle_for_a_folder(desk: Desk) -> None:
    """Where they take --policy, the policies in it are read, whoever signed it; problems have their place in it."""
    desk.bundle()
    archive = desk.folder / "bundle.tar.gz"
    check = ("policy", "check", "--config", desk.world.config_file, "--policy", archive)
    assert "3 policies, 0 errors" in authz(*check).out
    (desk.folder / "a.test.yaml").write_text(CASES)
    tried = authz("policy", "test", desk.folder / "a.test.yaml", "--policy", archive)
    assert tried.status == 0, tried.out + tried.err
    archive.write_bytes(packed({"crm.cedar": b"permit ("}))
    assert f"{archive}/crm.cedar:1:1: error" in authz(*check).out
    archive.write_bytes(packed({"README.md": b""}))
    assert f"{archive}: error: holds no policy file" in authz(*check).out


def test_tools_read_the_bundle_that_the_configuration_names(desk: Desk) -> None:
    """As the server would: from where it is published."""
    bundle = Draft.of(iat=int(time.time()) - 5).archive()
    (desk.folder / "keys.json").write_text(jwks(Draft().key))
    with publishing(bundle) as publisher:
        settings = {"url": publisher.url(), "public_keys_file": "keys.json", "timeout_seconds": 2}
        world = World(desk.folder, desk.world.ca, {"policy": {"bundle": settings}})
        ended = authz("policy", "check", "--config", world.config_file)
        assert "3 policies, 0 errors" in ended.out
        publisher.status = 500
        ended = authz("policy", "check", "--config", world.config_file)
        assert ended.status == 1
        assert "the server answered 500" in ended.out


def test_a_key_that_cannot_sign_is_told_without_its_text(desk: Desk) -> None:
    """A public key, and a file that is no key."""
    public = json.loads((desk.folder / "keys.json").read_text())["keys"][0]
    for text in (json.dumps(public), "secret", json.dumps({"kty": "oct", "k": "c2VjcmV0", "kid": "a"})):
        (desk.folder / "signing.jwk").write_text(text)
        ended = desk.bundle()
        assert ended.status == 2
        assert "is no private key" in ended.err
        assert "secret" not in ended.err
        assert "c2VjcmV0" not in ended.err


def test_a_name_that_no_server_would_take_is_told(desk: Desk) -> None:
    """Before the archive is written."""
    (desk.folder / "policies" / "my policy.cedar").write_text('@id("a") permit (principal, action, resource);')
    ended = desk.bundle()
    assert ended.status == 2
    assert "'my policy.cedar' is not a plain relative name" in ended.err
