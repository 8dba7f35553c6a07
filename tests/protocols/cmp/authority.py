"""A maker of devices: a CA of somebody else, whose certificates devices bring along (IDevID)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from tests.conftest import START
from tests.protocols.cmp.maker import Key, Signer


class Maker:
    """One CA and the devices under it."""

    def __init__(self, common_name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
        self.certificate = self._sign(self.name, self.key, ca=True)
        self.der = self.certificate.public_bytes(Encoding.DER)

    def _sign(self, subject: x509.Name, key: Key, *, ca: bool = False, usages: Sequence[str] = ()) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(START - timedelta(days=1)).not_valid_after(START + timedelta(days=365))
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        if usages:
            purposes = x509.ExtendedKeyUsage([x509.ObjectIdentifier(one) for one in usages])
            builder = builder.add_extension(purposes, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def device(self, common_name: str, key: Key | None = None, usages: Sequence[str] = ()) -> Signer:
        """A device with its certificate."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
        return Signer(self._sign(subject, key, usages=usages).public_bytes(Encoding.DER), key)
