"""Keys, certificates and runs of openssl for the tests of CMS."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
YEARS = timedelta(days=36500)


@cache
def key(kind: str) -> CertificateIssuerPrivateKeyTypes:
    """A key of this kind, one per run."""
    made: dict[str, CertificateIssuerPrivateKeyTypes] = {
        "rsa": rsa.generate_private_key(65537, 2048),
        "other": rsa.generate_private_key(65537, 2048),
        "p256": ec.generate_private_key(ec.SECP256R1()),
        "p384": ec.generate_private_key(ec.SECP384R1()),
        "p521": ec.generate_private_key(ec.SECP521R1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate(),
        "mldsa": mldsa.MLDSA44PrivateKey.generate(),
    }
    return made[kind]


@cache
def certificate(kind: str) -> bytes:
    """A self-signed certificate for the key of this kind, DER, with a key identifier."""
    private_key = key(kind)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, kind)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(private_key.public_key())
    builder = builder.serial_number(77).not_valid_before(NOON).not_valid_after(NOON + YEARS)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(private_key.public_key()), False)
    hashed = isinstance(private_key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey))
    return builder.sign(private_key, SHA256() if hashed else None).public_bytes(Encoding.DER)


def key_identifier(kind: str) -> bytes:
    """The key identifier of that certificate."""
    extensions = x509.load_der_x509_certificate(certificate(kind)).extensions
    return extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def write_files(directory: Path, kind: str) -> tuple[Path, Path]:
    """Certificate and key of this kind as PEM files."""
    held = directory / f"{kind}.crt", directory / f"{kind}.key"
    held[0].write_bytes(x509.load_der_x509_certificate(certificate(kind)).public_bytes(Encoding.PEM))
    held[1].write_bytes(key(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return held


def openssl(*arguments: object, data: bytes = b"") -> bytes:
    """What openssl writes. Fails with what it complains about."""
    run = subprocess.run(["openssl", *map(str, arguments)], input=data, capture_output=True, timeout=30)
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout
