"""Trust domains from files and trust domains from the Workload API make one snapshot, and go stale apart."""

import asyncio
from pathlib import Path

import pytest

from authz.core.errors import Refused, Unusable
from authz.core.reasons import Reason
from authz.demo.ca import DevelopmentCa
from authz.demo.workload_api import DevelopmentWorkloadApi
from authz.svid.bundle_documents import load_bundle_file
from authz.svid.bundle_files import BundleFiles
from authz.svid.bundle_store import BundleStore
from authz.svid.bundles import TrustBundle
from tests.support.workload_api import NS, boot_ns, following, until

OURS, FILED = "example.org", "filed.example"
API = frozenset({OURS})


def bundle(ca: DevelopmentCa) -> TrustBundle:
    """Its bundle."""
    return TrustBundle(ca.trust_domain, (ca.root,))


def reason(store: BundleStore, domain: str, at_ns: int) -> Reason | None:
    """Why the trust domain has no bundle at that moment; None where it has one."""
    try:
        store.source.current(at_ns).of_trust_domain(domain)
    except Refused as refused:
        return refused.reason
    return None


def test_before_the_first_word_only_files_count() -> None:
    """A trust domain of the Workload API is stale, not unknown, until it is told; one that nobody has is unknown."""
    store = BundleStore(workload_api_domains=API, max_staleness_ns=60 * NS)
    assert Reason.TRUST_BUNDLES_STALE is reason(store, OURS, 0)
    store.put_files([bundle(DevelopmentCa(FILED))])
    assert Reason.TRUST_BUNDLES_STALE is reason(store, OURS, 0)
    assert reason(store, FILED, 0) is None
    assert Reason.TRUST_DOMAIN_UNKNOWN is reason(store, "stranger.example", 0)


def test_only_what_can_be_lost_goes_stale() -> None:
    """With the Workload API lost for too long its domains are refused, a file's are not, and one update mends it."""
    store = BundleStore(workload_api_domains=API, max_staleness_ns=60 * NS)
    store.put_files([bundle(DevelopmentCa(FILED))])
    store.put_workload_api([bundle(DevelopmentCa(OURS))])
    store.workload_api_lost(100 * NS)
    store.workload_api_lost(150 * NS)  # the first counts
    for seconds, expected in ((101, None), (160, None), (161, Reason.TRUST_BUNDLES_STALE)):
        assert expected is reason(store, OURS, seconds * NS)
        assert reason(store, FILED, seconds * NS) is None
    store.put_workload_api([bundle(DevelopmentCa(OURS))])
    assert reason(store, OURS, 1000 * NS) is None


def test_a_file_that_changes_makes_nothing_of_the_workload_api_fresh() -> None:
    """The time since the loss goes on counting."""
    store = BundleStore(workload_api_domains=API, max_staleness_ns=60 * NS)
    store.put_workload_api([bundle(DevelopmentCa(OURS))])
    store.workload_api_lost(100 * NS)
    store.put_files([bundle(DevelopmentCa(FILED))])
    assert reason(store, OURS, 160 * NS) is None
    assert Reason.TRUST_BUNDLES_STALE is reason(store, OURS, 161 * NS)


def test_a_snapshot_that_went_stale_has_another_version() -> None:
    """What was proven against fresh bundles is not remembered under stale ones."""
    store = BundleStore(workload_api_domains=API, max_staleness_ns=60 * NS)
    store.put_workload_api([bundle(DevelopmentCa(OURS))])
    fresh = store.source.current(0).version
    store.workload_api_lost(0)
    assert store.source.current(61 * NS).version != fresh


def test_no_trust_domain_has_two_origins() -> None:
    """A bundle from the wrong origin is refused, and nothing changes."""
    store = BundleStore(workload_api_domains=API, max_staleness_ns=60 * NS)
    store.put_workload_api([bundle(DevelopmentCa(OURS))])
    before = store.source.current(0)
    with pytest.raises(ValueError, match=OURS):
        store.put_files([bundle(DevelopmentCa(OURS))])
    with pytest.raises(ValueError, match=FILED):
        store.put_workload_api([bundle(DevelopmentCa(FILED))])
    assert before is store.source.current(0)


