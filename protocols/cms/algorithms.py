"""Which algorithms CMS names how: digests and signatures (RFC 5754), ciphers and key transport (RFC 3565, RFC 3560).

What is old (SHA-1, triple DES, single DES) has rows that are marked so. A caller has to ask for them, each by its own
switch; MD5 and RC2 have no row.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP, AsymmetricPadding, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from ca_core import oids
from ca_core.algorithms import SIGNATURE_ALGORITHMS, SignatureAlgorithm, read_signature_algorithm, verify
from ca_core.der import NULL, object_identifier, read_tlv, sequence, tlv
from ca_core.keys import DecryptionScheme
from policy.problems import BadAlgorithm

# --- digests and signatures
# -----------------------------------------------------------------------------------

SHA1 = "sha1"
_DIGESTS = {"sha256": oids.SHA256, "sha384": oids.SHA384, "sha512": oids.SHA512, SHA1: oids.SHA1}
# RFC 5754 section 2: the parameters are absent, and a NULL is read as well.
_DIGEST_BY_IDENTIFIER = {
    sequence(object_identifier(oid), parameters): name for name, oid in _DIGESTS.items() for parameters in (b"", NULL)
}
_RSA_ENCRYPTION = sequence(object_identifier(oids.RSA_ENCRYPTION), NULL)
_RSA_ENCRYPTIONS = frozenset({_RSA_ENCRYPTION, sequence(object_identifier(oids.RSA_ENCRYPTION))})
_SHA1_SIGNATURES = frozenset(
    sequence(object_identifier(oid), parameters)
    for oid in ("1.2.840.113549.1.1.5", "1.2.840.10045.4.1")  # sha1WithRSAEncryption, ecdsa-with-SHA1
    for parameters in (b"", NULL)
)
# Signature schemes that hash inside still need a digest of the content for the signed attributes: RFC 8419 section 3.1
# for Ed25519, RFC 9882 section 3.3 for ML-DSA. (Ed448 goes with SHAKE256, which nothing here uses.)
_DIGEST_OF_UNHASHED = "sha512"


def read_digest(identifier: bytes) -> str:
    """The name in `hashlib` of the hash that a digest AlgorithmIdentifier names. Raises BadAlgorithm."""
    name = _DIGEST_BY_IDENTIFIER.get(identifier)
    if name is None:
        raise BadAlgorithm(
            "the digest algorithm of the message is not accepted; accepted are SHA-256, SHA-384, SHA-512"
        )
    return name


def digest_for(algorithm: SignatureAlgorithm) -> str:
    """The hash that goes with a signature algorithm of ours."""
    return algorithm.hash_name or _DIGEST_OF_UNHASHED


def digest_identifier(name: str) -> bytes:
    """The AlgorithmIdentifier of a hash, its parameters absent (RFC 5754 section 2)."""
    return sequence(object_identifier(_DIGESTS[name]))


def digest(name: str, data: bytes) -> bytes:
    """The digest of data."""
    return hashlib.new(name, data, usedforsecurity=name != SHA1).digest()


def signature_identifier(algorithm: SignatureAlgorithm) -> bytes:
    """The signatureAlgorithm of a SignerInfo.

    RFC 5754 section 3.2 lets PKCS #1 v1.5 be rsaEncryption or sha256WithRSAEncryption. The first is what every program
    reads; strongSwan 5.9.8 does not know the second here.
    """
    return _RSA_ENCRYPTION if algorithm.family == "rsa" else algorithm.identifier_der


def verify_signature(key: PublicKeyTypes, identifier: bytes, hash_name: str, signature: bytes, data: bytes) -> None:
    """Verify the signature of a SignerInfo, whose digest algorithm is `hash_name`.

    Raises InvalidSignature of `cryptography`, and BadAlgorithm when the algorithm is not accepted, does not go with
    the digest or not with the key. Whether SHA-1 is welcome is for the caller to know.
    """
    if hash_name == SHA1:
        _verify_sha1(key, identifier, signature, data)
        return
    if identifier in _RSA_ENCRYPTIONS:
        algorithm = SIGNATURE_ALGORITHMS[f"{hash_name}WithRSAEncryption"]
    else:
        algorithm = read_signature_algorithm(identifier)
        if digest_for(algorithm) != hash_name:
            raise BadAlgorithm(f"the signature algorithm {algorithm.name} does not go with the digest {hash_name}")
    verify(key, algorithm, signature, data)


def _verify_sha1(key: PublicKeyTypes, identifier: bytes, signature: bytes, data: bytes) -> None:
    sha1 = hashes.SHA1()  # noqa: S303 - behind the caller's switch
    if identifier in _RSA_ENCRYPTIONS | _SHA1_SIGNATURES and isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, data, PKCS1v15(), sha1)
    elif identifier in _SHA1_SIGNATURES and isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, data, ec.ECDSA(sha1))
    else:
        raise BadAlgorithm("the signature algorithm of the message does not go with the digest SHA-1")


# --- content encryption
# ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ContentCipher:
    """A block cipher in CBC mode with the padding of RFC 5652 section 6.3."""

    name: str
    oid: str
    key_bytes: int
    block_bytes: int
    cipher: Any
    """Class of `cryptography` that takes the key."""

    def identifier(self, iv: bytes) -> bytes:
        """The AlgorithmIdentifier with its initialisation vector."""
        return sequence(object_identifier(self.oid), tlv(0x04, iv))

    def encrypt(self, key: bytes, iv: bytes, plaintext: bytes) -> bytes:
        """Pad and encrypt."""
        padder = padding.PKCS7(8 * self.block_bytes).padder()
        encryptor = Cipher(self.cipher(key), modes.CBC(iv)).encryptor()
        return encryptor.update(padder.update(plaintext) + padder.finalize()) + encryptor.finalize()

    def decrypt(self, key: bytes, iv: bytes, ciphertext: bytes) -> bytes:
        """Decrypt and remove the padding. Raises ValueError for a wrong length or padding, without telling which."""
        decryptor = Cipher(self.cipher(key), modes.CBC(iv)).decryptor()
        unpadder = padding.PKCS7(8 * self.block_bytes).unpadder()
        return unpadder.update(decryptor.update(ciphertext) + decryptor.finalize()) + unpadder.finalize()


def _single_des(key: bytes) -> TripleDES:
    # Triple DES with three times the same key is single DES.
    return TripleDES(3 * key)


AES_128_CBC = ContentCipher("aes128-CBC", "2.16.840.1.101.3.4.1.2", 16, 16, AES)
AES_192_CBC = ContentCipher("aes192-CBC", "2.16.840.1.101.3.4.1.22", 24, 16, AES)
AES_256_CBC = ContentCipher("aes256-CBC", "2.16.840.1.101.3.4.1.42", 32, 16, AES)
DES3_CBC = ContentCipher("des-ede3-CBC", "1.2.840.113549.3.7", 24, 8, TripleDES)
DES_CBC = ContentCipher("des-CBC", "1.3.14.3.2.7", 8, 8, _single_des)

AES_CIPHERS = (AES_128_CBC, AES_192_CBC, AES_256_CBC)
"""What is accepted unless a caller asks for more."""
_CIPHERS = {object_identifier(one.oid): one for one in (*AES_CIPHERS, DES3_CBC, DES_CBC)}


def read_cipher(identifier: bytes) -> tuple[ContentCipher, bytes]:
    """The content cipher and its initialisation vector. Raises BadAlgorithm for one without a row.

    ValueError for an identifier that is none. Whether an old cipher is welcome is for the caller to know.
    """
    start = read_tlv(identifier, 0, 0x30).start
    end = read_tlv(identifier, start, 0x06).end
    cipher = _CIPHERS.get(identifier[start:end])
    if cipher is None:
        raise BadAlgorithm(
            "the content encryption algorithm of the message is not accepted; accepted is AES in CBC mode"
        )
    vector = read_tlv(identifier, end, 0x04)
    if vector.end != len(identifier) or vector.end - vector.start != cipher.block_bytes:
        raise ValueError("the initialisation vector has not the size of a block")
    return cipher, identifier[vector.start : vector.end]


# --- key transport
# --------------------------------------------------------------------------------------------

_OAEP = object_identifier("1.2.840.113549.1.1.7")  # id-RSAES-OAEP (RFC 8017 appendix C)


def _oaep_identifiers(hash_oid: str) -> list[bytes]:
    """RSAES-OAEP with one hash for label and mask (RFC 4055 section 4.1), each hash with and without NULL."""
    found = []
    for parameters in (NULL, b""):
        digest_algorithm = sequence(object_identifier(hash_oid), parameters)
        mask = sequence(object_identifier(oids.MGF1), digest_algorithm)
        found.append(sequence(_OAEP, sequence(tlv(0xA0, digest_algorithm), tlv(0xA1, mask))))
    return found


_OAEP_SHA256 = _oaep_identifiers(oids.SHA256)
_SCHEMES = {
    **dict.fromkeys(_RSA_ENCRYPTIONS, DecryptionScheme.RSA_PKCS1),
    **dict.fromkeys(_OAEP_SHA256, DecryptionScheme.RSA_OAEP_SHA256),
    **dict.fromkeys(_oaep_identifiers(oids.SHA1), DecryptionScheme.RSA_OAEP_SHA1),
    # SHA-1 is the default of every parameter, so that DER leaves all of them out.
    sequence(_OAEP, sequence()): DecryptionScheme.RSA_OAEP_SHA1,
}
_TRANSPORTS = {
    DecryptionScheme.RSA_PKCS1: _RSA_ENCRYPTION,
    DecryptionScheme.RSA_OAEP_SHA256: _OAEP_SHA256[0],
    DecryptionScheme.RSA_OAEP_SHA1: sequence(_OAEP, sequence()),
}


def read_transport(identifier: bytes) -> DecryptionScheme:
    """The scheme that a keyEncryptionAlgorithm names. Raises BadAlgorithm."""
    scheme = _SCHEMES.get(identifier)
    if scheme is None:
        raise BadAlgorithm(
            "the key encryption algorithm of the message is not accepted; accepted are RSA PKCS #1 v1.5 and RSAES-OAEP "
            "with SHA-256 or SHA-1"
        )
    return scheme


def transport_identifier(scheme: DecryptionScheme) -> bytes:
    """The keyEncryptionAlgorithm of a scheme."""
    return _TRANSPORTS[scheme]


_PADDINGS = {
    DecryptionScheme.RSA_PKCS1: PKCS1v15(),
    DecryptionScheme.RSA_OAEP_SHA256: OAEP(MGF1(hashes.SHA256()), hashes.SHA256(), None),
    DecryptionScheme.RSA_OAEP_SHA1: OAEP(MGF1(hashes.SHA1()), hashes.SHA1(), None),  # noqa: S303 - a mask, no signature
}


def transport_padding(scheme: DecryptionScheme) -> AsymmetricPadding:
    """The padding under which a public key encrypts a content key."""
    return _PADDINGS[scheme]
