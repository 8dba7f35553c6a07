"""Keys that are made for clients (RFC 9483 section 4.1.6): for whom they are encrypted, and how.

The private key is made, signed, encrypted and forgotten within one answer. It is encrypted for one recipient: the key
of the certificate that protects the request, or whoever has the shared secret.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ca_core.algorithms import SignatureAlgorithm
from ca_core.der import elements, read_tlv, sequence, tlv
from ca_core.oids import CMS_SIGNED_DATA
from policy.problems import BadAlgorithm, Forbidden, Problem
from policy.sealing import Secret
from protocols.cmp.message import BodyType, PKIMessage
from protocols.cms.algorithms import AES_256_CBC
from protocols.cms.content import key_identifier as named_identifier
from protocols.cms.enveloped import envelop
from protocols.cms.recipients import (
    KeyAgreement,
    KeyTransport,
    Password,
    PasswordWrap,
    RecipientIdentifier,
    RecipientInfo,
    Wrapped,
)
from protocols.cms.signed import Unsigned, unsigned
from protocols.crmf import read_messages

KEY_PACKAGE = "2.16.840.1.101.2.1.2.78.5"  # id-ct-KP-aKeyPackage, RFC 5958 section 2
_WITH_KEYS = frozenset({BodyType.IR, BodyType.CR, BodyType.KUR})


def asks_for_key(message: PKIMessage) -> bool:
    """Whether a request leaves its key to be made. What cannot be read asks for nothing."""
    if message.body not in _WITH_KEYS or message.header.pvno < 3:
        return False
    try:
        return any(one.request.template.key_wanted for one in read_messages(message.content))
    except Problem:
        return False


def for_secret(secret: Secret, wrapping: PasswordWrap) -> Wrapped:
    """The recipient who has the shared secret: a content key wrapped under it while it is at hand."""
    return Wrapped.by(Password(secret.reveal(), wrapping), AES_256_CBC.key_bytes)


def for_certificate(der: bytes, key_id: bytes | None) -> RecipientInfo:
    """The recipient who has the key of the certificate that protects the request (erratum 8183 of RFC 9483).

    Raises Forbidden when the key usage of the certificate does not allow it, BadAlgorithm for a key that cannot.
    """
    certificate = x509.load_der_x509_certificate(der)
    recipient = _recipient(certificate, der, key_id)
    _check_usage(certificate, "key_encipherment" if isinstance(recipient, KeyTransport) else "key_agreement")
    return recipient


def _recipient(certificate: x509.Certificate, der: bytes, key_id: bytes | None) -> RecipientInfo:
    key = certificate.public_key()
    name = RecipientIdentifier.of_key(key_id) if key_id is not None else RecipientIdentifier.of_certificate(der)
    if isinstance(key, rsa.RSAPublicKey):
        return KeyTransport(key, name)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return KeyAgreement(key, name)
    raise BadAlgorithm("nothing is encrypted to another key than one of RSA or on a curve")


def _check_usage(certificate: x509.Certificate, wanted: str) -> None:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not getattr(usage, wanted):
        raise Forbidden(f"the key usage of the certificate that protects the request lacks {wanted.replace('_', ' ')}")


def package(private_key: Secret, signer: bytes, algorithm: SignatureAlgorithm) -> Unsigned:
    """The AsymmetricKeyPackage (RFC 5958) that the key generation authority signs; `signer` is its certificate."""
    return unsigned(
        KEY_PACKAGE,
        sequence(private_key.reveal()),
        signer=signer,
        algorithm=algorithm,
        attributes={},
        certificates=(signer,),
    )


def encrypt_certificate(certificate: bytes) -> bytes:
    """certOrEncCert for a key that cannot sign: who reads it, has the key (RFC 9810 section 5.2.8.3.2).

    Whether its key usage allows that is not looked at: it is a proof, and no use. Raises BadAlgorithm.
    """
    read = x509.load_der_x509_certificate(certificate)
    message = envelop(certificate, [_recipient(read, certificate, named_identifier(certificate))], AES_256_CBC)
    (enveloped,) = elements(elements(message)[1], 0xA0)
    return tlv(0xA0, enveloped[read_tlv(enveloped, 0).start :])


def encrypt(signed: bytes, recipient: RecipientInfo) -> bytes:
    """privateKey of a CertifiedKeyPair: EncryptedKey with the choice envelopedData (RFC 4211 section 2.1, point 9).

    `signed` is the ContentInfo of the signed package; inside, its SignedData stands alone (RFC 5652 section 6.1).
    """
    (content,) = elements(elements(signed)[1], 0xA0)
    key = recipient.key if isinstance(recipient, Wrapped) else None
    message = envelop(content, [recipient], AES_256_CBC, content_type=CMS_SIGNED_DATA, key=key)
    (enveloped,) = elements(elements(message)[1], 0xA0)
    return tlv(0xA0, enveloped[read_tlv(enveloped, 0).start :])
