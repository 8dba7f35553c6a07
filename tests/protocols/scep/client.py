"""A SCEP client of the tests, on asn1crypto: nothing of the door's own codecs is used here."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from asn1crypto import algos, cms, core
from asn1crypto import x509 as ax509
from cryptography import x509
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.serialization import pkcs7

MESSAGE_TYPE = "2.16.840.1.113733.1.9.2"
PKI_STATUS = "2.16.840.1.113733.1.9.3"
FAIL_INFO = "2.16.840.1.113733.1.9.4"
SENDER_NONCE = "2.16.840.1.113733.1.9.5"
RECIPIENT_NONCE = "2.16.840.1.113733.1.9.6"
TRANSACTION_ID = "2.16.840.1.113733.1.9.7"
FAIL_INFO_TEXT = "1.3.6.1.5.5.7.24.1"
DER = serialization.Encoding.DER
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HASHES = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256(), "sha512": hashes.SHA512()}
CIPHERS = {
    "aes128_cbc": (16, 16, AES),
    "aes192_cbc": (24, 16, AES),
    "aes256_cbc": (32, 16, AES),
    "tripledes_3key": (24, 8, TripleDES),
    "des": (8, 8, lambda key: TripleDES(key * 3)),
}


def rsa_key(name: str = "client") -> rsa.RSAPrivateKey:
    """A key of 2048 bits, one for each name and run."""
    return _made(name)


@cache
def _made(name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def make_csr(
    name: str = "device-1.certgate.test",
    key: CertificateIssuerPrivateKeyTypes | None = None,
    challenge: str | None = None,
    *,
    san: Sequence[str] | None = None,
) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(common_name(name))
    names = [x509.DNSName(one) for one in ([name] if san is None else san)]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if challenge is not None:
        builder = builder.add_attribute(x509.oid.AttributeOID.CHALLENGE_PASSWORD, challenge.encode())
    return builder.sign(key or rsa_key(), hashes.SHA256()).public_bytes(DER)


def self_signed(key: CertificateIssuerPrivateKeyTypes, name: str = "SCEP SIGNER") -> bytes:
    """What a client without a certificate signs with."""
    builder = x509.CertificateBuilder().subject_name(common_name(name)).issuer_name(common_name(name))
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(NOON).not_valid_after(NOON + timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(DER)


def encrypt(
    plaintext: bytes,
    recipients: Sequence[bytes],
    cipher: str = "aes128_cbc",
    *,
    oaep: str = "",
    content_key: bytes | None = None,
) -> bytes:
    """An EnvelopedData for the holders of these certificates."""
    size, block, kind = CIPHERS[cipher]
    key, vector = os.urandom(size), os.urandom(block)
    pad = block - len(plaintext) % block
    encryptor = Cipher(kind(key), modes.CBC(vector)).encryptor()
    infos = []
    for der in recipients:
        certificate = ax509.Certificate.load(der)
        public = x509.load_der_x509_certificate(der).public_key()
        assert isinstance(public, rsa.RSAPublicKey)
        scheme: padding.AsymmetricPadding = padding.PKCS1v15()
        algorithm: dict[str, Any] = {"algorithm": "rsaes_pkcs1v15"}
        if oaep:
            scheme = padding.OAEP(padding.MGF1(HASHES[oaep]), HASHES[oaep], None)
            hashed = algos.DigestAlgorithm({"algorithm": oaep})
            mask = algos.MaskGenAlgorithm({"algorithm": "mgf1", "parameters": hashed})
            parameters = algos.RSAESOAEPParams({"hash_algorithm": hashed, "mask_gen_algorithm": mask})
            algorithm = {"algorithm": "rsaes_oaep", "parameters": parameters}
        infos.append(
            cms.RecipientInfo(
                "ktri",
                {
                    "version": "v0",
                    "rid": cms.RecipientIdentifier(
                        "issuer_and_serial_number",
                        {"issuer": certificate.issuer, "serial_number": certificate.serial_number},
                    ),
                    "key_encryption_algorithm": algorithm,
                    "encrypted_key": public.encrypt(content_key if content_key is not None else key, scheme),
                },
            )
        )
    content = {
        "version": "v0",
        "recipient_infos": infos,
        "encrypted_content_info": {
            "content_type": "data",
            "content_encryption_algorithm": {"algorithm": cipher, "parameters": vector},
            "encrypted_content": encryptor.update(plaintext + bytes((pad,)) * pad) + encryptor.finalize(),
        },
    }
    written: bytes = cms.ContentInfo({"content_type": "enveloped_data", "content": cms.EnvelopedData(content)}).dump()
    return written


def sign(
    content: bytes,
    attributes: Mapping[str, core.Asn1Value],
    key: CertificateIssuerPrivateKeyTypes,
    certificate: bytes,
    *,
    digest: str = "sha256",
    further: Sequence[bytes] = (),
) -> bytes:
    """A SignedData with these attributes beside content type and digest."""
    signer = ax509.Certificate.load(certificate)
    values = [
        ("content_type", cms.ContentType("data")),
        ("message_digest", core.OctetString(hashlib.new(digest, content).digest())),
        *attributes.items(),
    ]
    signed = cms.CMSAttributes([cms.CMSAttribute({"type": oid, "values": [value]}) for oid, value in values])
    if isinstance(key, rsa.RSAPrivateKey):
        algorithm, signature = "rsassa_pkcs1v15", key.sign(signed.dump(), padding.PKCS1v15(), HASHES[digest])
    else:
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        algorithm, signature = f"{digest}_ecdsa", key.sign(signed.dump(), ec.ECDSA(HASHES[digest]))
    content_info = cms.ContentInfo(
        {
            "content_type": "signed_data",
            "content": cms.SignedData(
                {
                    "version": "v1",
                    "digest_algorithms": [{"algorithm": digest}],
                    "encap_content_info": {"content_type": "data", "content": content},
                    "certificates": [signer, *(ax509.Certificate.load(one) for one in further)],
                    "signer_infos": [
                        {
                            "version": "v1",
                            "sid": cms.SignerIdentifier(
                                "issuer_and_serial_number",
                                {"issuer": signer.issuer, "serial_number": signer.serial_number},
                            ),
                            "digest_algorithm": {"algorithm": digest},
                            "signed_attrs": signed,
                            "signature_algorithm": {"algorithm": algorithm},
                            "signature": signature,
                        }
                    ],
                }
            ),
        }
    )
    written: bytes = content_info.dump()
    return written


@dataclass(frozen=True)
class CertRep:
    """An answer, as another decoder reads it; its signature and digest are verified."""

    status: str
    fail_info: str | None
    fail_text: str | None
    transaction: bytes
    recipient_nonce: bytes
    sender_nonce: bytes
    message_type: str
    content: bytes | None
    signer: bytes
    raw: bytes


def read_cert_rep(body: bytes) -> CertRep:
    info = cms.ContentInfo.load(body, strict=True)
    signed = info["content"]
    (signer,) = signed["signer_infos"]
    (certificate,) = [one.chosen.dump() for one in signed["certificates"]]
    content = signed["encap_content_info"]["content"].native
    values = {one["type"].dotted: one["values"][0] for one in signer["signed_attrs"]}
    digest = signer["digest_algorithm"]["algorithm"].native
    assert values["1.2.840.113549.1.9.4"].native == hashlib.new(digest, content or b"").digest()
    public = x509.load_der_x509_certificate(certificate).public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    to_sign = b"\x31" + signer["signed_attrs"].dump()[1:]
    public.verify(signer["signature"].native, to_sign, padding.PKCS1v15(), HASHES[digest])
    assert signer["sid"].chosen["serial_number"].native == x509.load_der_x509_certificate(certificate).serial_number
    # strongSwan 5.9.8 knows this identifier only.
    assert signer["signature_algorithm"]["algorithm"].dotted == "1.2.840.113549.1.1.1"
    fail = values.get(FAIL_INFO)
    text = values.get(FAIL_INFO_TEXT)
    return CertRep(
        status=values[PKI_STATUS].native,
        fail_info=None if fail is None else fail.native,
        fail_text=None if text is None else text.native,
        transaction=values[TRANSACTION_ID].dump(),
        recipient_nonce=values[RECIPIENT_NONCE].native,
        sender_nonce=values[SENDER_NONCE].native,
        message_type=values[MESSAGE_TYPE].native,
        content=content,
        signer=certificate,
        raw=body,
    )


def decrypt(content: bytes, key: rsa.RSAPrivateKey) -> tuple[bytes, str]:
    """The plaintext of an EnvelopedData, and the cipher's name."""
    enveloped = cms.ContentInfo.load(content, strict=True)["content"]
    (recipient,) = enveloped["recipient_infos"]
    content_key = key.decrypt(recipient.chosen["encrypted_key"].native, padding.PKCS1v15())
    encrypted = enveloped["encrypted_content_info"]
    algorithm = encrypted["content_encryption_algorithm"]
    name = algorithm["algorithm"].native
    _, _, kind = CIPHERS[name]
    decryptor = Cipher(kind(content_key), modes.CBC(algorithm["parameters"].native)).decryptor()
    padded = decryptor.update(encrypted["encrypted_content"].native) + decryptor.finalize()
    return padded[: -padded[-1]], name


