"""Key pairs that are made for somebody else: the private key to hand over, and the request that certifies it.

The key is made and given away. Keys that stay here are a key store's.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from ca_core import der, oids
from ca_core.algorithms import sign, signature_algorithm_for
from ca_core.keystores.software import GENERATED, generate_private_key

KEY_TYPES = tuple(GENERATED)
"""The types of keys that can be made."""


@dataclass(frozen=True, slots=True)
class GeneratedKey:
    """A new private key in PKCS #8 (RFC 5958, DER), and the PKCS #10 request that was made with it."""

    private_key: bytes
    request: bytes

    def __repr__(self) -> str:
        return "GeneratedKey(***)"


def generate(key_type: str, asked: bytes) -> GeneratedKey:
    """A key of this type, and a request with the subject and the extensions of the one that was `asked` with.

    That one's key, signature and other attributes are left behind (RFC 7030 section 4.4.1): it has been read, without
    its signature being verified. Takes a second for large RSA keys. Raises KeyError for an unknown type.
    """
    private_key = generate_private_key(key_type)
    spki = private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    info, *_ = der.elements(asked)
    _version, subject, _key, *rest = der.elements(info)
    attributes = [one for attribute in rest for one in der.elements(attribute, 0xA0)]
    kept = b"".join(one for one in attributes if der.elements(one)[0] in _EXTENSION_REQUESTS)
    info = der.sequence(der.integer(0), subject, spki, der.tlv(0xA0, kept))
    algorithm = signature_algorithm_for(key_type)
    request = der.sequence(info, algorithm.identifier_der, der.bit_string(sign(private_key, algorithm, info)))
    return GeneratedKey(private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()), request)


_EXTENSION_REQUESTS = frozenset(
    der.object_identifier(oid) for oid in (oids.EXTENSION_REQUEST, oids.MS_EXTENSION_REQUEST)
)