def test_files_and_workload_api_together(api: DevelopmentWorkloadApi, tmp_path: Path) -> None:
    """One snapshot holds a domain from a file and one from the Workload API; each changes by its own origin."""
    file = tmp_path / "filed.pem"
    file.write_text(DevelopmentCa(FILED).bundle_pem)

    async def story() -> None:
        async with following(api.endpoint, OURS, with_jwt=False) as followed:
            files = BundleFiles({FILED: file}, followed.store, load_bundle_file)
            files.watched.start()
            assert {OURS, FILED} == followed.domains
            kept = followed.now().of_trust_domain(OURS)
            changed = DevelopmentCa(FILED)
            file.write_text(changed.bundle_pem)
            files.watched.look()
            assert (changed.root,) == followed.now().of_trust_domain(FILED).authorities
            assert kept == followed.now().of_trust_domain(OURS)
            filed = followed.now().of_trust_domain(FILED)
            with api.tell() as told:
                told.x509_bundles[OURS] += b"\xff"
            await until(lambda: followed.domains == {FILED})
            assert filed == followed.now().of_trust_domain(FILED)

    asyncio.run(story())


class Files:
    """Two trust domains' files in a folder, watched."""

    def __init__(self, folder: Path) -> None:
        self.one, self.two = folder / "one.pem", folder / "two.pem"
        self.one.write_text(DevelopmentCa("one.example").bundle_pem)
        self.two.write_text(DevelopmentCa("two.example").bundle_pem)
        self.store = BundleStore(workload_api_domains=frozenset(), max_staleness_ns=0)
        paths = {"one.example": self.one, "two.example": self.two}
        self.watched = BundleFiles(paths, self.store, load_bundle_file).watched

    def authorities(self, domain: str) -> tuple[object, ...]:
        """What counts of that trust domain now."""
        return self.store.source.current(boot_ns()).of_trust_domain(domain).authorities


def test_a_start_with_a_broken_file_fails_with_all_problems(tmp_path: Path) -> None:
    """Every file that cannot be used is named, not the first alone."""
    files = Files(tmp_path)
    files.one.unlink()
    files.two.write_text("nonsense")
    with pytest.raises(Unusable) as unusable:
        files.watched.start()
    assert [files.one, files.two] == [each.place.file for each in unusable.value.problems]


@pytest.mark.parametrize("broken", ["", "nonsense", None], ids=["emptied", "nonsense", "removed"])
def test_a_file_that_breaks_keeps_its_last_good_bundle_and_recovers(
    tmp_path: Path, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted and logged once, another file's change counts at once, and so does the file when it is mended."""
    files = Files(tmp_path)
    files.watched.start()
    last_good = files.authorities("one.example")
    files.one.unlink() if broken is None else files.one.write_text(broken)
    other = DevelopmentCa("two.example")
    files.two.write_text(other.bundle_pem)
    for _ in range(3):
        files.watched.look()
    assert last_good == files.authorities("one.example")
    assert (other.root,) == files.authorities("two.example")
    assert files.watched.refusals == 1
    assert len([each for each in caplog.records if each.levelname == "ERROR"]) == 1
    assert "one.pem" in files.watched.trouble
    mended = DevelopmentCa("one.example")
    files.one.write_text(mended.bundle_pem)
    files.watched.look()
    assert (mended.root,) == files.authorities("one.example")
    assert not files.watched.trouble


def test_a_mounted_config_map_is_followed(tmp_path: Path) -> None:
    """A swap of the link `..data`, above files that are themselves links, is seen."""
    cas = [DevelopmentCa("one.example") for _ in range(2)]
    for number, ca in enumerate(cas):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "bundle.pem").write_text(ca.bundle_pem)
    (tmp_path / "..data").symlink_to("..0")
    (tmp_path / "bundle.pem").symlink_to("..data/bundle.pem")
    store = BundleStore(workload_api_domains=frozenset(), max_staleness_ns=0)
    watched = BundleFiles({"one.example": tmp_path / "bundle.pem"}, store, load_bundle_file).watched
    watched.start()
    (tmp_path / "..new").symlink_to("..1")
    (tmp_path / "..new").rename(tmp_path / "..data")
    watched.look()
    assert (cas[1].root,) == store.source.current(0).of_trust_domain("one.example").authorities


def test_files_are_watched_while_others_work(tmp_path: Path) -> None:
    """A change is in force within the interval, and an unchanged file is not loaded again."""
    files = Files(tmp_path)
    files.watched.start()
    changed = DevelopmentCa("one.example")

    async def story() -> None:
        watching = asyncio.create_task(files.watched.watch(every_seconds=0.01))
        await asyncio.sleep(0.05)
        assert files.watched.loads == 1
        files.one.write_text(changed.bundle_pem)
        await until(lambda: files.authorities("one.example") == (changed.root,))
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    asyncio.run(story())
    assert files.watched.loads == 2
