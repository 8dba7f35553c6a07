"""Who shall be able to read an EnvelopedData (RFC 5652 section 6.2): four kinds, each of which wraps the content key.

    KeyTransport      an RSA key, for its certificate or its key identifier
    KeyAgreement      an EC key, the same (RFC 5753)
    SharedKey         a symmetric key that both sides have (EST serverkeygen, RFC 7030 section 4.4.1.1)
    Password          a password that both sides have (SCEP, CMP)

A `RecipientIdentifier` is written by `of_certificate` or `of_key`, in the two forms that the kinds need.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ca_core import oids
from ca_core.der import NULL, bit_string, integer, object_identifier, octet_string, sequence, tlv
from ca_core.keys import DecryptionScheme
from policy.problems import BadAlgorithm
from protocols.cms import algorithms
from protocols.cms.content import issuer_and_serial

# AES key wrap by the size of the wrapping key (RFC 3565 section 2.3.2): the parameters are absent.
_WRAPS = {
    16: sequence(object_identifier("2.16.840.1.101.3.4.1.5")),
    24: sequence(object_identifier("2.16.840.1.101.3.4.1.25")),
    32: sequence(object_identifier("2.16.840.1.101.3.4.1.45")),
}


class RecipientInfo(Protocol):
    """Somebody who shall be able to read a message."""

    @property
    def message_version(self) -> int:
        """The least version of an EnvelopedData with this recipient (RFC 5652 section 6.1)."""

    def wrap(self, content_key: bytes) -> bytes:
        """The RecipientInfo in DER, with the content key encrypted."""


@dataclass(frozen=True, slots=True)
class RecipientIdentifier:
    """The name under which a recipient finds its private key: one of the two is there."""

    issuer_and_serial: bytes | None = None
    """DER of an IssuerAndSerialNumber."""
    key_identifier: bytes | None = None

    @classmethod
    def of_certificate(cls, certificate: bytes) -> RecipientIdentifier:
        """Issuer and serial number of a certificate. Raises Malformed."""
        return cls(issuer_and_serial=issuer_and_serial(certificate))

    @classmethod
    def of_key(cls, key_identifier: bytes) -> RecipientIdentifier:
        """A key identifier, such as the value of DecryptKeyIdentifier."""
        return cls(key_identifier=key_identifier)


@dataclass(frozen=True, slots=True)
class KeyTransport:
    """An RSA key, to which the content key is encrypted (RFC 5652 section 6.2.1)."""

    key: rsa.RSAPublicKey
    identifier: RecipientIdentifier
    scheme: DecryptionScheme = DecryptionScheme.RSA_PKCS1

    @classmethod
    def to(
        cls, certificate: bytes, key: PublicKeyTypes, scheme: DecryptionScheme = DecryptionScheme.RSA_PKCS1
    ) -> KeyTransport:
        """The holder of a certificate, whose public key was read already. Raises BadAlgorithm for another than RSA."""
        if not isinstance(key, rsa.RSAPublicKey):
            raise BadAlgorithm("the answer cannot be encrypted to this certificate: its key is no RSA key")
        return cls(key, RecipientIdentifier.of_certificate(certificate), scheme)

    @property
    def message_version(self) -> int:
        """0 with issuer and serial number, 2 with a key identifier: that is also its own version."""
        return 0 if self.identifier.issuer_and_serial else 2

    def wrap(self, content_key: bytes) -> bytes:
        """The KeyTransRecipientInfo."""
        identifier = self.identifier.issuer_and_serial or tlv(0x80, self.identifier.key_identifier or b"")
        return sequence(
            integer(self.message_version),
            identifier,
            algorithms.transport_identifier(self.scheme),
            octet_string(self.key.encrypt(content_key, algorithms.transport_padding(self.scheme))),
        )


@dataclass(frozen=True, slots=True, repr=False)
class Wrapped:
    """A recipient for whom the content key was wrapped already, by whoever had the password for a moment."""

    key: bytes
    info: bytes
    message_version: int

    @classmethod
    def by(cls, recipient: RecipientInfo, key_bytes: int) -> Wrapped:
        """A fresh content key of so many bytes, wrapped for a recipient."""
        key = secrets.token_bytes(key_bytes)
        return cls(key, recipient.wrap(key), recipient.message_version)

    def wrap(self, content_key: bytes) -> bytes:
        """The RecipientInfo that was made before. Raises ValueError for another key than its own."""
        if content_key != self.key:
            raise ValueError("another content key was wrapped for this recipient")
        return self.info


# dhSinglePass-stdDH-sha256kdf-scheme and its siblings (RFC 5753 section 7.1.4), by the size of the curve: the digest
# and the wrapping key are as strong as the curve (RFC 5753 section 7.2).
_AGREEMENTS: dict[int, tuple[str, hashes.HashAlgorithm, int]] = {
    256: ("1.3.132.1.11.1", hashes.SHA256(), 16),
    384: ("1.3.132.1.11.2", hashes.SHA384(), 32),
    521: ("1.3.132.1.11.3", hashes.SHA512(), 32),
}


@dataclass(frozen=True, slots=True)
class KeyAgreement:
    """An EC key, with which a fresh key agrees on a wrapping key: ephemeral-static ECDH (RFC 5753 section 3.1)."""

    key: ec.EllipticCurvePublicKey
    identifier: RecipientIdentifier

    message_version = 2

    @classmethod
    def to(cls, certificate: bytes, key: PublicKeyTypes) -> KeyAgreement:
        """The holder of a certificate, whose public key was read already. Raises BadAlgorithm for another than EC."""
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.key_size not in _AGREEMENTS:
            raise BadAlgorithm("a content key can be agreed on with a key on P-256, P-384 or P-521 only")
        return cls(key, RecipientIdentifier.of_certificate(certificate))

    def wrap(self, content_key: bytes) -> bytes:
        """The KeyAgreeRecipientInfo, version 3, tag [1]."""
        oid, hash_algorithm, size = _AGREEMENTS[self.key.key_size]
        ephemeral = ec.generate_private_key(self.key.curve)
        # ECC-CMS-SharedInfo (RFC 5753 section 7.2): the wrapping algorithm, and its key size in bits.
        shared_info = sequence(_WRAPS[size], tlv(0xA2, octet_string((8 * size).to_bytes(4, "big"))))
        secret = ephemeral.exchange(ec.ECDH(), self.key)
        wrapping_key = X963KDF(hash_algorithm, size, shared_info).derive(secret)
        point = ephemeral.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        originator = tlv(0xA1, sequence(object_identifier(oids.EC_PUBLIC_KEY)) + bit_string(point))
        encrypted = sequence(self._identifier(), octet_string(aes_key_wrap(wrapping_key, content_key)))
        algorithm = sequence(object_identifier(oid), _WRAPS[size])
        return tlv(0xA1, integer(3) + tlv(0xA0, originator) + algorithm + sequence(encrypted))

    def _identifier(self) -> bytes:
        """A KeyAgreeRecipientIdentifier (RFC 5652 section 6.2.2)."""
        return self.identifier.issuer_and_serial or tlv(0xA0, octet_string(self.identifier.key_identifier or b""))


@dataclass(frozen=True, slots=True)
class SharedKey:
    """A symmetric key of 16, 24 or 32 bytes that wraps the content key (RFC 5652 section 6.2.3)."""

    key: bytes
    identifier: bytes
    """The KEKIdentifier's key identifier."""

    message_version = 2

    def wrap(self, content_key: bytes) -> bytes:
        """The KEKRecipientInfo, version 4, tag [2]."""
        wrapped = octet_string(aes_key_wrap(self.key, content_key))
        return tlv(0xA2, integer(4) + sequence(octet_string(self.identifier)) + _WRAPS[len(self.key)] + wrapped)


