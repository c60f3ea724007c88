"""Policies that are published as bundles: what comes into force, what never does, and what an operator sees of it."""

import asyncio
import json
import logging
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey

from authz.config import load_settings
from authz.core.decision import Allow, Deny
from authz.core.errors import Unusable
from authz.core.reasons import Reason
from authz.demo.ca import DevelopmentCa
from authz.policy.bundle_archive import MAX_ARCHIVE_BYTES
from authz.policy.bundle_expiry import UntilExpiry
from authz.policy.bundle_fetch import HttpFetcher
from authz.policy.bundle_source import BundleSource
from authz.wiring.gauges import rules_gauges
from authz.wiring.knowledge import Knowledge
from authz.wiring.origins import Look, origin_of
from authz.wiring.rules import Reload, Rules
from authz.wiring.server import read_for_start
from tests.support.bundles import HOST, NOW, SIGNER, Draft, Publisher, certified, digest, jwks, packed, publishing
from tests.support.servers import free_port, serve, until
from tests.support.world import CATALOG, POLICIES, Running, World

NOTHING_ALLOWED = '@id("nothing")\nforbid (principal, action, resource);\n'
STRANGER = ECKey.generate_key("P-256", {"kid": "release"})
TIMEOUT_SECONDS = 20.0  # for machines that stall
SHORT_SECONDS = 0.5
CORRUPTIONS = int(os.environ.get("AUTHZ_CORRUPTIONS", "300"))
"""How many are tried; 10,000 take a minute."""


@dataclass
class Place:
    """A world whose policies are published over HTTPS, by a server with a certificate of our own authority."""

    world: World
    publisher: Publisher
    settings: dict[str, object]

    def configure(self, **changes: object) -> None:
        """Write the configuration with these settings of the bundle; None takes one away."""
        self.settings = {name: each for name, each in {**self.settings, **changes}.items() if each is not None}
        self.world = World(self.world.folder, self.world.ca, {"policy": {"bundle": self.settings}})

    @property
    def cache(self) -> Path:
        """The cache's file."""
        return self.world.folder / "cache.tar.gz"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A bundle that allows the hop is published."""
    ca = DevelopmentCa("example.org")
    (tmp_path / "publisher-ca.pem").write_text(ca.bundle_pem)
    (tmp_path / "keys.json").write_text(jwks(SIGNER))
    with publishing(Draft.of(iat=NOW).archive(), certified(tmp_path, ca)) as publisher:
        made = Place(World(tmp_path, ca), publisher, {})
        made.configure(
            url=publisher.url(),
            public_keys_file="keys.json",
            authorities_file="publisher-ca.pem",
            timeout_seconds=TIMEOUT_SECONDS,
            cache_file="cache.tar.gz",
        )
        yield made


@dataclass
class Following:
    """A server's parts that follow the bundles, driven by hand."""

    place: Place
    bundles: BundleSource
    rules: Rules
    reload: Reload
    running: Running
    hop: bytes
    version: str = ""
    logged: list[str] = field(default_factory=list)

    @classmethod
    def start(cls, place: Place) -> "Following":
        """As `authz serve` does; raises Unusable."""
        world = place.world
        settings = load_settings(world.config_file)
        knowledge, seen = read_for_start(world.config_file, settings, origin_of(settings.policy))
        return cls.of(place, knowledge, seen)

    @classmethod
    def of(cls, place: Place, knowledge: Knowledge, seen: Look) -> "Following":
        """Over what was read at the start."""
        assert isinstance(knowledge.origin, BundleSource)
        rules = Rules(knowledge.catalog, knowledge.policy)
        running = place.world.pipeline_of(knowledge)
        policy = UntilExpiry(rules, knowledge.origin)
        running.pipeline = replace(running.pipeline, catalog=rules, policy=policy)
        reload = Reload(knowledge.settings, rules, seen, origin=knowledge.origin)
        hop = place.world.check(place.world.start_task().id)
        return cls(place, knowledge.origin, rules, reload, running, hop, rules.version)

    def wait_for_answers(self, seconds: float) -> None:
        """So long from now on."""
        assert isinstance(self.bundles._fetcher, HttpFetcher)
        self.bundles._fetcher = replace(self.bundles._fetcher, timeout_seconds=seconds)

    def look(self) -> None:
        """One poll, and looks until what was found is in force or refused."""
        self.bundles.poll()
        for _ in range(2):
            asyncio.run(self.reload.look())

    def publish(self, content: bytes) -> None:
        """Publish this, and look."""
        self.place.publisher.content = content
        self.look()

    def decision(self) -> Any:  # noqa: ANN401  any kind of decision
        """About the hop."""
        return self.running.decide(self.hop).decision

    def is_allowed(self) -> bool:
        """Whether the hop is."""
        return isinstance(self.decision(), Allow)

    def gauges(self) -> dict[str, float]:
        """What the metrics tell."""
        gauges = rules_gauges(self.rules, self.reload, self.bundles)
        return {gauge.name: value for gauge in gauges for value, _ in gauge.read()}

    def must_be_as_it_was(self) -> None:
        """Nothing changed but what is told."""
        assert self.is_allowed()
        assert self.rules.version == self.version
        assert self.reload.loads == 0
        assert self.gauges()["authz.policy.up"] == 0


