"""Development authorities in, their bundle document out (SPIFFE Trust Domain and Bundle, section 4)."""

import base64
import json
from collections.abc import Iterable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc.jwk import ECKey

from authz.demo.ca import DevelopmentCa
from authz.demo.jwt_authority import JwtAuthority


def bundle_document(authorities: Iterable[DevelopmentCa], jwt_authorities: Iterable[JwtAuthority]) -> str:
    """The document of the one trust domain that all of them serve; raises TypeError for a key that is not EC."""
    keys = [_x509_key(each.root) for each in authorities]
    keys += [{**each.jwk, "use": "jwt-svid"} for each in jwt_authorities]
    return json.dumps({"keys": keys})


def _x509_key(root: x509.Certificate) -> dict[str, Any]:
    key = root.public_key()
    if not isinstance(key, EllipticCurvePublicKey):
        raise TypeError(f"the authority's key is not EC: {type(key).__name__}")
    encoded = base64.b64encode(root.public_bytes(Encoding.DER)).decode()
    return {**ECKey.import_key(key).as_dict(private=False), "use": "x509-svid", "x5c": [encoded]}
