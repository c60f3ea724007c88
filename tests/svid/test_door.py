"""Who may ask: the Envoys on the list, proven by the certificate that our TLS peer showed, and nobody else."""

from functools import partial

import pytest

from authz.core.errors import Refused
from authz.core.identity import Asker
from authz.core.reasons import Reason
from authz.core.spiffe import SpiffeId
from authz.demo.ca import DAY, DevelopmentCa
from authz.svid.bundles import Bundles, BundleSource
from authz.svid.door import GuardedDoor, OpenDoor
from authz.svid.x509 import CertificateVerifier, Prover
from tests.support.refusals import outcome
from tests.svid.checks import ANYONE, AT, DOMAIN, ENVOY, NOW, PROVEN, arrival, bundle, prover, request, source_of, who

CA, FORGER = DevelopmentCa(DOMAIN, now=NOW), DevelopmentCa(DOMAIN, now=NOW)
ALLOWED = frozenset({SpiffeId.parse(ENVOY)})
CERTIFICATE = CA.mint(ENVOY)


def guarded(allowed: frozenset[SpiffeId] = ALLOWED) -> GuardedDoor:
    """A door to the workloads of that list."""
    return GuardedDoor(prover(bundle(CA)), allowed)


def admitted(door: GuardedDoor, pem: str, *, at: float = AT) -> Asker | Reason:
    """Who is admitted with that certificate, or the reason for which nobody is."""
    return outcome(partial(door.admit, arrival(at, asker_certificate=pem)))


def test_an_envoy_on_the_list_is_admitted_by_its_certificate() -> None:
    """Plain PEM, as gRPC gives it, also where its base64 has the plus signs that URL decoding could spoil."""
    door = guarded()
    with_plus = next(each for each in (CA.mint(ENVOY) for _ in range(100)) if "+" in each.pem)
    for pem in (CERTIFICATE.pem, CERTIFICATE.pem, with_plus.pem):
        assert "%" not in pem
        assert admitted(door, pem) == PROVEN


def test_another_workload_is_not_an_envoy() -> None:
    """A correct SVID that is not on the list may not ask, and an empty list admits nobody."""
    for uri in (f"spiffe://{DOMAIN}/agent/support", ENVOY + "/x", f"spiffe://{DOMAIN}/envo"):
        assert Reason.ASKER_NOT_ALLOWED is admitted(guarded(), CA.mint(uri).pem)
    assert Reason.ASKER_NOT_ALLOWED is admitted(guarded(frozenset()), CERTIFICATE.pem)


@pytest.mark.parametrize(
    ("pem", "why"),
    [
        ("", "no certificate"),
        ("no PEM", "certificate_malformed"),
        (FORGER.mint(ENVOY).pem, "svid_untrusted"),
        (DevelopmentCa("evil.example", now=NOW).mint("spiffe://evil.example/envoy").pem, "trust_domain_unknown"),
        (CA.mint(ENVOY, ENVOY).pem, "svid_uri_san_count"),
        (CA.mint(dns=(ENVOY,)).pem, "svid_uri_san_count"),
        (CA.mint(subject=ENVOY).pem, "svid_uri_san_count"),
        (CA.mint(ENVOY, ca=True).pem, "svid_is_ca"),
        (CA.mint(ENVOY, with_usage=False).pem, "svid_key_usage"),
        (CA.mint(ENVOY, not_before=NOW - 2 * DAY).pem, "svid_expired"),
    ],
)
def test_an_envoy_that_is_not_proven_may_not_ask(pem: str, why: str) -> None:
    """Envoys are judged by the rules for callers; the reason says that it is the Envoy, the detail which rule."""
    with pytest.raises(Refused) as refused:
        guarded().admit(arrival(asker_certificate=pem))
    assert refused.value.reason is Reason.ASKER_UNPROVEN
    assert refused.value.detail.startswith(why)


def test_a_withdrawn_authority_shuts_the_door_at_the_next_check() -> None:
    """An open connection does not outlive its proof: neither the bundle it rests on, nor the certificate's own time."""
    source = source_of(bundle(CA))
    door = GuardedDoor(Prover(source, cache_entries=10), ALLOWED)
    assert admitted(door, CERTIFICATE.pem) == PROVEN
    end = CERTIFICATE.certificate.not_valid_after_utc.timestamp()
    assert Reason.ASKER_UNPROVEN is admitted(door, CERTIFICATE.pem, at=end + 1)
    source.replace(Bundles.of([bundle(FORGER)]))
    assert Reason.ASKER_UNPROVEN is admitted(door, CERTIFICATE.pem)


def test_stale_bundles_admit_nobody_and_prove_nobody() -> None:
    """Once the source of bundles has been lost for too long, whoever was remembered is refused too."""
    source = BundleSource(Bundles.of([bundle(CA)]), max_staleness_ns=1000)
    shared = Prover(source, cache_entries=10)
    door, caller = GuardedDoor(shared, ALLOWED), CertificateVerifier(shared)
    sent = request(CERTIFICATE.pem, ENVOY)
    source.lost(500)
    in_time, late = (arrival(asker_certificate=CERTIFICATE.pem, boot_ns=boot_ns) for boot_ns in (1500, 1501))
    assert door.admit(in_time) == PROVEN
    assert caller.verify(sent, ANYONE, in_time).spiffe_id.uri == ENVOY
    assert Reason.TRUST_BUNDLES_STALE is outcome(partial(door.admit, late))
    assert Reason.TRUST_BUNDLES_STALE is outcome(partial(caller.verify, sent, ANYONE, late))
    source.replace(Bundles.of([bundle(CA)]))
    assert who(caller, sent) == ENVOY


def test_in_plain_text_the_asker_has_no_name() -> None:
    """Whoever reaches the port may ask, and is told from nobody, whatever certificate the check claims."""
    for pem in ("", CERTIFICATE.pem):
        assert OpenDoor().admit(arrival(asker_certificate=pem)) == ANYONE