def test_a_new_bundle_comes_into_force(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """It is fetched, proven, compiled and swapped in; log and metrics name it."""
    with caplog.at_level(logging.INFO):
        following = Following.start(place)
        assert following.is_allowed()
        draft = Draft({"crm.cedar": NOTHING_ALLOWED.encode()}, claims={"iat": NOW + 1})
        following.publish(with_manifest(draft, "r2"))
    assert not following.is_allowed()
    assert following.rules.version != following.version
    assert (following.gauges()["authz.policy.up"], following.gauges()["authz.policy.loads"]) == (1, 1)
    assert f"bundle r2 (sha256:{digest(place.publisher.content)[7:19]}, signed at" in caplog.text
    assert following.gauges()["authz.policy.bundle.age"] < 60


def with_manifest(draft: Draft, revision: str) -> bytes:
    """The draft with a manifest, digested as OPA does: members in order and no white space."""
    draft.files[".manifest"] = json.dumps({"revision": revision}, separators=(",", ":")).encode()
    return draft.archive()


def test_what_did_not_change_is_not_sent_again(place: Place) -> None:
    """The server is asked with the tag that it gave, and answers 304; that too says that the bundle is current."""
    following = Following.start(place)
    following.bundles._confirmed_unix_seconds -= 1000
    assert following.gauges()["authz.policy.bundle.age"] > 999
    following.look()
    assert place.publisher.answered == [200, 304]
    assert following.gauges()["authz.policy.bundle.age"] < 60
    assert following.gauges()["authz.policy.up"] == 1


def test_a_version_is_of_the_policies_wherever_they_come_from(place: Place, tmp_path: Path) -> None:
    """The audit log names the same version for a folder and for a bundle of its files."""
    (tmp_path / "folder").mkdir()
    folder = World(tmp_path / "folder", place.world.ca)
    assert (
        folder.pipeline().decide(folder.check(folder.start_task().id)).verdict
        == Following.start(place).running.decide(Following.start(place).hop).verdict
    )


def broken(content: bytes) -> Callable[[Publisher], None]:
    """Another content."""
    return lambda publisher: setattr(publisher, "content", content)


def told(**changes: object) -> Callable[[Publisher], None]:
    """Another manner."""

    def tell(publisher: Publisher) -> None:
        publisher.content = Draft.of(NOTHING_ALLOWED, iat=NOW + 1).archive()
        for name, value in changes.items():
            setattr(publisher, name, value)

    return tell


NEW = Draft.of(NOTHING_ALLOWED, iat=NOW + 1)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (broken(b""), "it was cut short"),
        (broken(b"<html>"), "it is not gzip"),
        (broken(NEW.archive()[:-9]), "it was cut short"),
        (broken(packed(NEW.files)), "it is not signed"),
        (broken(replace(NEW, key=STRANGER).archive()), "not by the key 'release'"),
        (broken(replace(NEW, header={"kid": "who"}).archive()), "a key that is not known: 'who'"),
        (broken(Draft.of(NOTHING_ALLOWED, iat=NOW - 1).archive()), "and the bundle in force at"),
        (broken(Draft.of(NOTHING_ALLOWED, iat=NOW).archive()), "and the bundle in force at"),
        (broken(Draft.of(NOTHING_ALLOWED, iat=NOW + 1, exp=NOW + 2).archive()), "it expired at"),
        (broken(Draft.of(NOTHING_ALLOWED, iat=NOW + 9999).archive()), "it is of the future"),
        (broken(Draft({}, claims={"iat": NOW + 1}).archive()), "it holds no policy file"),
        (broken(Draft.of("", iat=NOW + 1).archive()), "bundle.tar.gz/crm.cedar: holds no policy"),
        (broken(Draft.of("permit (", iat=NOW + 1).archive()), "bundle.tar.gz/crm.cedar:1:1: not valid Cedar"),
        (
            broken(Draft.of('@id("a") permit (principal, action == Action::"no", resource);', iat=NOW + 1).archive()),
            "bundle.tar.gz/crm.cedar:1:1: there is no Action",
        ),
        (told(status=404), "the server answered 404"),
        (told(status=500), "the server answered 500"),
        (told(status=204), "the server answered 204"),
        (told(status=302, headers={"Location": "https://localhost/"}), "redirects are not followed"),
        (told(manner="cut"), "cut short"),
        (told(manner="chunked-cut"), "cannot be asked: IncompleteRead"),
        (told(manner="hang"), "no whole answer within 0.5 s"),
        (told(manner="hang-tls"), "no whole answer within 0.5 s"),
        (told(manner="drip"), "no whole answer within 0.5 s"),
        (told(manner="drip-head"), "no whole answer within 0.5 s"),
        (broken(bytes(MAX_ARCHIVE_BYTES + 1)), f"more than {MAX_ARCHIVE_BYTES} bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_had_or_used_changes_no_decision(
    place: Place, caplog: pytest.LogCaptureFixture, change: Callable[[Publisher], None], why: str
) -> None:
    """What is in force stays, a gauge falls, the log says once why and what to do; mended, all is well."""
    following = Following.start(place)
    with caplog.at_level(logging.ERROR):
        change(place.publisher)
        following.wait_for_answers(SHORT_SECONDS if "within" in why else TIMEOUT_SECONDS)
        began = time.monotonic()
        for _ in range(3):
            following.look()
        assert time.monotonic() - began < TIMEOUT_SECONDS
    following.must_be_as_it_was()
    assert len(caplog.records) == 1
    assert why in caplog.text
    assert "\n    " in caplog.records[0].getMessage()  # a remedy
    place.publisher.status, place.publisher.manner = 200, "whole"
    following.wait_for_answers(TIMEOUT_SECONDS)
    following.publish(Draft.of(NOTHING_ALLOWED, iat=NOW + 2).archive())
    assert not following.is_allowed()
    assert following.gauges()["authz.policy.up"] == 1


def test_refusals_are_counted_and_failed_transfers_are_not(place: Place) -> None:
    """`authz.policy.refusals` is about what was published; that a server is away is told by `up` and by the age."""
    following = Following.start(place)
    place.publisher.status = 500
    following.look()
    assert following.gauges()["authz.policy.refusals"] == 0
    place.publisher.status = 200
    following.publish(b"<html>")
    following.look()
    assert following.gauges()["authz.policy.refusals"] == 1


def test_corrupt_archives_change_no_decision(place: Place) -> None:
    """However an archive is cut and whatever bit of it is flipped, decisions are those of the bundle in force."""
    file = place.world.folder / "bundle.tar.gz"
    whole, chance = Draft.of(NOTHING_ALLOWED, iat=NOW).archive(), random.Random(5)  # noqa: S311  what to break
    file.write_bytes(Draft.of(iat=NOW).archive())
    place.configure(url=None, authorities_file=None, file="bundle.tar.gz", cache_file=None)
    following = Following.start(place)
    before = following.bundles.look()
    for _ in range(CORRUPTIONS):
        at = chance.randrange(len(whole))
        flipped = whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :]
        file.write_bytes(whole[:at] if chance.random() < 0.5 else flipped)
        following.bundles.poll()
        assert following.bundles.look() == before
        assert following.bundles.trouble
    following.look()
    following.must_be_as_it_was()


