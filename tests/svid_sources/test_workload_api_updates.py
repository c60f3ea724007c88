"""What the feed does with updates, good and bad, pushed by a Workload API that can be made to misbehave."""

import asyncio
import gc
import os
import statistics
import threading
import time

import grpc
import pytest

from authz.core.errors import Refused, Unavailable
from authz.core.reasons import Reason
from authz.demo.ca import DevelopmentCa
from authz.demo.jwt_authority import JwtAuthority, jwk_set
from authz.demo.workload_api import DevelopmentWorkloadApi, bundle_der
from tests.support.workload_api import Followed, following, until

OURS, PARTNER = "example.org", "partner.example"


def roots(followed: Followed, domain: str) -> list[int]:
    """The serial numbers of a trust domain's X.509 authorities."""
    bundle = followed.now().by_trust_domain.get(domain)
    return [] if bundle is None else [each.serial_number for each in bundle.authorities]


def test_an_authority_that_is_taken_back_is_gone_with_the_next_update(api: DevelopmentWorkloadApi) -> None:
    """From the push of a bundle without it to a snapshot without it: half within 50 ms, all of 50 within a second."""
    old, new = DevelopmentCa(PARTNER), DevelopmentCa(PARTNER)
    both = [old.root.serial_number, new.root.serial_number]

    async def story() -> None:
        took = []
        async with following(api.endpoint, PARTNER) as followed:
            for _ in range(50):
                with api.tell() as told:
                    told.x509_bundles[PARTNER] = bundle_der([old.root, new.root])
                await until(lambda: roots(followed, PARTNER) == both)
                with api.tell() as told:
                    told.x509_bundles[PARTNER] = bundle_der([new.root])
                took.append(await until(lambda: roots(followed, PARTNER) == both[1:]))
        print(f"push to snapshot: p50 {statistics.median(took) * 1e3:.1f} ms, max {max(took) * 1e3:.1f} ms")  # noqa: T201  a figure
        assert statistics.median(took) < 0.05
        assert max(took) < 1

    asyncio.run(story())


def test_a_trust_domain_that_is_no_longer_told_is_unloaded(api: DevelopmentWorkloadApi) -> None:
    """Messages are the full state: a bundle that is absent from the last one is unknown to checks."""

    async def story() -> None:
        async with following(api.endpoint, OURS, PARTNER) as followed:
            with api.tell() as told:
                del told.x509_bundles[PARTNER]
            await until(lambda: followed.domains == {OURS})
            with pytest.raises(Refused) as refused:
                followed.now().of_trust_domain(PARTNER)
            assert Reason.TRUST_DOMAIN_UNKNOWN is refused.value.reason

    asyncio.run(story())


BROKEN = {
    "no certificate": b"not a certificate",
    "nothing": b"",
    "a certificate cut short": bundle_der([DevelopmentCa(PARTNER).root])[:-7],
    "a workload's certificate": bundle_der([DevelopmentCa(PARTNER).mint(f"spiffe://{PARTNER}/agent").certificate]),
    "a good one and a broken one": bundle_der([DevelopmentCa(PARTNER).root]) + b"\x30\x03\x02\x01\x01",
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_bundle_unseats_no_other(api: DevelopmentWorkloadApi, broken: bytes) -> None:
    """A trust domain whose bundle cannot be read vouches for nobody; the others, and our SVID, change as told."""

    async def story() -> None:
        async with following(api.endpoint, OURS, PARTNER) as followed:
            added = DevelopmentCa(OURS)
            with api.tell() as told:
                told.x509_bundles[PARTNER] = broken
                told.x509_bundles[OURS] += bundle_der([added.root])
            await until(lambda: added.root.serial_number in roots(followed, OURS))
            assert {OURS} == followed.domains
            stream = followed.feed.streams[0]
            assert (stream.faults, stream.lost_at_ns) == (1, None)
            with api.tell() as told:
                told.x509_bundles[PARTNER] = bundle_der([DevelopmentCa(PARTNER).root])
            await until(lambda: followed.domains == {OURS, PARTNER})

    asyncio.run(story())


def test_a_broken_bundle_of_a_trust_domain_that_nobody_wants_is_no_fault(api: DevelopmentWorkloadApi) -> None:
    """What is not on the operator's list is not even read."""

    async def story() -> None:
        with api.tell() as told:
            told.x509_bundles["stranger.example"] = b"\xff"
            told.jwk_sets["stranger.example"] = b"\xff"
        async with following(api.endpoint, OURS) as followed:
            assert [each.faults for each in followed.feed.streams] == [0, 0]

    asyncio.run(story())


def test_an_svid_that_cannot_be_shown_keeps_the_last_one(api: DevelopmentWorkloadApi) -> None:
    """A key that is not the certificate's, pushed by mistake, does not take our port's good SVID away."""

    async def story() -> None:
        async with following(api.endpoint, OURS) as followed:
            before = followed.own.current()
            other = DevelopmentCa(OURS).mint(api.spiffe_id)
            with api.tell() as told:
                svid = told.svids[0]
                told.svids = [type(svid)(svid.certificate, other.key)]
            await until(lambda: followed.feed.streams[0].faults == 1)
            assert before == followed.own.current()
            assert {OURS} == followed.domains

    asyncio.run(story())


def test_an_svid_that_is_taken_back_is_shown_no_more(api: DevelopmentWorkloadApi) -> None:
    """An update without SVIDs means that we have none."""

    async def story() -> None:
        async with following(api.endpoint, PARTNER) as followed:
            with api.tell() as told:
                told.svids = []
            await until(lambda: followed.feed.streams[0].updates > 1)
            with pytest.raises(Unavailable, match="no SVID"):
                followed.own.current()

    asyncio.run(story())


def test_jwt_authorities_come_from_jwt_bundles_alone(api: DevelopmentWorkloadApi) -> None:
    """A rotated JWT key is in the snapshot by its id; without the JWT stream there are no keys at all."""

    async def story() -> None:
        old, new = api.jwt_authority, JwtAuthority()
        async with following(api.endpoint, OURS) as followed, following(api.endpoint, OURS, with_jwt=False) as without:
            assert {old.key_id} == set(followed.now().of_trust_domain(OURS).jwt_authorities)
            with api.tell() as told:
                told.jwk_sets[OURS] = jwk_set([new])
            await until(lambda: set(followed.now().of_trust_domain(OURS).jwt_authorities) == {new.key_id})
            assert without.now().of_trust_domain(OURS).jwt_authorities == {}

    asyncio.run(story())


@pytest.mark.parametrize("code", [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE])
def test_a_refusal_is_retried_until_it_ends(api: DevelopmentWorkloadApi, code: grpc.StatusCode) -> None:
    """A workload that is not registered yet has nothing, and has all within seconds of being registered."""

    async def story() -> None:
        api.refuse(code)
        async with following(api.endpoint, OURS, first_seconds=0) as followed:
            with pytest.raises(Unavailable, match=code.name):
                await followed.feed.wait_for_first(0.5)
            await until(lambda: min(each.failures_in_a_row for each in followed.feed.streams) > 1)
            api.admit()
            await followed.feed.wait_for_first(15)
            assert {OURS} == followed.domains
            api.drop_streams()  # one update is enough to begin again with the shortest pause
            await until(lambda: all(each.losses for each in followed.feed.streams))
            assert {0} == {each.failures_in_a_row for each in followed.feed.streams}

    asyncio.run(story())


@pytest.mark.parametrize("code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED])
def test_what_would_be_refused_again_is_not_retried_at_once(api: DevelopmentWorkloadApi, code: grpc.StatusCode) -> None:
    """An agent that does not know what we ask is asked again after minutes, not in a loop."""

    async def story() -> None:
        api.refuse(code)
        async with following(api.endpoint, OURS, with_jwt=False, first_seconds=0) as followed:
            await until(lambda: code.name in followed.feed.streams[0].why_lost)
            api.admit()
            await asyncio.sleep(1)
            assert followed.feed.streams[0].updates == 0

    asyncio.run(story())


def test_an_agent_without_jwt_bundles_takes_nothing_from_certificates(api: DevelopmentWorkloadApi) -> None:
    """Unimplemented is an answer about JWT authorities: there are none, and the X.509 ones are as fresh as ever."""

    async def story() -> None:
        api.without_jwt = True
        async with following(api.endpoint, OURS) as followed:
            assert followed.feed.lost_at_ns is None
            bundle = followed.now().of_trust_domain(OURS)
            assert (len(bundle.authorities), len(bundle.jwt_authorities)) == (1, 0)

    asyncio.run(story())


def test_dropped_streams_are_taken_up_again_at_once(api: DevelopmentWorkloadApi) -> None:
    """A stream that ends is a loss, counted, and over within a second or so while the agent is there."""

    async def story() -> None:
        async with following(api.endpoint, OURS) as followed:
            took = []
            for losses in range(1, 6):
                before = [each.updates for each in followed.feed.streams]
                api.drop_streams()
                wanted = [each + 1 for each in before]
                took.append(await until(lambda: [each.updates for each in followed.feed.streams] == wanted))  # noqa: B023  at once
                assert {losses} == {each.losses for each in followed.feed.streams}
            print(f"drop to fresh: p50 {statistics.median(took) * 1e3:.0f} ms, max {max(took) * 1e3:.0f} ms")  # noqa: T201  a figure
            assert statistics.median(took) < 1
            serial = f"{api.rotate().certificate.serial_number:x}"
            await until(lambda: followed.own.current().serial == serial)

    asyncio.run(story())


def test_nothing_is_left_when_a_feed_stops(api: DevelopmentWorkloadApi) -> None:
    """Followed and stopped 20 times, a process has as many threads, tasks and open files as before."""

    async def story() -> None:
        async with following(api.endpoint, OURS):
            pass  # what grpc makes once for a process is there from now on
        await asyncio.sleep(0.2)
        before = _open_things()
        for _ in range(20):
            async with following(api.endpoint, OURS) as followed:
                assert {OURS} == followed.domains
        await until(lambda: _open_things() <= before, 5)
        assert {asyncio.current_task()} == asyncio.all_tasks()

    asyncio.run(story())


def _open_things() -> tuple[int, int]:
    """Our threads, without those that serve the Workload API in this same process; and open files."""
    gc.collect()
    threads = [each for each in threading.enumerate() if not each.name.startswith("workload-api")]
    return len(threads), len(os.listdir("/proc/self/fd"))  # noqa: PTH208  a count


def test_a_check_reads_the_snapshot_in_no_time(api: DevelopmentWorkloadApi) -> None:
    """Taking the snapshot costs a check less than 2 us, fresh or lost."""

    async def story() -> None:
        async with following(api.endpoint, OURS) as followed:
            for lost in (False, True):
                if lost:
                    followed.store.workload_api_lost(time.clock_gettime_ns(time.CLOCK_BOOTTIME))
                now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
                best = min(_seconds_of(lambda: followed.store.source.current(now)) for _ in range(5))  # noqa: B023  at once
                assert best < 2e-6

    asyncio.run(story())


def _seconds_of(call: object, times: int = 2000) -> float:
    assert callable(call)
    began = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - began) / times
