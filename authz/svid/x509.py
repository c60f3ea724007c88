"""X509-SVIDs: the certificate that Envoy passed in, a proven Identity out.

The rules are those of X509-SVID sections 2 to 5, asked from what the certificate claims to what proves it: can it be
read, whom does it name, is it a leaf of the right form, do we know its trust domain, is it the time, does a path lead
to that domain's own bundle, and did Envoy mean the same. The first rule that is broken names the reason.
"""

from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from cachetools import LRUCache
from cryptography.x509.oid import ExtendedKeyUsageOID

from authz.core.errors import Refused
from authz.core.identity import Asker, Identity, Proof
from authz.core.reasons import Reason
from authz.core.record import Arrival
from authz.core.request import Request
from authz.core.spiffe import NotASpiffeId, SpiffeId
from authz.svid.bundles import Bundles, BundleSource
from authz.svid.certificates import NotACertificate, UnverifiedCertificate, Window, parse_certificate
from authz.svid.forwarded import unverified_chain
from authz.svid.paths import read_intermediates, validate_path

MAX_CERTIFICATE_CHARACTERS = 65_536
"""A TLS certificate is a few kilobytes. With the number of entries, this bounds the memory of the cache."""

_BOTH_USES = frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH})


@dataclass(frozen=True, slots=True)
class Proven:
    """An identity and the time through which its proof holds: that of the whole path, not of the leaf alone."""

    identity: Identity
    window: Window


class Prover:
    """Proves workloads by their X509-SVIDs against the snapshot that counts now: callers, and the Envoys that ask.

    What was proven is remembered for `cache_entries` (at least 1) certificates, each under its text, its chain's and
    the bundles' version, so a change of the bundles forgets it; refusals are not kept. There is no lock: checks run in
    one thread.
    """

    def __init__(self, source: BundleSource, *, cache_entries: int) -> None:
        self._source = source
        self._proven: LRUCache[tuple[str, str, str], Proven] = LRUCache(cache_entries)

    def prove(self, unverified_certificate: str, arrival: Arrival, unverified_chain: str = "") -> Identity:
        """The identity that a leaf certificate proves at the arrival's moment; raises Refused.

        Certificate and chain are PEM, URL-encoded or not: no PEM text has a percent sign.
        """
        bundles = self._source.current(arrival.boot_ns)
        key = (unverified_certificate, unverified_chain, bundles.version)
        proven = self._proven.get(key)
        if proven is None or not proven.window.holds_at(arrival.unix_seconds):
            proven = prove(unverified_certificate, unverified_chain, bundles, arrival.unix_seconds)
            self._proven[key] = proven
        return proven.identity


class CertificateVerifier:
    """Mode `certificate`: callers are who the certificate that Envoy passes on proves, whoever asks.

    Envoy's `source.certificate` is the leaf alone. Where its issuer is not in the bundle, the way there is looked for
    in the chain of x-forwarded-client-cert, which Envoy writes if told to (`set_current_client_cert_details.chain`).
    """

    def __init__(self, prover: Prover) -> None:
        self._prover = prover

    def verify(self, request: Request, asker: Asker, arrival: Arrival) -> Identity:  # noqa: ARG002  the proof is not its word
        """The identity that the certificate proves and the principal names; raises Refused."""
        _must_show_certificate(request)
        identity = self._prover.prove(request.unverified_certificate, arrival, unverified_chain(request))
        must_be_principal(request, identity.spiffe_id)
        return identity


def prove(unverified_certificate: str, unverified_chain: str, bundles: Bundles, unix_seconds: float) -> Proven:
    """The identity of a leaf certificate and how long it holds; both texts as Envoy passes them; raises Refused."""
    leaf = _read_certificate(unverified_certificate)
    unverified_id = _read_spiffe_id(leaf)
    _must_be_leaf(leaf)
    _must_have_path(unverified_id)
    _must_have_key_usage(leaf)
    _must_have_both_extended_uses(leaf)
    _must_have_critical_name(leaf)
    bundle = bundles.of_trust_domain(unverified_id.trust_domain)
    _must_be_valid_at(leaf.window, unix_seconds)
    window = validate_path(leaf, read_intermediates(unverified_chain, leaf), bundle, unix_seconds)
    return Proven(Identity(unverified_id, Proof.CERTIFICATE, window.ends_unix_seconds), window)


