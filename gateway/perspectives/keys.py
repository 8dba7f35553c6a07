"""Certificates by which server and perspectives know each other: a small CA of its own, in one folder.

Not from the CA that the installation runs: whoever may order certificates there must not become a perspective.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA = "perspective-ca"
COORDINATOR = "coordinator"
CA_DAYS = 3650
CERTIFICATE_DAYS = 730
RENEWED_BEFORE = timedelta(days=CERTIFICATE_DAYS / 3)


def make_keys(folder: Path, hosts: Mapping[str, str], now: datetime) -> list[Path]:
    """Make what is missing or near its end: the CA, the coordinator's certificate, one for each name at its host.

    Gives the files that were written; each key is mode 0600 and lies beside its certificate. Raises OSError, and
    ValueError for a key file that cannot be read.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    written: list[Path] = []
    if not (folder / f"{CA}.key").exists():
        written += _make_ca(folder, now)
    issuer = x509.load_pem_x509_certificate((folder / f"{CA}.pem").read_bytes())
    key = load_pem_private_key((folder / f"{CA}.key").read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{folder / f'{CA}.key'} is not the key that this command made")
    wanted = [(COORDINATOR, COORDINATOR, ExtendedKeyUsageOID.CLIENT_AUTH)]
    wanted += [(name, host, ExtendedKeyUsageOID.SERVER_AUTH) for name, host in hosts.items()]
    for name, host, usage in wanted:
        if not _is_good(folder / f"{name}.pem", host, issuer, now):
            written += _make(folder, name, host, usage, issuer, key, now)
    return written


def _is_good(path: Path, host: str, issuer: x509.Certificate, now: datetime) -> bool:
    if not path.exists() or not path.with_suffix(".key").exists():
        return False
    found = x509.load_pem_x509_certificate(path.read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (
        list(names) == [_general_name(host)]
        and found.issuer == issuer.subject
        and found.not_valid_after_utc - RENEWED_BEFORE > now
    )


def _make_ca(folder: Path, now: datetime) -> Iterable[Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(f"certgate perspectives {os.urandom(4).hex()}")
    builder = _builder(subject, subject, key, now, CA_DAYS)
    certificate = (
        builder.add_extension(x509.BasicConstraints(True, 0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _write(folder, CA, certificate, key)


def _make(
    folder: Path,
    name: str,
    host: str,
    usage: x509.ObjectIdentifier,
    issuer: x509.Certificate,
    issuer_key: ec.EllipticCurvePrivateKey,
    now: datetime,
) -> Iterable[Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(name), issuer.subject, key, now, CERTIFICATE_DAYS)
    certificate = (
        builder.add_extension(x509.BasicConstraints(False, None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        # One purpose each: no perspective can pose as the coordinator before another one.
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(host)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return _write(folder, name, certificate, key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks of other machines are not ours
        .not_valid_after(now + timedelta(days=days))
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Iterable[Path]:
    """The key before the certificate: a run that is cut short makes both again."""
    certificate_path, key_path = folder / f"{name}.pem", folder / f"{name}.key"
    certificate_path.unlink(missing_ok=True)
    key_path.unlink(missing_ok=True)
    descriptor = os.open(key_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    certificate_path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return certificate_path, key_path
