"""What holds with every implementation of the Workload API."""

import asyncio
import time

import pytest

from authz.core.errors import Refused, Unavailable
from authz.core.reasons import Reason
from authz.svid.certificates import parse_certificate, split_pem
from authz.svid.paths import validate_path
from tests.support.workload_api import Agent, following, until


def test_the_first_update_holds_every_wanted_trust_domain(agent: Agent) -> None:
    """Own and federated trust domains each have a bundle of their own, with X.509 and, for ours, JWT authorities."""

    async def story() -> None:
        async with following(agent.endpoint, *agent.trust_domains) as followed:
            assert set(agent.trust_domains) == followed.domains
            counts = followed.feed.authorities
            assert all(counts[domain].x509 for domain in agent.trust_domains)
            assert counts[agent.trust_domain].jwt
            assert followed.feed.lost_at_ns is None

    asyncio.run(story())


def test_only_wanted_trust_domains_are_taken(agent: Agent) -> None:
    """A trust domain that the operator did not name never enters the snapshot, whatever the Workload API tells."""

    async def story() -> None:
        async with following(agent.endpoint, *agent.federated) as followed:
            assert set(agent.federated) == followed.domains

    asyncio.run(story())


def test_our_own_svid_is_proven_by_our_trust_domains_bundle(agent: Agent) -> None:
    """The SVID that the port shows is ours, its key belongs to it, and a path leads from it to the bundle."""

    async def story() -> None:
        async with following(agent.endpoint, agent.trust_domain) as followed:
            svid = followed.own.current()
            assert agent.spiffe_id == svid.spiffe_id.uri
            leaf, *others = [parse_certificate(pem) for _, pem in split_pem(svid.chain_pem)]
            bundle = followed.now().of_trust_domain(agent.trust_domain)
            window = validate_path(leaf, others, bundle, time.time())
            assert time.time() < window.ends_unix_seconds <= svid.expires_unix_seconds
            assert "PRIVATE" not in repr(svid)

    asyncio.run(story())


def test_a_rotated_svid_is_shown(agent: Agent) -> None:
    """When the Workload API rotates our SVID, the next handshake shows the new one."""

    async def story() -> None:
        async with following(agent.endpoint, agent.trust_domain) as followed:
            before = followed.own.current().serial
            await asyncio.to_thread(agent.rotate)
            await until(lambda: followed.own.current().serial != before, agent.rotates_within_seconds)
            assert agent.spiffe_id == followed.own.current().spiffe_id.uri

    asyncio.run(story())


def test_a_lost_workload_api_counts_for_the_declared_staleness_and_no_longer(agent: Agent) -> None:
    """After the loss its bundles count within the declared time, then deny as stale; a new agent makes them fresh."""

    async def story() -> None:
        async with following(agent.endpoint, agent.trust_domain, max_staleness_seconds=60) as followed:
            await asyncio.to_thread(agent.stop)
            await until(lambda: followed.feed.lost_at_ns is not None)
            svid = followed.own.current()
            assert {agent.trust_domain} == set(followed.now(later_seconds=55).by_trust_domain)
            assert svid == followed.own.current()
            with pytest.raises(Refused) as refused:
                followed.now(later_seconds=61).of_trust_domain(agent.trust_domain)
            assert Reason.TRUST_BUNDLES_STALE is refused.value.reason
            await asyncio.to_thread(agent.start)
            await until(lambda: followed.feed.lost_at_ns is None, 30)
            assert {agent.trust_domain} == set(followed.now(later_seconds=61).by_trust_domain)
            assert {1} == {stream.losses for stream in followed.feed.streams}

    asyncio.run(story())


def test_without_a_workload_api_nothing_is_believed_until_it_comes(agent: Agent) -> None:
    """Started before its socket is there, we have no SVID and refuse its trust domains as stale; then all is there."""

    async def story() -> None:
        await asyncio.to_thread(agent.stop)
        async with following(agent.endpoint, agent.trust_domain, first_seconds=0) as followed:
            with pytest.raises(Unavailable, match="has not answered"):
                await followed.feed.wait_for_first(0.3)
            with pytest.raises(Refused) as refused:
                followed.now().of_trust_domain(agent.trust_domain)
            assert Reason.TRUST_BUNDLES_STALE is refused.value.reason
            with pytest.raises(Unavailable, match="no SVID"):
                followed.own.current()
            await asyncio.to_thread(agent.start)
            await followed.feed.wait_for_first(30)
            assert {agent.trust_domain} == followed.domains

    asyncio.run(story())
