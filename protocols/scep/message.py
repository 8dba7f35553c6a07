"""pkiMessage (RFC 8894 section 3): a signed request with its attributes in, a CertRep out.

message = read_message(body)                 # nothing is believed yet
verify(message, sha1=False)                  # signature and digest
envelope = read_enveloped(message.signed.content)
…
answer = success(message, content, speaker, nonce)   # or pending(), failure()
body = answer.finish(await key.sign(answer.to_sign()))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ca_core import oids
from ca_core.algorithms import SignatureAlgorithm
from ca_core.der import octet_string, read_tlv, sequence, tlv
from policy.problems import BadProofOfPossession, BadPublicKey, Malformed, Problem
from protocols.cms.signed import SIGNING_TIME, SignedData, Unsigned, read_signed, unsigned
from protocols.scep.problems import FailInfo, fail_text

# Attributes (RFC 8894 section 3.2.1), an arc of VeriSign's.
MESSAGE_TYPE = "2.16.840.1.113733.1.9.2"
PKI_STATUS = "2.16.840.1.113733.1.9.3"
FAIL_INFO = "2.16.840.1.113733.1.9.4"
SENDER_NONCE = "2.16.840.1.113733.1.9.5"
RECIPIENT_NONCE = "2.16.840.1.113733.1.9.6"
TRANSACTION_ID = "2.16.840.1.113733.1.9.7"
FAIL_INFO_TEXT = "1.3.6.1.5.5.7.24.1"  # RFC 8894 section 3.2.1.4

MAX_TRANSACTION_ID = 255
MAX_NONCE = 64
"""RFC 8894 section 3.2.1.5 says 16 octets; there are clients with 8 and with 20."""

_UTF8, _PRINTABLE, _IA5 = 0x0C, 0x13, 0x16
_STRINGS = frozenset({_UTF8, _PRINTABLE, _IA5})


class MessageType(IntEnum):
    """What a message asks for (RFC 8894 section 3.2.1.2). No other is served, and none is served by default."""

    RENEWAL_REQ = 17
    PKCS_REQ = 19
    CERT_POLL = 20
    GET_CERT = 21
    GET_CRL = 22


class PKIStatus(IntEnum):
    """How a request ended (RFC 8894 section 3.2.1.3)."""

    SUCCESS = 0
    FAILURE = 2
    PENDING = 3


_CERT_REP = "3"


@dataclass(frozen=True, slots=True)
class Message:
    """A request as it was received: what its signed attributes say, and whose certificate came with it."""

    signed: SignedData
    transaction_id: str
    transaction_der: bytes
    """The attribute's value as it was sent: the answer repeats it, whatever kind of string it is."""
    message_type: MessageType | None
    """None for any number that is not served."""
    sender_nonce: bytes
    signer: bytes
    """The signer's certificate, DER, found by its name."""
    key: CertificatePublicKeyTypes
    subject: bytes
    issuer: bytes
    spki: bytes

    @property
    def self_signed(self) -> bool:
        """Whether the signer vouches for itself, as a client without a certificate does (RFC 8894 section 2.3)."""
        return self.subject == self.issuer


def read_message(body: bytes) -> Message:
    """Read a pkiMessage: structure, attributes, the signer's certificate. Verifies nothing.

    Raises TooLarge, and Malformed when there is no request that could be answered: no SignedData of one signer with
    its certificate, no transactionID, no senderNonce (RFC 8894 section 4.3).
    """
    signed = read_signed(body)
    if signed.content_type != oids.CMS_DATA:
        raise Malformed("the content of the message is not id-data (RFC 8894 section 3.2)")
    transaction_der = signed.attribute(TRANSACTION_ID)
    nonce_der = signed.attribute(SENDER_NONCE)
    if transaction_der is None or nonce_der is None:
        raise Malformed("the message has no transactionID or no senderNonce (RFC 8894 section 3.2.1)")
    transaction_id = _string(transaction_der)
    if not 0 < len(transaction_id) <= MAX_TRANSACTION_ID:
        raise Malformed(f"a transactionID has 1 to {MAX_TRANSACTION_ID} characters")
    nonce = _octets(nonce_der)
    if not 0 < len(nonce) <= MAX_NONCE:
        raise Malformed(f"a senderNonce has 1 to {MAX_NONCE} octets")
    signer = signed.signer_certificate()
    try:
        certificate = x509.load_der_x509_certificate(signer)
        key = certificate.public_key()
        subject, issuer = certificate.subject.public_bytes(), certificate.issuer.public_bytes()
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise Malformed("the signer's certificate cannot be read") from exc
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    kind = _message_type(signed)
    return Message(signed, transaction_id, transaction_der, kind, nonce, signer, key, subject, issuer, spki)


def verify(message: Message, *, sha1: bool) -> None:
    """Verify the message's signature. Raises BadProofOfPossession (badMessageCheck), BadAlgorithm, Malformed."""
    try:
        message.signed.verify(message.key, sha1=sha1)
    except InvalidSignature as exc:
        raise BadProofOfPossession("the signature of the message does not fit") from exc


