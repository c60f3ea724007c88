"""One certificate, judged as a caller's would be: files in, the proven identity out, by the server's own parts."""

from collections.abc import Mapping
from pathlib import Path

from authz.core.errors import Place, Problem, Unusable, collecting
from authz.core.identity import Identity
from authz.core.record import Arrival
from authz.svid.bundle_documents import load_bundle_file
from authz.svid.bundles import Bundles, BundleSource, TrustBundle
from authz.svid.x509 import Prover


def verify_certificate(
    certificate_file: Path, chain_file: Path | None, bundle_files: Mapping[str, Path], unix_seconds: float
) -> Identity:
    """Whom the leaf certificate proves at that moment, with these bundles by trust domain.

    The chain's file begins with the leaf. Raises Refused where nobody is proven, Unusable with every file that cannot
    be read and every bundle that is none.
    """
    problems, bundles, texts = list[Problem](), list[TrustBundle](), list[str]()
    for trust_domain, path in bundle_files.items():
        with collecting(problems):
            bundles.append(load_bundle_file(trust_domain, path))
    for path in [certificate_file] if chain_file is None else [certificate_file, chain_file]:
        with collecting(problems):
            texts.append(_text(path))
    if problems:
        raise Unusable(*problems)
    prover = Prover(BundleSource(Bundles.of(bundles)), cache_entries=1)
    return prover.prove(texts[0], Arrival(unix_seconds, 0, ""), "".join(texts[1:]))


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("ascii")
    except UnicodeDecodeError as error:
        remedy = "Convert it, for example with openssl x509 -inform DER."
        raise Unusable(Problem(Place(path), "is not PEM, which is plain ASCII text", remedy)) from error
    except OSError as error:
        raise Unusable(Problem(Place(path), f"cannot be read: {error.strerror}", "Name a file.")) from error