@pytest.mark.parametrize("wrong", ["name", "authority", "expired authorities file"])
def test_a_server_that_does_not_prove_its_name_is_not_asked(place: Place, tmp_path: Path, wrong: str) -> None:
    """Another name in its certificate, or another authority behind it: nothing is sent to it, and nothing taken."""
    following = Following.start(place)
    (tmp_path / "token").write_text("secret")
    others = DevelopmentCa("example.org")
    ca, name = (place.world.ca, "other.example.org") if wrong == "name" else (others, HOST)
    if wrong == "expired authorities file":
        ca = place.world.ca
        (tmp_path / "publisher-ca.pem").write_text("nothing")
    with publishing(NEW.archive(), certified(tmp_path, ca, name)) as publisher:
        place.configure(url=publisher.url(), token_file="token")
        other = origin_of(load_settings(place.world.config_file).policy)
        assert isinstance(other, BundleSource)
        other.in_force = following.bundles.in_force
        other.poll()
        assert "SSL" in other.trouble
        assert publisher.asked == []


def test_beyond_this_machine_only_https_is_taken(place: Place) -> None:
    """The configuration is refused, with its line."""
    place.configure(url="http://policies.example.org/b.tar.gz", authorities_file=None)
    with pytest.raises(Unusable, match="beyond this machine use https"):
        load_settings(place.world.config_file)


