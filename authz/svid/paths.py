"""Certification paths: a leaf, its chain and its own trust domain's bundle in; how long a path between them holds, out.

The chain is what the leaf was shown with. It may help to find a path, and is believed in nothing.
"""

import datetime as dt
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from cryptography import x509
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, Store, VerificationError

from authz.core.errors import Refused
from authz.core.reasons import Reason
from authz.core.spiffe import SCHEME
from authz.svid.bundles import TrustBundle
from authz.svid.certificates import (
    NotACertificate,
    UnverifiedCertificate,
    Window,
    parse_certificate,
    split_pem,
    without_warnings,
)

MAX_CHAIN_CHARACTERS = 65_536
MAX_INTERMEDIATES = 8
"""As many as the library would follow."""


def read_intermediates(unverified_chain: str, leaf: UnverifiedCertificate) -> tuple[UnverifiedCertificate, ...]:
    """The certificates behind the leaf in its chain, given as Envoy passes it: PEM, URL-encoded, the leaf first.

    A chain can only help: one that is of another leaf, cannot be read, or cannot be a path is none, and the path is
    looked for without it. The names in a path differ, so that no made-up chain has more than one way to be followed.
    """
    if not unverified_chain or len(unverified_chain) > MAX_CHAIN_CHARACTERS:
        return ()
    try:
        pems = [pem for _, pem in split_pem(unquote_to_bytes(unverified_chain))]
        certificates = [parse_certificate(pem) for pem in pems[: MAX_INTERMEDIATES + 2]]
    except (NotACertificate, UnicodeEncodeError):
        return ()
    if not certificates or certificates[0].parsed != leaf.parsed:
        return ()
    intermediates = tuple(certificates[1:])
    if len(intermediates) > MAX_INTERMEDIATES or any(map(_names_a_workload, intermediates)):
        return ()
    return intermediates if len({each.parsed.subject for each in intermediates}) == len(intermediates) else ()


def validate_path(
    leaf: UnverifiedCertificate,
    intermediates: Sequence[UnverifiedCertificate],
    bundle: TrustBundle,
    unix_seconds: float,
) -> Window:
    """The window of a path from the leaf to the bundle, by RFC 5280 section 6; raises Refused where none is valid now.

    An authority whose constraints the library cannot judge, as with any URI name constraint, leads nowhere.
    """
    if not bundle.authorities:
        raise Refused(Reason.SVID_UNTRUSTED, f"{bundle.trust_domain}: its bundle has keys for tokens alone")
    moment = dt.datetime.fromtimestamp(unix_seconds, dt.UTC)
    policies = {"ca_policy": _AUTHORITY_POLICY, "ee_policy": _LEAF_POLICY}
    builder = PolicyBuilder().store(Store(list(bundle.authorities))).time(moment).extension_policies(**policies)
    try:
        with without_warnings():
            path = builder.build_client_verifier().verify(leaf.parsed, [each.parsed for each in intermediates]).chain
    except VerificationError as error:
        raise Refused(Reason.SVID_UNTRUSTED, f"{bundle.trust_domain}: {error!s:.500}") from error
    window = Window(
        max(each.not_valid_before_utc for each in path).timestamp(),
        min(each.not_valid_after_utc for each in path).timestamp(),
    )
    if not window.holds_at(unix_seconds):  # the library reads its time in whole seconds
        raise Refused(Reason.SVID_UNTRUSTED, f"{bundle.trust_domain}: an authority on the path has just expired")
    return window


def _names_a_workload(authority: UnverifiedCertificate) -> bool:
    """X509-SVID section 3.2: the SPIFFE ID of a signing certificate has no path."""
    return any(uri.startswith(SCHEME) and "/" in uri[len(SCHEME) :] for uri in authority.uris)


def _must_sign_certificates(_: Policy, __: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("the key usage lacks keyCertSign")


# The library's own policies are those of the web: they ask for an authority key identifier, and for a subject
# alternative name that is critical exactly where there is no subject. These ask for RFC 5280; the form of the leaf is
# asked by the rules of X509-SVIDs, and cA and path lengths by the library whatever the policy.
_AUTHORITY_POLICY = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _must_sign_certificates)
)
_LEAF_POLICY = ExtensionPolicy.permit_all().require_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