@dataclass
class Client:
    """One device: its key, what it signs with, and how it does things."""

    key: rsa.RSAPrivateKey = field(default_factory=rsa_key)
    certificate: bytes = b""
    """What it signs with; self-signed unless it has one."""
    signing_key: CertificateIssuerPrivateKeyTypes | None = None
    transaction: str = ""
    cipher: str = "aes128_cbc"
    digest: str = "sha256"
    nonce: bytes = b"0123456789abcdef"

    def __post_init__(self) -> None:
        self.certificate = self.certificate or self_signed(self.key)
        self.transaction = self.transaction or os.urandom(16).hex()

    def attributes(self, message_type: int | str) -> dict[str, core.Asn1Value]:
        return {
            MESSAGE_TYPE: core.PrintableString(str(message_type)),
            TRANSACTION_ID: core.PrintableString(self.transaction),
            SENDER_NONCE: core.OctetString(self.nonce),
        }

    def message(
        self, plaintext: bytes, recipients: Sequence[bytes], message_type: int | str = 19, **more: Any
    ) -> bytes:
        """A pkiMessage with this content for these recipients."""
        envelope = encrypt(plaintext, recipients, self.cipher, **more)
        return self.sign(envelope, message_type)

    def sign(self, content: bytes, message_type: int | str = 19) -> bytes:
        key = self.signing_key or self.key
        return sign(content, self.attributes(message_type), key, self.certificate, digest=self.digest)

    def certificates(self, answer: CertRep) -> list[x509.Certificate]:
        """The certificates in an answer, decrypted with the key that the client signs with."""
        key = self.signing_key or self.key
        assert isinstance(key, rsa.RSAPrivateKey)
        assert answer.content is not None
        return pkcs7.load_der_pkcs7_certificates(decrypt(answer.content, key)[0])


def issuer_and_serial(certificate: x509.Certificate) -> bytes:
    """What GetCert and GetCRL ask about."""
    asked = cms.IssuerAndSerialNumber(
        {
            "issuer": ax509.Name.load(certificate.issuer.public_bytes()),
            "serial_number": certificate.serial_number,
        }
    )
    written: bytes = asked.dump()
    return written


def issuer_and_subject(issuer: bytes, subject: bytes) -> bytes:
    """What CertPoll repeats (RFC 8894 section 3.3.3)."""
    return b"\x30" + bytes((len(issuer + subject),)) + issuer + subject