def signing_time(message: Message) -> datetime | None:
    """The signing time that the client says, if it says one. Raises Malformed."""
    value = message.signed.attribute(SIGNING_TIME)
    if value is None:
        return None
    try:
        return asn1.decode_der(_Time, sequence(value)).time.as_datetime()
    except ValueError as exc:
        raise Malformed("the signing time of the message cannot be read (RFC 5652 section 11.3)") from exc


@asn1.sequence
class _Time:
    time: asn1.UTCTime | asn1.GeneralizedTime


def _message_type(signed: SignedData) -> MessageType | None:
    value = signed.attribute(MESSAGE_TYPE)
    text = "" if value is None else _string(value)
    try:
        # A decimal number as text; int() alone would take "+19" and "1_9" as well.
        return MessageType(int(text)) if text.isascii() and text.isdecimal() and len(text) <= 3 else None
    except ValueError:
        return None


def _string(value: bytes) -> str:
    content = _content(value)
    if value[0] not in _STRINGS:
        raise Malformed("an attribute of the message is not a character string (RFC 8894 section 3.2.1)")
    try:
        return content.decode("utf-8" if value[0] == _UTF8 else "ascii")
    except UnicodeDecodeError as exc:
        raise Malformed("an attribute of the message is not the character string that it says") from exc


def _octets(value: bytes) -> bytes:
    content = _content(value)
    if value[0] != 0x04:
        raise Malformed("the senderNonce is not an OCTET STRING (RFC 8894 section 3.2.1.5)")
    return content


def _content(value: bytes) -> bytes:
    return value[read_tlv(value, 0).start :]


# --- what GetCert and GetCRL ask about
# ------------------------------------------------------------------------


@asn1.sequence
class _IssuerAndSerial:
    issuer: asn1.TLV
    serial: int


@dataclass(frozen=True, slots=True)
class IssuerAndSerial:
    """Which certificate is asked about (RFC 8894 section 3.3.4): the issuer's name in DER, the serial number."""

    issuer: bytes
    serial: int


def read_issuer_and_serial(plaintext: bytes) -> IssuerAndSerial:
    """Read an IssuerAndSerialNumber. Raises Malformed."""
    try:
        read = asn1.decode_der(_IssuerAndSerial, plaintext)
    except ValueError as exc:
        raise Malformed(UNREADABLE) from exc
    return IssuerAndSerial(tlv(read.issuer.tag_bytes[0], bytes(read.issuer.data)), read.serial)


UNREADABLE = "the encrypted content cannot be read"
"""Said of everything that is wrong behind the encryption, so that nobody learns how far it went (section 7)."""


# --- answers
# ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Speaker:
    """Whose answer it is: the RA's certificate, and the algorithm of its key."""

    certificate: bytes
    algorithm: SignatureAlgorithm


def success(message: Message, content: bytes, speaker: Speaker, nonce: bytes) -> Unsigned:
    """A CertRep with an EnvelopedData for the signer of the request (RFC 8894 section 3.3.2.1)."""
    return _cert_rep(message, PKIStatus.SUCCESS, content, speaker, nonce)


def pending(message: Message, speaker: Speaker, nonce: bytes) -> Unsigned:
    """A CertRep that says: ask again (RFC 8894 section 3.3.2.3)."""
    return _cert_rep(message, PKIStatus.PENDING, b"", speaker, nonce)


def failure(message: Message, info: FailInfo, problem: Problem, speaker: Speaker, nonce: bytes) -> Unsigned:
    """A CertRep that says why not (RFC 8894 section 3.3.2.2)."""
    further = {
        FAIL_INFO: _printable(str(int(info))),
        FAIL_INFO_TEXT: tlv(_UTF8, fail_text(problem).encode("utf-8", "replace")),
    }
    return _cert_rep(message, PKIStatus.FAILURE, b"", speaker, nonce, further)


def _cert_rep(
    message: Message,
    status: PKIStatus,
    content: bytes,
    speaker: Speaker,
    nonce: bytes,
    further: Mapping[str, bytes] | None = None,
) -> Unsigned:
    # Without content the eContent is there and empty: certmonger takes none at all for a broken message.
    attributes = {
        TRANSACTION_ID: message.transaction_der,
        MESSAGE_TYPE: _printable(_CERT_REP),
        PKI_STATUS: _printable(str(int(status))),
        SENDER_NONCE: octet_string(nonce),
        RECIPIENT_NONCE: octet_string(message.sender_nonce),
        **(further or {}),
    }
    return unsigned(
        oids.CMS_DATA,
        content,
        signer=speaker.certificate,
        algorithm=speaker.algorithm,
        attributes=attributes,
        certificates=(speaker.certificate,),
    )


def _printable(text: str) -> bytes:
    return tlv(_PRINTABLE, text.encode("ascii"))


def check_recipient(message: Message) -> None:
    """That an answer can be encrypted to the signer of the request. Raises BadPublicKey (badAlg)."""
    if not hasattr(message.key, "encrypt"):
        raise BadPublicKey(
            "the answer is encrypted to the key that signed the request, which must be an RSA key "
            "(RFC 8894 section 2.1.2); enrol keys of other kinds by EST, CMP or ACME"
        )
