"""A development certificate authority: mints X509-SVIDs, and on request every certificate that is not one.

Keys are made here and kept in files that only the owner can read. Not for production: use SPIRE.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = dt.timedelta(days=1)
BOTH_USES = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
Extensions = Iterable[tuple[x509.ExtensionType, bool]]
"""Extensions, each with whether it is critical."""
_SKEW = dt.timedelta(minutes=5)


@dataclass(frozen=True)
class Certificate:
    """A certificate with its private key, and the chain below the trust anchor."""

    certificate: x509.Certificate
    key: PrivateKey
    intermediates: tuple[x509.Certificate, ...] = ()

    @property
    def pem(self) -> str:
        """The leaf alone."""
        return _pem(self.certificate)

    @property
    def chain_pem(self) -> str:
        """The leaf and its intermediates, as a TLS peer presents them."""
        return "".join(map(_pem, (self.certificate, *self.intermediates)))

    @property
    def key_pem(self) -> str:
        """The private key, PKCS#8, not encrypted."""
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return self.key.private_bytes(*form).decode()

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write NAME.pem (chain) and NAME.key (0600) into the folder; returns both paths."""
        certificate_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
        certificate_file.write_text(self.chain_pem)
        key_file.touch(mode=0o600)
        key_file.write_text(self.key_pem)
        return certificate_file, key_file


class DevelopmentCa:
    """The authority of one trust domain. Times are given, so that tests may live at any moment.

    With a parent it is an intermediate authority: `root` is then its own certificate, which the parent signed.
    """

    def __init__(  # noqa: PLR0913  each parameter is one way to be another authority
        self,
        trust_domain: str,
        *,
        now: dt.datetime | None = None,
        lifetime: dt.timedelta = 30 * DAY,
        parent: "DevelopmentCa | None" = None,
        key: PrivateKey | None = None,
        path_length: int | None = None,
        usage: x509.KeyUsage | None = None,
        with_usage: bool = True,
        extensions: Extensions = (),
    ) -> None:
        self.trust_domain = trust_domain
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.parent = parent
        title = f"{trust_domain} development CA" + (f" {self.depth}" if parent else "")
        self.name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, title)])
        self._now = now or dt.datetime.now(dt.UTC)
        self._key = key or ec.generate_private_key(ec.SECP256R1())
        builder = x509.CertificateBuilder(subject_name=self.name, public_key=self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        if with_usage:
            builder = builder.add_extension(usage or key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        subject_key = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        builder = builder.add_extension(subject_key, critical=False)
        builder = _extended(builder.add_extension(_san([f"spiffe://{trust_domain}"], []), critical=False), extensions)
        self.root = (parent or self).sign(builder, not_before=self._now - _SKEW, lifetime=lifetime)

    @property
    def bundle_pem(self) -> str:
        """The trust bundle of the domain."""
        return self.parent.bundle_pem if self.parent else _pem(self.root)

    @property
    def intermediates(self) -> tuple[x509.Certificate, ...]:
        """The authorities from this one up to below the trust anchor; none where this is the anchor."""
        return (self.root, *self.parent.intermediates) if self.parent else ()

    def mint(  # noqa: PLR0913  each parameter is one way to be wrong
        self,
        *uris: str,
        dns: tuple[str, ...] = (),
        subject: str = "",
        ca: bool | None = False,
        usage: x509.KeyUsage | None = None,
        with_usage: bool = True,
        usage_critical: bool = True,
        extended_key_usage: tuple[x509.ObjectIdentifier, ...] | None = BOTH_USES,
        san_critical: bool | None = None,
        extensions: Extensions = (),
        key: PrivateKey | None = None,
        not_before: dt.datetime | None = None,
        lifetime: dt.timedelta = DAY,
    ) -> Certificate:
        """A certificate of this authority; with one SPIFFE ID and the defaults it is a correct X509-SVID.

        `ca` None leaves the basic constraints out.
        """
        key = key or ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, subject)] if subject else []
        builder = x509.CertificateBuilder(subject_name=x509.Name(attributes), public_key=key.public_key())
        if ca is not None:
            builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        if with_usage:
            builder = builder.add_extension(usage or key_usage(digital_signature=True), critical=usage_critical)
        if extended_key_usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended_key_usage), critical=False)
        if uris or dns:
            critical = not subject if san_critical is None else san_critical
            builder = builder.add_extension(_san(list(uris), list(dns)), critical=critical)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = _extended(builder.add_extension(authority, critical=False), extensions)
        start = not_before or self._now - _SKEW
        return Certificate(self.sign(builder, not_before=start, lifetime=lifetime), key, self.intermediates)

    def sign(
        self, builder: x509.CertificateBuilder, *, not_before: dt.datetime, lifetime: dt.timedelta
    ) -> x509.Certificate:
        """What the builder describes, issued by this authority."""
        return (
            builder.issuer_name(self.name)
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before)
            .not_valid_after(not_before + lifetime)
            .sign(self._key, None if isinstance(self._key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
        )


def _extended(builder: x509.CertificateBuilder, extensions: Extensions) -> x509.CertificateBuilder:
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _san(uris: list[str], dns: list[str]) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
    return x509.SubjectAlternativeName(names + [x509.DNSName(name) for name in dns])


def key_usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    """The extension with the given bits set."""
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
