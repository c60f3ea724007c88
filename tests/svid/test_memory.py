"""What the verifier remembers never outlives what it rests on."""

from authz.core.reasons import Reason
from authz.demo.ca import DevelopmentCa
from authz.svid.bundles import Bundles, BundleSource, TrustBundle
from authz.svid.x509 import CertificateVerifier, Prover
from tests.svid.checks import AGENT, ANYONE, AT, DOMAIN, NOW, arrival, bundle, judge, request

OLD, NEW = DevelopmentCa(DOMAIN, now=NOW), DevelopmentCa(DOMAIN, now=NOW)


def holding(*bundles: TrustBundle, cache_entries: int = 100) -> tuple[BundleSource, CertificateVerifier]:
    """A source and the verifier that reads it."""
    source = BundleSource(Bundles.of(bundles))
    return source, CertificateVerifier(Prover(source, cache_entries=cache_entries))


def test_what_was_proven_is_not_proven_again() -> None:
    """The same certificate gives the very same identity, in whichever copy of its text it comes."""
    _, caller = holding(bundle(OLD))
    certificate = OLD.mint(AGENT)
    first = caller.verify(request(certificate.pem), ANYONE, arrival())
    assert caller.verify(request(certificate.pem), ANYONE, arrival(AT + 1)) is first


def test_a_removed_authority_denies_its_leaves_at_the_next_check() -> None:
    """Rotation: leaves of both authorities are believed while both are in the bundle, and the old ones not after."""
    source, caller = holding(bundle(OLD))
    remembered, unseen, renewed = OLD.mint(AGENT), OLD.mint(AGENT), NEW.mint(AGENT)
    assert judge(caller, remembered.pem) == AGENT
    assert Reason.SVID_UNTRUSTED is judge(caller, renewed.pem)
    source.replace(Bundles.of([bundle(OLD, NEW)]))
    assert [judge(caller, each.pem) for each in (remembered, renewed)] == [AGENT, AGENT]
    source.replace(Bundles.of([bundle(NEW)]))
    assert Reason.SVID_UNTRUSTED is judge(caller, remembered.pem)
    assert Reason.SVID_UNTRUSTED is judge(caller, unseen.pem)
    assert judge(caller, renewed.pem) == AGENT


def test_a_removed_trust_domain_denies_its_leaves_at_the_next_check() -> None:
    """A domain whose bundle is gone is unknown, also to callers who were believed before."""
    source, caller = holding(bundle(OLD))
    certificate = OLD.mint(AGENT)
    assert judge(caller, certificate.pem) == AGENT
    source.replace(Bundles.of([]))
    assert Reason.TRUST_DOMAIN_UNKNOWN is judge(caller, certificate.pem)


def test_a_refusal_is_not_remembered() -> None:
    """A caller who was refused for want of a bundle is believed as soon as there is one."""
    source, caller = holding()
    certificate = OLD.mint(AGENT)
    assert Reason.TRUST_DOMAIN_UNKNOWN is judge(caller, certificate.pem)
    source.replace(Bundles.of([bundle(OLD)]))
    assert judge(caller, certificate.pem) == AGENT


def test_bundles_of_the_same_content_keep_what_was_proven() -> None:
    """Reading the bundles anew costs nothing where they have not changed."""
    source, caller = holding(bundle(OLD))
    certificate = OLD.mint(AGENT)
    first = caller.verify(request(certificate.pem), ANYONE, arrival())
    source.replace(Bundles.of([bundle(OLD)]))
    assert caller.verify(request(certificate.pem), ANYONE, arrival()) is first


def test_a_remembered_caller_expires_on_time() -> None:
    """A remembered proof is believed within its window only, whichever way the clock goes."""
    _, caller = holding(bundle(OLD))
    certificate = OLD.mint(AGENT)
    window = (certificate.certificate.not_valid_before_utc, certificate.certificate.not_valid_after_utc)
    begins, ends = (moment.timestamp() for moment in window)
    assert judge(caller, certificate.pem) == AGENT
    assert Reason.SVID_EXPIRED is judge(caller, certificate.pem, at=ends + 1)
    assert Reason.SVID_NOT_YET_VALID is judge(caller, certificate.pem, at=begins - 1)
    assert judge(caller, certificate.pem) == AGENT


def test_the_memory_is_bounded() -> None:
    """Of more callers than it has entries, the verifier keeps the last ones, and is right about all."""
    _, caller = holding(bundle(OLD), cache_entries=2)
    callers = [OLD.mint(f"{AGENT}/{number}") for number in range(5)]
    for _ in range(2):
        for number, certificate in enumerate(callers):
            assert judge(caller, certificate.pem, f"{AGENT}/{number}") == f"{AGENT}/{number}"
            assert len(caller._prover._proven) <= 2