def _must_show_certificate(request: Request) -> None:
    if request.unverified_certificate:
        return
    if request.unverified_principal:
        raise Refused(Reason.CERTIFICATE_MISSING, f"principal {request.unverified_principal!r:.200}")
    raise Refused(Reason.IDENTITY_MISSING)


def _read_certificate(unverified_certificate: str) -> UnverifiedCertificate:
    if len(unverified_certificate) > MAX_CERTIFICATE_CHARACTERS:
        raise Refused(Reason.CERTIFICATE_MALFORMED, f"longer than {MAX_CERTIFICATE_CHARACTERS} characters")
    try:
        # Not unquote_plus: a plus sign is base64. A lone surrogate raises UnicodeEncodeError, a ValueError.
        return parse_certificate(unquote_to_bytes(unverified_certificate))
    except (NotACertificate, UnicodeEncodeError) as error:
        raise Refused(Reason.CERTIFICATE_MALFORMED, f"{error!s:.500}") from error


def _read_spiffe_id(leaf: UnverifiedCertificate) -> SpiffeId:
    """X509-SVID section 2: one URI SAN, and it is the SPIFFE ID. Other kinds of names may stand beside it."""
    if len(leaf.uris) != 1:
        raise Refused(Reason.SVID_URI_SAN_COUNT, f"{len(leaf.uris)} URI SANs: {leaf.uris[:3]!r:.500}")
    try:
        return SpiffeId.parse(leaf.uris[0])
    except NotASpiffeId as error:
        raise Refused(Reason.SPIFFE_ID_MALFORMED, f"{leaf.uris[0]!r:.200}: {error}") from error


def _must_be_leaf(leaf: UnverifiedCertificate) -> None:
    """X509-SVID section 4.1. Asked before the path, because an authority's ID has none."""
    if leaf.is_authority:
        raise Refused(Reason.SVID_IS_CA, leaf.uris[0])


def _must_have_path(unverified_id: SpiffeId) -> None:
    """X509-SVID section 3.1."""
    if not unverified_id.path:
        raise Refused(Reason.SVID_WITHOUT_PATH, unverified_id.uri)


def _must_have_key_usage(leaf: UnverifiedCertificate) -> None:
    """X509-SVID section 4.3."""
    if leaf.key_usage is None:
        raise Refused(Reason.SVID_KEY_USAGE, "absent")
    if not leaf.key_usage.critical:
        raise Refused(Reason.SVID_KEY_USAGE, "not critical")
    usage = leaf.key_usage.value
    if not usage.digital_signature:
        raise Refused(Reason.SVID_KEY_USAGE, "without digitalSignature")
    if usage.key_cert_sign or usage.crl_sign:
        raise Refused(Reason.SVID_KEY_USAGE, "with keyCertSign or cRLSign")


def _must_have_both_extended_uses(leaf: UnverifiedCertificate) -> None:
    """X509-SVID section 4.4: it may be absent."""
    if leaf.extended_key_usage is not None and not _BOTH_USES.issubset(leaf.extended_key_usage.value):
        found = ", ".join(each.dotted_string for each in leaf.extended_key_usage.value)
        raise Refused(Reason.SVID_EXTENDED_KEY_USAGE, f"only {found:.200}")


def _must_have_critical_name(leaf: UnverifiedCertificate) -> None:
    """X509-SVID section 3.1."""
    if not leaf.has_subject and not leaf.alternative_name_is_critical:
        raise Refused(Reason.SVID_SAN_NOT_CRITICAL)


def _must_be_valid_at(window: Window, unix_seconds: float) -> None:
    if unix_seconds > window.ends_unix_seconds:
        raise Refused(Reason.SVID_EXPIRED, f"{unix_seconds - window.ends_unix_seconds:.0f} s ago")
    if not window.holds_at(unix_seconds):
        raise Refused(Reason.SVID_NOT_YET_VALID, f"for another {window.begins_unix_seconds - unix_seconds:.0f} s")


def must_be_principal(request: Request, spiffe_id: SpiffeId) -> None:
    """Envoy takes other names where there is no URI SAN, so what it names proves nothing, but it must not differ."""
    if request.unverified_principal != spiffe_id.uri:
        found = f"principal {request.unverified_principal!r:.200}, proven {spiffe_id}"
        raise Refused(Reason.PRINCIPAL_MISMATCH, found)
