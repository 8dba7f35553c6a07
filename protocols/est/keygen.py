"""How a key that the server makes is protected on its way (RFC 7030 sections 4.4.1.1, 4.4.1.2 and 4.4.2).

A client that wants more than TLS names a key of its own in the request. The one that is known here is the key of the
certificate that it shows; a name that is not known is an error, and the key never leaves in the clear instead.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ca_core import der, oids
from ca_core.csr import CertificationRequest, read_attribute
from ca_core.keys import DecryptionScheme, Signer, key_identifier, public_key_bits
from policy.problems import BadAlgorithm, BadCSR
from policy.sealing import Secret
from protocols.cms.algorithms import AES_128_CBC, AES_192_CBC, AES_256_CBC, ContentCipher
from protocols.cms.content import key_identifier as named_identifier
from protocols.cms.enveloped import envelop
from protocols.cms.recipients import KeyAgreement, KeyTransport, RecipientIdentifier, RecipientInfo
from protocols.cms.signed import unsigned
from protocols.est.settings import KeyGeneration
from protocols.est.template import read_oid

KEY_PACKAGE = "2.16.840.1.101.2.1.2.78.5"  # id-ct-KP-aKeyPackage, RFC 5958 section 2
_OAEP = "1.2.840.113549.1.1.7"  # id-RSAES-OAEP, RFC 8017 appendix C
_CIPHERS = {one.oid: one for one in (AES_256_CBC, AES_192_CBC, AES_128_CBC)}


@dataclass(frozen=True, slots=True)
class Protection:
    """For whom the key is encrypted, and with which cipher."""

    recipient: RecipientInfo
    cipher: ContentCipher


def read_protection(csr: CertificationRequest, certificate: bytes | None, allowed: KeyGeneration) -> Protection | None:
    """How the client wants its key: None for TLS alone. `certificate` is the one of the TLS connection, in DER.

    Raises BadCSR for a key that is not known, and for none where the mount wants one; BadAlgorithm when the client
    reads nothing that is made here.
    """
    symmetric = read_attribute(csr, oids.DECRYPT_KEY_IDENTIFIER)
    asymmetric = read_attribute(csr, oids.ASYMMETRIC_DECRYPT_KEY_IDENTIFIER)
    if symmetric is None and asymmetric is None:
        if allowed is KeyGeneration.ENCRYPTED:
            raise BadCSR(
                "keys leave this server encrypted only: name the key of your client certificate in an "
                "asymmetricDecryptKeyIdentifier (RFC 7030 section 4.4.1.2)"
            )
        return None
    if symmetric is not None or asymmetric is None:
        raise BadCSR("the key of the decryptKeyIdentifier is not known here (RFC 7030 section 4.4.1.1)")
    identifier = _octets(asymmetric)
    if certificate is None or not _names(identifier, certificate):
        raise BadCSR(
            "the key of the asymmetricDecryptKeyIdentifier is not known here: it has to be the subjectKeyIdentifier "
            "of the TLS client certificate (RFC 7030 section 4.4.1.2)"
        )
    capabilities = _capabilities(csr)
    return Protection(_recipient(certificate, identifier, capabilities), _cipher(capabilities))


def _octets(value: bytes) -> bytes:
    try:
        element = der.read_tlv(value, 0, der.OCTET_STRING)
    except ValueError as exc:
        raise BadCSR("the asymmetricDecryptKeyIdentifier is not an OCTET STRING") from exc
    return value[element.start : element.end]


def _names(identifier: bytes, certificate: bytes) -> bool:
    """Whether this is an identifier of the certificate's key: the one that it has, or one of the usual digests."""
    spki = _spki(certificate)
    digest = hashlib.sha1(public_key_bits(spki), usedforsecurity=False).digest()  # RFC 5280 section 4.2.1.2
    known = (named_identifier(certificate), digest, key_identifier(spki))
    return any(one is not None and hmac.compare_digest(one, identifier) for one in known)


def _spki(certificate: bytes) -> bytes:
    key = x509.load_der_x509_certificate(certificate).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _capabilities(csr: CertificationRequest) -> tuple[str, ...] | None:
    """What the client says that it can decrypt (RFC 8551 section 2.5.2), best first; None where it says nothing."""
    value = read_attribute(csr, oids.SMIME_CAPABILITIES)
    if value is None:
        return None
    try:
        return tuple(read_oid(der.elements(one)[0]) for one in der.elements(value))
    except (ValueError, IndexError) as exc:
        raise BadCSR("the SMIMECapabilities cannot be read (RFC 8551 section 2.5.2)") from exc


def _cipher(capabilities: tuple[str, ...] | None) -> ContentCipher:
    if capabilities is None:
        return AES_256_CBC
    cipher = next((_CIPHERS[oid] for oid in capabilities if oid in _CIPHERS), None)
    if cipher is None:
        names = ", ".join(one.name for one in _CIPHERS.values())
        raise BadAlgorithm(f"the SMIMECapabilities name no cipher that keys are encrypted with here; these are {names}")
    return cipher


def _recipient(certificate: bytes, identifier: bytes, capabilities: tuple[str, ...] | None) -> RecipientInfo:
    key = x509.load_der_x509_certificate(certificate).public_key()
    name = RecipientIdentifier.of_key(identifier)
    if isinstance(key, rsa.RSAPublicKey):
        oaep = _OAEP in (capabilities or ())
        return KeyTransport(key, name, DecryptionScheme.RSA_OAEP_SHA256 if oaep else DecryptionScheme.RSA_PKCS1)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return KeyAgreement(key, name)
    raise BadAlgorithm("a key can be encrypted to an RSA or EC key only, and the client certificate has another")


async def protect(key: Secret, protection: Protection, certificate: bytes, signer: Signer) -> bytes:
    """The key in an EnvelopedData: a SignedData with an AsymmetricKeyPackage, signed by who made it (section 4.4.2).

    `certificate` is the signer's, and goes along.
    """
    package = unsigned(
        KEY_PACKAGE,
        der.sequence(key.reveal()),
        signer=certificate,
        algorithm=signer.algorithm,
        attributes={},
        certificates=(certificate,),
    )
    signed = package.finish(await signer.sign(package.to_sign()))
    # Inside, a content type has its content alone, without the ContentInfo around it (RFC 5652 section 6.1).
    (content,) = der.elements(der.elements(signed)[1], 0xA0)
    return envelop(content, [protection.recipient], protection.cipher, content_type=oids.CMS_SIGNED_DATA)
