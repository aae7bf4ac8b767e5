"""Certificates for tests: an authority, and what it signs, as PEM files in a folder."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = timedelta(days=1)
_SIGNS_CERTIFICATES = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, each in a file."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates; its own is in `cert`. `strict`: with all that Python 3.13 wants of a public one."""

    def __init__(self, folder: Path, name: str = "authority", *, strict: bool = False) -> None:
        self._folder = folder
        self._strict = strict
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        builder = _builder(self._name, self._key).issuer_name(self._name)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        if strict:
            builder = builder.add_extension(_SIGNS_CERTIFICATES, critical=True)
            key_id = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
            builder = builder.add_extension(key_id, critical=False)
        self.cert = _written(folder / f"{name}.pem", builder.sign(self._key, SHA256()))

    def server(self, *dns_names: str) -> Certificate:
        """For a server on 127.0.0.1, or of these names instead."""
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in dns_names]
        names = names or [x509.IPAddress(ip_address("127.0.0.1"))]
        return self._signed(f"server-{'-'.join(dns_names)}", names, ExtendedKeyUsageOID.SERVER_AUTH)

    def client(self, dns_name: str, uri: str = "", *, expired: bool = False) -> Certificate:
        """For a caller of that name. The common name says something else, which nobody believes."""
        names: list[x509.GeneralName] = [x509.DNSName(dns_name)]
        if uri:
            names.append(x509.UniformResourceIdentifier(uri))
        return self._signed(f"client-{dns_name}", names, ExtendedKeyUsageOID.CLIENT_AUTH, expired=expired)

    def _signed(
        self,
        name: str,
        names: list[x509.GeneralName],
        usage: x509.ObjectIdentifier,
        *,
        expired: bool = False,
    ) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_named("poker"), key, expired=expired).issuer_name(self._name)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if self._strict:
            key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
            builder = builder.add_extension(key_id, critical=False)
        cert = _written(self._folder / f"{name}.pem", builder.sign(self._key, SHA256()))
        key_file = self._folder / f"{name}.key"
        key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return Certificate(cert, key_file)


def served_with(server: Certificate) -> dict[str, str]:
    """The variables of a service that shows this certificate."""
    return {"TLS_CERT_FILE": str(server.cert), "TLS_KEY_FILE": str(server.key)}


def shown(client: Certificate) -> dict[str, str]:
    """The variables of a command that shows this certificate."""
    return {"TLS_CLIENT_CERT_FILE": str(client.cert), "TLS_CLIENT_KEY_FILE": str(client.key)}


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, expired: bool = False
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * _DAY)
        .not_valid_after(now - _DAY if expired else now + _DAY)
    )


def _written(path: Path, certificate: x509.Certificate) -> Path:
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return path
