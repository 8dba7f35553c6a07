"""Bodies of messages: what clients send is read here, what they get is written (RFC 9810 section 5.3)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from cryptography.hazmat import asn1

from ca_core.crmf import CertTemplate, read_template
from ca_core.der import (
    NULL,
    elements,
    generalized_time,
    integer,
    object_identifier,
    octet_string,
    read_tlv,
    sequence,
    tlv,
)
from ca_core.oids import INVALIDITY_DATE, REASON_CODE
from ca_core.status import RevocationReason
from policy.problems import Malformed
from protocols.cmp.message import BodyType, members, whole
from protocols.cmp.problems import PKIFailureInfo, PKIStatus, Refusal

_UTF8_STRING = 0x0C
_GENERAL_NAME = 0xA4


# --- what clients send


@dataclass(frozen=True, slots=True)
class CertStatus:
    """What a client says of one certificate (RFC 9810 section 5.3.18); `hash_alg` is the DER of an OID."""

    cert_hash: bytes
    cert_req_id: int
    accepted: bool
    contradicting: bool
    """Whether it says accepted and names a failure."""
    hash_alg: bytes | None


@dataclass(frozen=True, slots=True)
class RevDetails:
    """What is to be revoked, and why (RFC 9810 section 5.3.9)."""

    template: CertTemplate
    reason: RevocationReason


@asn1.sequence
class _StatusInfo:
    status: int
    text: list[asn1.TLV] | None
    fail: asn1.BitString | None


@asn1.sequence
class _CertStatus:
    cert_hash: bytes
    cert_req_id: int
    status: _StatusInfo | None
    hash_alg: Annotated[list[asn1.TLV] | None, asn1.Explicit(0)]


@asn1.sequence
class _CertStatuses:
    items: list[_CertStatus]


@asn1.sequence
class _PollRequest:
    cert_req_id: int


@asn1.sequence
class _PollRequests:
    items: list[_PollRequest]


@asn1.sequence
class _CertId:
    issuer: asn1.TLV
    serial: int


def read_cert_conf(content: bytes) -> tuple[CertStatus, ...]:
    """Read CertConfirmContent. Raises Malformed."""
    try:
        return tuple(
            CertStatus(
                one.cert_hash,
                one.cert_req_id,
                one.status is None or one.status.status in (PKIStatus.ACCEPTED, PKIStatus.GRANTED_WITH_MODS),
                one.status is not None and one.status.status == PKIStatus.ACCEPTED and one.status.fail is not None,
                whole(one.hash_alg[0]) if one.hash_alg else None,
            )
            for one in asn1.decode_der(_CertStatuses, sequence(content)).items
        )
    except (ValueError, OverflowError) as exc:
        raise Malformed("the body is not CertConfirmContent (RFC 9810 section 5.3.18)") from exc


def read_poll_req(content: bytes) -> tuple[int, ...]:
    """The certReqIds of PollReqContent. Raises Malformed."""
    try:
        return tuple(one.cert_req_id for one in asn1.decode_der(_PollRequests, sequence(content)).items)
    except (ValueError, OverflowError) as exc:
        raise Malformed("the body is not PollReqContent (RFC 9810 section 5.3.22)") from exc


def read_old_cert_id(value: bytes) -> tuple[bytes | None, int]:
    """Issuer (DER of its Name) and serial number of a CertId. Raises Malformed."""
    try:
        read = asn1.decode_der(_CertId, value)
    except (ValueError, OverflowError) as exc:
        raise Malformed("oldCertID is not a CertId (RFC 4211 section 6.5)") from exc
    return (bytes(read.issuer.data) if read.issuer.tag_bytes[0] == _GENERAL_NAME else None), read.serial


def read_rr(content: bytes) -> RevDetails:
    """Read RevReqContent with its one RevDetails. Raises Malformed, Refusal."""
    found = members(content)
    if len(found) != 1:
        raise Refusal(PKIFailureInfo.badRequest, f"there are {len(found)} RevDetails instead of one (RFC 9483 4.2)")
    try:
        template, *extensions = elements(found[0])
        return RevDetails(read_template(template), _read_reason(elements(extensions[0]) if extensions else ()))
    except ValueError as exc:
        raise Malformed("RevDetails has no template, or an extension or reason that is none (RFC 9810 5.3.9)") from exc


def _read_reason(extensions: tuple[bytes, ...]) -> RevocationReason:
    """The CRLReason of crlEntryDetails; other extensions but the invalidity date are not known here."""
    reasons = []
    for extension in extensions:
        oid, *_, value = elements(extension)
        if oid == object_identifier(REASON_CODE):
            reasons.append(octets_of(value))
        elif oid != object_identifier(INVALIDITY_DATE):
            raise Refusal(PKIFailureInfo.badRequest, "crlEntryDetails has an extension that is not known")
    if len(reasons) > 1:
        raise Refusal(PKIFailureInfo.badRequest, "crlEntryDetails has two reasons")
    if not reasons:
        return RevocationReason.UNSPECIFIED
    if reasons[0][:2] != b"\x0a\x01" or len(reasons[0]) != 3:
        raise ValueError("the reason is not an ENUMERATED of one octet")
    return RevocationReason.from_code(reasons[0][2])


# --- what they get


@dataclass(frozen=True, slots=True)
class Answer:
    """A body to be sent: its type, its content in DER, what it adds to generalInfo and to the extraCerts."""

    body: BodyType
    content: bytes
    info: tuple[bytes, ...] = ()
    certificates: tuple[bytes, ...] = ()


def status_info(status: PKIStatus, text: str = "", fail: PKIFailureInfo | None = None) -> bytes:
    """A PKIStatusInfo (RFC 9810 section 5.2.3)."""
    parts = [integer(status)]
    if text:
        parts.append(sequence(tlv(_UTF8_STRING, text.encode())))
    if fail is not None:
        parts.append(_named_bit(fail))
    return sequence(*parts)


def _named_bit(bit: int) -> bytes:
    """A BIT STRING with named bits of which one is set: no trailing zeros (X.690 section 11.2.2)."""
    octets = bytearray(bit // 8 + 1)
    octets[-1] = 0x80 >> bit % 8
    return tlv(0x03, bytes((7 - bit % 8,)) + bytes(octets))


def cert_rep(
    body: BodyType,
    cert_req_id: int,
    status: bytes,
    certificate: bytes | None = None,
    *,
    encrypted: bytes = b"",
    private_key: bytes = b"",
    ca_pubs: tuple[bytes, ...] = (),
    info: tuple[bytes, ...] = (),
    chain: tuple[bytes, ...] = (),
) -> Answer:
    """ip, cp or kup with one CertResponse (RFC 9810 section 5.3.4).

    `encrypted` is the certificate as EncryptedKey, instead of `certificate`; `private_key` is an EncryptedKey as well.
    """
    key = tlv(0xA0, private_key) if private_key else b""
    either = tlv(0xA1, encrypted) if encrypted else tlv(0xA0, certificate or b"")
    pair = () if certificate is None else (sequence(either, key),)
    response = sequence(integer(cert_req_id), status, *pair)
    pubs = (tlv(0xA1, sequence(*ca_pubs)),) if ca_pubs else ()
    return Answer(body, sequence(*pubs, sequence(response)), info, chain)


def rev_rep(status: bytes) -> Answer:
    """rp with one status (RFC 9810 section 5.3.10)."""
    return Answer(BodyType.RP, sequence(sequence(status)))


def pki_conf() -> Answer:
    """pkiconf (RFC 9810 section 5.3.17)."""
    return Answer(BodyType.PKICONF, NULL)


def poll_rep(cert_req_id: int, check_after: int, reason: str) -> Answer:
    """pollRep with one member (RFC 9810 section 5.3.22); `check_after` in seconds."""
    text = sequence(tlv(_UTF8_STRING, reason.encode()))
    return Answer(BodyType.POLLREP, sequence(sequence(integer(cert_req_id), integer(check_after), text)))


def error(status: bytes) -> Answer:
    """error (RFC 9810 section 5.3.21)."""
    return Answer(BodyType.ERROR, sequence(status))


def info(oid: str, value: bytes = b"") -> bytes:
    """An InfoTypeAndValue."""
    return sequence(object_identifier(oid), value)


def confirm_wait_time(until: datetime) -> bytes:
    """The value of confirmWaitTime."""
    return generalized_time(until)


@dataclass(frozen=True, slots=True)
class Opening:
    """What an answer's header takes from the message that it answers, and from who speaks."""

    pvno: int
    sender: bytes
    recipient: bytes
    algorithm: bytes
    key_id: bytes
    transaction_id: bytes
    nonce: bytes
    recip_nonce: bytes | None


