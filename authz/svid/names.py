"""SPIFFE IDs that somebody tells us, rather than shows a certificate with: text in, the ID of a workload out."""

from authz.core.errors import Refused
from authz.core.identity import Asker
from authz.core.reasons import Reason
from authz.core.spiffe import NotASpiffeId, SpiffeId
from authz.svid.bundles import Bundles


def read_workload_id(unverified_text: str, bundles: Bundles) -> SpiffeId:
    """The SPIFFE ID that the text spells, of a workload in a trust domain that has a bundle; raises Refused."""
    try:
        spiffe_id = SpiffeId.parse(unverified_text)
    except NotASpiffeId as error:
        raise Refused(Reason.SPIFFE_ID_MALFORMED, f"{unverified_text!r:.200}: {error}") from error
    if not spiffe_id.path:
        raise Refused(Reason.SVID_WITHOUT_PATH, spiffe_id.uri)
    bundles.of_trust_domain(spiffe_id.trust_domain)
    return spiffe_id


def proven_id(asker: Asker) -> SpiffeId:
    """Whose word it is; raises Refused where that is not known, for such a word is worth nothing."""
    if asker.spiffe_id is None:
        raise Refused(Reason.ASKER_UNPROVEN, "in plain text nobody's word counts")
    return asker.spiffe_id