class PasswordWrap(Enum):
    """How a key derived from a password wraps the content key."""

    PWRI_KEK = "pwri-kek"
    """id-alg-PWRI-KEK (RFC 3211 section 2.3): what OpenSSL reads."""
    AES_WRAP = "aes-wrap"
    """AES key wrap, as the profile of CMP wants it (RFC 9481 section 4.4)."""


_PBKDF2 = object_identifier("1.2.840.113549.1.5.12")  # RFC 8018 appendix A.2
_HMAC_SHA256 = sequence(object_identifier("1.2.840.113549.2.9"), NULL)  # RFC 8018 appendix B.1.2
_PWRI_KEK = object_identifier("1.2.840.113549.1.9.16.3.9")  # RFC 3211 section 2.1
_SALT_BYTES = 16
_ITERATIONS = 10_000
"""Of PBKDF2. The passwords of this service are random and long: more rounds would only cost its time."""


@dataclass(frozen=True, slots=True)
class Password:
    """A password, from which a key is derived that wraps the content key (RFC 5652 section 6.2.4)."""

    password: bytes
    wrapping: PasswordWrap = PasswordWrap.PWRI_KEK
    iterations: int = _ITERATIONS

    message_version = 3

    def __repr__(self) -> str:
        return f"<recipient with a password, {self.wrapping.value}>"

    def wrap(self, content_key: bytes) -> bytes:
        """The PasswordRecipientInfo, version 0, tag [3]; PBKDF2 with HMAC-SHA-256 and a key of 32 bytes."""
        salt = secrets.token_bytes(_SALT_BYTES)
        key = hashlib.pbkdf2_hmac("sha256", self.password, salt, self.iterations, 32)
        derivation = _PBKDF2 + sequence(octet_string(salt), integer(self.iterations), _HMAC_SHA256)
        if self.wrapping is PasswordWrap.AES_WRAP:
            algorithm, wrapped = _WRAPS[32], aes_key_wrap(key, content_key)
        else:
            vector = secrets.token_bytes(16)
            algorithm = sequence(_PWRI_KEK, algorithms.AES_256_CBC.identifier(vector))
            wrapped = _wrap_twice(key, vector, content_key)
        return tlv(0xA3, integer(0) + tlv(0xA0, derivation) + algorithm + octet_string(wrapped))


def _wrap_twice(key: bytes, vector: bytes, content_key: bytes) -> bytes:
    """RFC 3211 section 2.3.1: length, check value, key and padding, encrypted twice in one chain of CBC."""
    block = bytes((len(content_key),)) + bytes(0xFF ^ one for one in content_key[:3]) + content_key
    block += secrets.token_bytes(max(32, -(-len(block) // 16) * 16) - len(block))
    encryptor = Cipher(AES(key), modes.CBC(vector)).encryptor()
    return encryptor.update(encryptor.update(block)) + encryptor.finalize()