def test_a_token_is_sent_as_it_stands_in_its_file(place: Place, tmp_path: Path) -> None:
    """It is read anew each time, so it may be renewed; one that would break the request is not sent."""
    (tmp_path / "token").write_text("first\n")
    place.configure(token_file="token")
    following = Following.start(place)
    (tmp_path / "token").write_text("second\n")
    following.look()
    assert [asked["authorization"] for asked in place.publisher.asked] == ["Bearer first", "Bearer second"]
    (tmp_path / "token").write_text("a\r\nx-admin: yes")
    following.look()
    assert "holds no token" in following.bundles.trouble
    assert len(place.publisher.asked) == 2


def test_no_proxy_of_the_environment_is_used(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes come from where the configuration says."""
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert Following.start(place).is_allowed()


@contextmanager
def away(publisher: Publisher) -> Iterator[None]:
    """Its server answers nobody, while the block runs."""
    status, publisher.status = publisher.status, 503
    try:
        yield
    finally:
        publisher.status = status


def test_a_start_without_the_server_goes_on_with_what_was_kept(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """The last bundle that was in force is taken, and the log and the gauge say so."""
    first = Following.start(place)
    first.publish(Draft.of(NOTHING_ALLOWED, iat=NOW + 1).archive())
    assert place.cache.stat().st_mode & 0o777 == 0o600
    with away(place.publisher), caplog.at_level(logging.ERROR):
        again = Following.start(place)
    assert not again.is_allowed()
    assert "the server answered 503" in caplog.text
    assert again.gauges()["authz.policy.up"] == 0
    again.look()
    assert again.gauges()["authz.policy.up"] == 1


def test_a_start_with_neither_server_nor_cache_is_refused(place: Place) -> None:
    """With the cause; and so is one whose cache somebody changed."""
    with away(place.publisher), pytest.raises(Unusable, match="the server answered 503"):
        Following.start(place)
    Following.start(place)
    whole = place.cache.read_bytes()
    for content in (b"", whole[:-5], packed({"crm.cedar": POLICIES.encode()}), Draft(key=STRANGER).archive()):
        place.cache.write_bytes(content)
        with away(place.publisher), pytest.raises(Unusable) as refused:
            Following.start(place)
        assert "the server answered 503" in str(refused.value)
        assert str(place.cache) in str(refused.value)


def test_a_tampered_cache_is_told_and_renewed_where_the_server_is_there(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """It stops no start, and proves nothing."""
    Following.start(place)
    place.cache.write_bytes(b"rubbish")
    with caplog.at_level(logging.WARNING):
        assert Following.start(place).is_allowed()
    assert "the bundle that was kept is refused" in caplog.text
    assert place.cache.read_bytes() == place.publisher.content


def test_an_older_bundle_is_refused_over_a_restart_too(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Who replays a bundle that was signed once, and waits for a restart, does not bring old policies back."""
    first = Following.start(place)
    old = place.publisher.content
    first.publish(Draft.of(NOTHING_ALLOWED, iat=NOW + 1).archive())
    place.publisher.content = old
    with caplog.at_level(logging.ERROR):
        again = Following.start(place)
    assert not again.is_allowed()
    assert "no later" in caplog.text
    again.look()
    assert not again.is_allowed()
    assert again.gauges()["authz.policy.up"] == 0


def test_a_bundle_that_was_proven_too_early_does_not_follow_a_newer_one(place: Place) -> None:
    """Where one comes into force while an older one, proven against the one before, waits: it waits in vain."""
    following = Following.start(place)
    place.publisher.content = Draft.of(NOTHING_ALLOWED, iat=NOW + 9).archive()
    following.bundles.poll()
    following.bundles.files()
    place.publisher.content = Draft.of(iat=NOW + 5).archive()
    following.bundles.poll()
    assert following.bundles.trouble == ""
    following.bundles.taken()
    with pytest.raises(Unusable, match="no later"):
        following.bundles.files()


def test_a_fault_of_ours_is_seen_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody thought of, when something that was fetched is read, is told like a refusal."""
    following = Following.start(place)

    def fails(*_: object) -> None:
        raise ZeroDivisionError("nobody thought of it")

    monkeypatch.setattr("authz.policy.bundle_source.read_bundle", fails)
    following.publish(NEW.archive())
    following.must_be_as_it_was()
    assert following.bundles.trouble == "ZeroDivisionError: nobody thought of it"


def test_a_transfer_leaves_nothing_running(place: Place) -> None:
    """The watch over its time ends with it."""
    following = Following.start(place)
    following.look()
    until(lambda: not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)], 5)


def test_a_start_with_a_bundle_that_cannot_be_used_takes_the_one_before(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """Replicas that start after a bad publication go on as those that run; without a cache none starts."""
    Following.start(place)
    place.publisher.content = Draft.of("permit (", iat=NOW + 1).archive()
    with caplog.at_level(logging.ERROR):
        again = Following.start(place)
    assert again.is_allowed()
    assert "bundle.tar.gz/crm.cedar:1:1" in caplog.text
    assert again.gauges()["authz.policy.up"] == 0
    again.look()
    again.must_be_as_it_was()
    place.cache.unlink()
    with pytest.raises(Unusable, match="not valid Cedar"):
        Following.start(place)


def test_a_key_that_is_taken_away_ends_what_it_signed(place: Place, tmp_path: Path) -> None:
    """What is published is proven anew by the keys as they are; what is in force stays, with an alarm."""
    following = Following.start(place)
    new = ECKey.generate_key("P-256", {"kid": "new"})
    (tmp_path / "keys.json").write_text(jwks(new))
    following.look()
    following.must_be_as_it_was()
    assert "a key that is not known: 'release'" in following.bundles.trouble
    following.publish(Draft.of(NOTHING_ALLOWED, iat=NOW + 1).archive())
    following.must_be_as_it_was()
    following.publish(replace(NEW, key=new, header={"kid": "new"}).archive())
    assert not following.is_allowed()


def test_an_expired_bundle_permits_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the signed end on each hop is denied, by the clock and not by the next poll; the next bundle mends it."""
    end = time.time() + 3600
    place.publisher.content = Draft.of(iat=NOW, exp=end).archive()
    following = Following.start(place)
    assert 3500 < following.gauges()["authz.policy.bundle.remaining"] <= 3600
    assert following.is_allowed()
    monkeypatch.setattr(following.bundles, "_clock", lambda: end)
    denied = following.decision()
    assert isinstance(denied, Deny)
    assert denied.reason is Reason.POLICY_ERROR
    assert "has expired" in denied.detail
    assert following.gauges()["authz.policy.up"] == 0
    following.look()
    assert "it expired at" in following.bundles.trouble
    following.publish(Draft.of(iat=NOW + 1).archive())
    assert following.is_allowed()


def test_a_pinned_bundle_is_fetched_once_and_no_other_counts(place: Place) -> None:
    """Its digest is its proof, so nobody is asked again, and a restart needs no server once it is kept."""
    content = packed({"crm.cedar": POLICIES.encode()})
    place.publisher.content = content
    place.configure(public_keys_file=None, digest=digest(content))
    following = Following.start(place)
    following.publish(Draft.of(NOTHING_ALLOWED, iat=NOW + 1).archive())
    assert following.is_allowed()
    assert following.gauges()["authz.policy.up"] == 1
    assert place.publisher.answered == [200]
    assert Following.start(place).is_allowed()
    assert place.publisher.answered == [200]
    place.cache.unlink()
    with pytest.raises(Unusable, match="pins sha256:"):
        Following.start(place)


def test_another_pin_may_be_of_an_older_bundle(place: Place) -> None:
    """The configuration is trusted: who changes the pin means it."""
    old, new = Draft.of(iat=NOW).archive(), Draft.of(NOTHING_ALLOWED, iat=NOW + 1).archive()
    place.publisher.content = new
    place.configure(digest=digest(new))
    assert not Following.start(place).is_allowed()
    place.publisher.content = old
    place.configure(digest=digest(old))
    assert Following.start(place).is_allowed()


def test_a_blob_of_a_registry_is_named_by_its_digest(place: Place) -> None:
    """/v2/NAME/blobs/sha256:... is a plain GET; the digest in the URL and the pin must be one."""
    content = packed({"crm.cedar": POLICIES.encode()})
    place.publisher.content = content
    url = place.publisher.url().removesuffix("authz/bundle.tar.gz") + f"v2/policies/blobs/{digest(content)}"
    place.configure(url=url, public_keys_file=None, digest=digest(content))
    assert Following.start(place).is_allowed()
    assert place.publisher.asked[0]["path"] == f"/v2/policies/blobs/{digest(content)}"
    place.configure(digest=digest(b"another"))
    with pytest.raises(Unusable, match="let it end in what digest says"):
        load_settings(place.world.config_file)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"public_keys_file": None}, "anybody's policies would count"),
        ({"file": "b.tar.gz"}, "give either url or file"),
        ({"url": None, "authorities_file": None}, "give either url or file"),
        ({"url": None, "file": "b.tar.gz"}, "about the server of a url"),
        ({"url": "ftp://example.org/b"}, "write the URL of an archive"),
        ({"url": "https://user@example.org/b"}, "write the URL of an archive"),
        ({"url": "https://example.org/b#c"}, "write the URL of an archive"),
        ({"digest": "sha256:AB"}, "write sha256: and 64 hexadecimal digits"),
        ({"public_keys_file": None, "digest": digest(b""), "scope": "a"}, "goes with public_keys_file"),
        ({"url": "https://example.org/" + digest(b"")}, "let it end in what digest says"),
    ],
)
def test_settings_that_prove_nothing_are_refused(place: Place, changes: dict[str, object], why: str) -> None:
    """At the start, with file and line."""
    place.configure(**changes)
    with pytest.raises(Unusable, match=why) as refused:
        load_settings(place.world.config_file)
    assert refused.value.problems[0].place.line


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ({}, "give either directory or bundle"),
        ({"directory": "policies", "bundle": {"file": "b", "digest": digest(b"")}}, "give either directory or bundle"),
        (
            {"bundle": {"file": "b", "digest": digest(b"")}, "digests_file": "catalog.yaml"},
            "digests_file is about a directory",
        ),
    ],
)
def test_policies_come_from_one_place(tmp_path: Path, policy: dict[str, object], why: str) -> None:
    """A folder or a bundle, never both."""
    world = World(tmp_path, settings={"policy": policy})
    with pytest.raises(Unusable, match=why):
        load_settings(world.config_file)


