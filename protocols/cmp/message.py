"""PKIMessage in (RFC 9810 section 5.1): header, body and protection, with the bytes as they were received.

Only DER is read. What is protected is the SEQUENCE of header and body, whose bytes are cut out of the message and
never written again. Bodies stay undecoded here; protocols/cmp/bodies.py reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1

from ca_core.der import SEQUENCE, elements, sequence, tlv
from policy.problems import Malformed

MAX_EXTRA_CERTS = 20
"""Certificates beside a message. Real chains have four; each costs the search for a path."""
MAX_INFO = 20
DIRECTORY_NAME = 0xA4

IMPLICIT_CONFIRM = "1.3.6.1.5.5.7.4.13"
CONFIRM_WAIT_TIME = "1.3.6.1.5.5.7.4.14"
ORIG_PKI_MESSAGE = "1.3.6.1.5.5.7.4.15"
CERT_PROFILE = "1.3.6.1.5.5.7.4.21"


class BodyType(IntEnum):
    """The tags of PKIBody (RFC 9810 section 5.1.2)."""

    IR = 0
    IP = 1
    CR = 2
    CP = 3
    P10CR = 4
    POPDECC = 5
    POPDECR = 6
    KUR = 7
    KUP = 8
    KRR = 9
    KRP = 10
    RR = 11
    RP = 12
    CCR = 13
    CCP = 14
    CKUANN = 15
    CANN = 16
    RANN = 17
    CRLANN = 18
    PKICONF = 19
    NESTED = 20
    GENM = 21
    GENP = 22
    ERROR = 23
    CERTCONF = 24
    POLLREQ = 25
    POLLREP = 26


@dataclass(frozen=True, slots=True)
class PKIHeader:
    """A PKIHeader. Names are DER: GeneralName as received, `sender_name` the Name in it if it is a directoryName."""

    pvno: int
    sender: bytes
    sender_name: bytes | None
    recipient: bytes
    message_time: datetime | None
    protection_alg: bytes | None
    sender_kid: bytes | None
    transaction_id: bytes | None
    sender_nonce: bytes | None
    recip_nonce: bytes | None
    info: tuple[tuple[str, bytes | None], ...]
    """generalInfo: (OID, DER of the value or none)."""

    def info_value(self, oid: str) -> tuple[bool, bytes | None]:
        """Whether generalInfo has this type, and its value."""
        found = [value for one, value in self.info if one == oid]
        return bool(found), found[0] if found else None


@dataclass(frozen=True, slots=True)
class PKIMessage:
    """A PKIMessage. `content` is what is inside the body's tag; `protected` what protection is computed over."""

    header: PKIHeader
    body: BodyType
    content: bytes
    protected: bytes
    protection: bytes | None
    extra_certs: tuple[bytes, ...]


@asn1.sequence
class _Message:
    header: asn1.TLV
    body: asn1.TLV
    protection: Annotated[asn1.BitString | None, asn1.Explicit(0)]
    extra_certs: Annotated[list[asn1.TLV] | None, asn1.Explicit(1)]


@asn1.sequence
class _Header:
    pvno: int
    sender: asn1.TLV
    recipient: asn1.TLV
    message_time: Annotated[asn1.GeneralizedTime | None, asn1.Explicit(0)]
    protection_alg: Annotated[list[asn1.TLV] | None, asn1.Explicit(1)]
    sender_kid: Annotated[bytes | None, asn1.Explicit(2)]
    recip_kid: Annotated[bytes | None, asn1.Explicit(3)]
    transaction_id: Annotated[bytes | None, asn1.Explicit(4)]
    sender_nonce: Annotated[bytes | None, asn1.Explicit(5)]
    recip_nonce: Annotated[bytes | None, asn1.Explicit(6)]
    free_text: Annotated[list[asn1.TLV] | None, asn1.Explicit(7)]
    general_info: Annotated[list[list[asn1.TLV]] | None, asn1.Explicit(8)]


@asn1.sequence
class _OneOID:
    oid: x509.ObjectIdentifier


def read_message(der: bytes) -> PKIMessage:
    """Read a PKIMessage. Raises Malformed; judges neither version nor protection."""
    try:
        message = asn1.decode_der(_Message, der)
        header_der, body_der = whole(message.header), whole(message.body)
        header = _read_header(asn1.decode_der(_Header, header_der))
        tag = body_der[0]
        if tag & 0xE0 != 0xA0:
            raise ValueError("the body is none of PKIBody")
        body = BodyType(tag & 0x1F)
        if message.protection is not None and message.protection.padding_bits():
            raise ValueError("the protection is not a whole number of octets")
        extra = message.extra_certs or []
        if len(extra) > MAX_EXTRA_CERTS:
            raise ValueError(f"there are more than {MAX_EXTRA_CERTS} extraCerts")
        return PKIMessage(
            header,
            body,
            bytes(message.body.data),
            sequence(header_der, body_der),
            message.protection.as_bytes() if message.protection is not None else None,
            tuple([whole(one) for one in extra]),
        )
    except (ValueError, OverflowError) as exc:
        raise Malformed("the body is not one DER structure of PKIMessage (RFC 9810 section 5.1)") from exc


def whole(element: asn1.TLV) -> bytes:
    """The element with its header. DER writes a length in one way only, so these are the bytes received."""
    tag = element.tag_bytes
    if len(tag) != 1:
        raise ValueError("no element of CMP has so high a tag")
    return tlv(tag[0], bytes(element.data))


def _read_header(header: _Header) -> PKIHeader:
    info = header.general_info or []
    if len(info) > MAX_INFO:
        raise ValueError(f"there are more than {MAX_INFO} members of generalInfo")
    moment = header.message_time
    return PKIHeader(
        pvno=header.pvno,
        sender=whole(header.sender),
        sender_name=bytes(header.sender.data) if header.sender.tag_bytes[0] == DIRECTORY_NAME else None,
        recipient=whole(header.recipient),
        message_time=moment.as_datetime().astimezone(UTC) if moment is not None else None,
        protection_alg=sequence(*(whole(one) for one in header.protection_alg)) if header.protection_alg else None,
        sender_kid=header.sender_kid,
        transaction_id=header.transaction_id,
        sender_nonce=header.sender_nonce,
        recip_nonce=header.recip_nonce,
        info=tuple([read_info(one) for one in info]),
    )


def read_info(members: list[asn1.TLV]) -> tuple[str, bytes | None]:
    """An InfoTypeAndValue: its OID, and the DER of its value if it has one. Raises ValueError."""
    if not 1 <= len(members) <= 2:
        raise ValueError("an InfoTypeAndValue has one or two members")
    oid = asn1.decode_der(_OneOID, sequence(whole(members[0]))).oid.dotted_string
    return oid, whole(members[1]) if len(members) == 2 else None


def members(element: bytes, tag: int = SEQUENCE) -> tuple[bytes, ...]:
    """The elements inside one element. Raises Malformed."""
    try:
        return elements(element, tag)
    except ValueError as exc:
        raise Malformed("a structure inside the message cannot be read") from exc
