"""The bundle document that the demo writes for authz."""

from authz.demo.bundle_document import bundle_document
from authz.demo.ca import DevelopmentCa
from authz.demo.jwt_authority import JwtAuthority
from authz.svid.bundle_documents import parse_bundle_document


def test_authz_reads_what_the_demo_publishes() -> None:
    """Every authority is in it for what it may vouch for: certificates or tokens, and never both."""
    new, old, tokens = DevelopmentCa("example.org"), DevelopmentCa("example.org"), JwtAuthority()
    bundle = parse_bundle_document("example.org", bundle_document([new, old], [tokens]).encode()).bundle
    assert bundle.authorities == (new.root, old.root)
    assert set(bundle.jwt_authorities) == {tokens.key_id}