def test_a_catalog_and_a_bundle_that_need_each_other_come_into_force_together(place: Place) -> None:
    """A bundle about an action that is new waits, refused, for the catalog that has it."""
    following = Following.start(place)
    name = next(iter(following.rules.classes_of))
    text = NOTHING_ALLOWED.replace("action,", f'action == Action::"{name}x",')
    following.publish(Draft.of(text, iat=NOW + 1).archive())
    assert f"{name}x" in following.reload.trouble
    (place.world.folder / "catalog.yaml").write_text(CATALOG.replace(name, f"{name}x"))
    following.look()
    assert following.reload.trouble == ""
    assert f"{name}x" in following.rules.classes_of


def test_a_real_server_permits_nothing_once_its_bundle_has_expired(place: Place) -> None:
    """Hops that were allowed are denied from the signed end on, with 503, though the bundle can be had no more."""
    address = f"127.0.0.1:{free_port()}"
    listening = {"listen": address, "transport": "plaintext", "drain_seconds": 0, "stop_grace_seconds": 1}
    policy = {"bundle": {**place.settings, "poll_seconds": 0.2}}
    world = World(place.world.folder, place.world.ca, {"policy": policy, "server": listening})
    hop = world.check(world.start_task().id)
    with serve(world.config_file, address) as server:
        place.publisher.content = Draft.of(iat=NOW + 1, exp=time.time() + 10).archive()
        until(lambda: server.log().count("is in force") > 1)
        assert server.check(hop).status.code == 0
        place.publisher.status = 503
        until(lambda: server.check(hop).status.code != 0)
        assert server.check(hop).denied_response.status.code == 503
        assert world.last_record()["reason"] == Reason.POLICY_ERROR.id


