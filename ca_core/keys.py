"""What the core and the protocols need of a private key: sign, decrypt, find it again by its label.

Interfaces only, and the identifier of a public key. Where the key lives (file, token, other process) is the
business of a module under ca_core/keystores/. No private key object of a library crosses this border.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import sha256
from typing import Protocol

from ca_core.algorithms import SignatureAlgorithm
from ca_core.der import BIT_STRING, SEQUENCE, read_tlv


class KeyNotFound(LookupError):
    """The key store has no key with this label."""


class KeyExists(ValueError):
    """The key store already has a key with this label; keys are never overwritten."""


class KeyUnusable(ValueError):
    """The stored key cannot be opened or cannot do what is asked of it."""


class DecryptionScheme(StrEnum):
    """How something was encrypted to an RSA public key."""

    RSA_PKCS1 = "rsaes-pkcs1-v1_5"
    """RFC 8017 section 7.2, what SCEP clients send. A wrong padding gives random bytes, not an error."""
    RSA_OAEP_SHA1 = "rsaes-oaep-sha1"
    RSA_OAEP_SHA256 = "rsaes-oaep-sha256"


class Signer(Protocol):
    """A private key that signs with its one algorithm."""

    @property
    def key_type(self) -> str:
        """The type of the key in the words of `ca_core.algorithms`, such as "ec-p256"."""

    @property
    def spki(self) -> bytes:
        """The DER SubjectPublicKeyInfo of the public half."""

    @property
    def algorithm(self) -> SignatureAlgorithm:
        """The algorithm that `sign` uses."""

    async def sign(self, data: bytes) -> bytes:
        """Sign data; the algorithm hashes it. Raises Unavailable when too many are waiting."""


class Decrypter(Protocol):
    """A private key that opens what was encrypted to its public half."""

    @property
    def spki(self) -> bytes:
        """The DER SubjectPublicKeyInfo of the public half."""

    async def decrypt(self, ciphertext: bytes, scheme: str) -> bytes:
        """Decrypt under one of DecryptionScheme. Raises ValueError when the ciphertext does not fit."""


class KeyStore(Protocol):
    """Private keys by label. A label is a short file-name-safe word."""

    async def create(self, label: str, key_type: str) -> Signer:
        """Make a new key and keep it. Returns when it is on disk. Raises KeyExists."""

    async def load(self, label: str) -> Signer:
        """The key with this label. Raises KeyNotFound, KeyUnusable."""

    async def load_decrypter(self, label: str) -> Decrypter:
        """The same key in its other role. Raises KeyNotFound, KeyUnusable when it is no RSA key."""

    async def delete(self, label: str) -> None:
        """Forget a key for good: one that nothing depends on. A label without a key is no mistake."""

    def labels(self) -> tuple[str, ...]:
        """The labels of all keys, sorted."""


def public_key_bits(spki: bytes) -> bytes:
    """The value of the BIT STRING subjectPublicKey, without its count of unused bits.

    This is what key identifiers and OCSP key hashes are made of. Raises ValueError when `spki` is not a DER
    SubjectPublicKeyInfo.
    """
    outer = read_tlv(spki, 0, SEQUENCE)
    algorithm = read_tlv(spki, outer.start, SEQUENCE)
    bits = read_tlv(spki, algorithm.end, BIT_STRING)
    if outer.end != len(spki) or bits.end != outer.end or spki[bits.start : bits.start + 1] != b"\x00":
        raise ValueError("not a SubjectPublicKeyInfo")
    return spki[bits.start + 1 : bits.end]


def key_identifier(spki: bytes) -> bytes:
    """The 20-octet identifier of a public key: RFC 7093 section 2 method 1, the left 160 bits of a SHA-256.

    Not SHA-1 (RFC 5280 section 4.2.1.2 method 1): the identifier needs no collision resistance, but a core
    without SHA-1 runs where policy has switched SHA-1 off, and the length stays what old software expects.
    """
    return sha256(public_key_bits(spki)).digest()[:20]