def write_header(opening: Opening, at: datetime, info_values: tuple[bytes, ...]) -> bytes:
    """A PKIHeader (RFC 9810 section 5.1.1)."""
    parts = [
        integer(opening.pvno),
        opening.sender,
        opening.recipient,
        tlv(0xA0, generalized_time(at)),
        tlv(0xA1, opening.algorithm),
        tlv(0xA2, octet_string(opening.key_id)),
        tlv(0xA4, octet_string(opening.transaction_id)),
        tlv(0xA5, octet_string(opening.nonce)),
    ]
    if opening.recip_nonce is not None:
        parts.append(tlv(0xA6, octet_string(opening.recip_nonce)))
    if info_values:
        parts.append(tlv(0xA8, sequence(*info_values)))
    return sequence(*parts)


def to_protect(header: bytes, answer: Answer) -> tuple[bytes, bytes]:
    """The body of an answer, and the bytes that its protection is computed over."""
    body = tlv(0xA0 | answer.body, answer.content)
    return body, sequence(header, body)


def write_message(header: bytes, body: bytes, protection: bytes, certificates: tuple[bytes, ...]) -> bytes:
    """A PKIMessage with its protection."""
    extra = tlv(0xA1, sequence(*certificates)) if certificates else b""
    return sequence(header, body, tlv(0xA0, tlv(0x03, b"\x00" + protection)), extra)


def octets_of(element: bytes) -> bytes:
    """The content of an element."""
    return element[read_tlv(element, 0).start :]


def first_text(value: bytes | None) -> str:
    """The one UTF8String of a certProfile (RFC 9810 section 5.3.19.18). Raises Malformed, Refusal."""
    try:
        found = elements(value or b"")
        texts = [octets_of(one).decode() for one in found if one[0] == _UTF8_STRING]
    except ValueError as exc:
        raise Malformed("certProfile is not a sequence of UTF8String") from exc
    if len(texts) != 1 or len(found) != 1:
        raise Refusal(PKIFailureInfo.badRequest, "certProfile names not exactly one profile, as there is one request")
    return texts[0]