def test_a_server_that_hangs_delays_no_stop(place: Place) -> None:
    """SIGTERM ends the server soon, though a transfer has still much time."""
    address = f"127.0.0.1:{free_port()}"
    listening = {"listen": address, "transport": "plaintext", "drain_seconds": 0, "stop_grace_seconds": 1}
    policy = {"bundle": {**place.settings, "poll_seconds": 0.2, "timeout_seconds": 120}}
    world = World(place.world.folder, place.world.ca, {"policy": policy, "server": listening})
    with serve(world.config_file, address) as server:
        place.publisher.content = NEW.archive()  # some hundred bytes, ten in a second
        place.publisher.manner = "drip"
        asked = len(place.publisher.asked)
        until(lambda: len(place.publisher.asked) > asked)
        server.process.terminate()
        began = time.monotonic()
        assert server.process.wait(120) == 0
        assert time.monotonic() - began < 30


def test_a_real_server_follows_its_bundles(place: Place) -> None:
    """A new bundle is in force soon after it is published, SIGHUP asks at once, and what is bad changes nothing."""
    address = f"127.0.0.1:{free_port()}"
    listening = {"listen": address, "transport": "plaintext", "drain_seconds": 0, "stop_grace_seconds": 1}
    policy = {"bundle": {**place.settings, "poll_seconds": 0.2}}
    world = World(place.world.folder, place.world.ca, {"policy": policy, "server": listening})
    hop = world.check(world.start_task().id)
    with serve(world.config_file, address) as server:
        assert server.check(hop).status.code == 0
        place.publisher.content = b"rubbish"
        until(lambda: "it is not gzip" in server.log())
        assert server.check(hop).status.code == 0
        began = time.monotonic()
        place.publisher.content = Draft.of(NOTHING_ALLOWED, iat=NOW + 1).archive()
        until(lambda: server.check(hop).status.code != 0)
        assert time.monotonic() - began < 30
        assert "bundle without a revision (sha256:" in server.log()
        place.publisher.content = Draft.of(iat=NOW + 2).archive()
        os.kill(server.process.pid, signal.SIGHUP)
        until(lambda: server.check(hop).status.code == 0)
    place.publisher.status = 500
    with serve(world.config_file, address) as server:
        assert server.check(hop).status.code == 0
        assert "the bundle that was kept is taken" in server.log()
