"""Certificate Management over CMS (RFC 5272, RFC 6402): PKIData in, PKIResponse out.

Of a PKIData this reads what an enrolment needs: one certification request in PKCS #10, the transaction's identifier and
the client's nonce. What else it may hold is refused, not passed over. Signatures are CMS's (`protocols.cms.signed`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from ca_core import der
from policy.problems import Malformed

MAX_CONTROLS = 16
_SET = 0x31
_TCR, _CRM, _ORM = 0xA0, 0xA1, 0xA2

# Controls: RFC 5272 section 6.
TRANSACTION_ID = "1.3.6.1.5.5.7.7.5"
SENDER_NONCE = "1.3.6.1.5.5.7.7.6"
RECIPIENT_NONCE = "1.3.6.1.5.5.7.7.7"
STATUS_INFO_V2 = "1.3.6.1.5.5.7.7.25"
_CONTROLS = {der.object_identifier(oid): oid for oid in (TRANSACTION_ID, SENDER_NONCE)}


class Status(IntEnum):
    """CMCStatus (RFC 5272 section 6.1.2)."""

    SUCCESS = 0
    FAILED = 2
    PENDING = 3


class FailInfo(IntEnum):
    """CMCFailInfo (RFC 5272 section 6.1.4)."""

    BAD_ALG = 0
    BAD_MESSAGE_CHECK = 1
    BAD_REQUEST = 2
    BAD_TIME = 3
    BAD_CERT_ID = 4
    UNSUPPORTED_EXT = 5
    BAD_IDENTITY = 7
    POP_REQUIRED = 8
    POP_FAILED = 9
    NO_KEY_REUSE = 10
    INTERNAL_CA_ERROR = 11
    TRY_LATER = 12


@dataclass(frozen=True, slots=True)
class PKIData:
    """A request: the PKCS #10 inside, its body part, and what the answer repeats (each in DER, where it is there)."""

    request: bytes
    body_part: bytes
    """bodyPartID of the request, DER."""
    transaction_id: bytes | None = None
    sender_nonce: bytes | None = None


@dataclass(frozen=True, slots=True)
class StatusInfo:
    """What became of a request (RFC 5272 section 6.1.1): `pending` is a token, and when to ask again."""

    status: Status
    text: str = ""
    failure: FailInfo | None = None
    pending: tuple[bytes, datetime] | None = None


def read_pki_data(content: bytes) -> PKIData:
    """Read a PKIData (RFC 5272 section 3.2.1) with exactly one request. Raises Malformed, saying what is too much."""
    try:
        controls, requests, messages, others = (der.elements(one) for one in der.elements(content))
        found = _read_controls(controls)
        if messages or others:
            raise Malformed("messages inside a PKIData (cmsSequence, otherMsgSequence) are not read here")
        if len(requests) != 1:
            raise Malformed(f"the PKIData has {len(requests)} requests instead of one")
        (request,) = requests
        if request[0] in (_CRM, _ORM):
            raise Malformed("the request of a PKIData has to be a PKCS #10 (tcr); CRMF and others are not read here")
        body_part, csr = der.elements(request, _TCR)
        der.read_tlv(body_part, 0, der.INTEGER)
    except ValueError as exc:
        raise Malformed("the content of the message is not a PKIData (RFC 5272 section 3.2.1)") from exc
    return PKIData(csr, body_part, found.get(TRANSACTION_ID), found.get(SENDER_NONCE))


def _read_controls(controls: tuple[bytes, ...]) -> dict[str, bytes]:
    if len(controls) > MAX_CONTROLS:
        raise Malformed(f"the PKIData has {len(controls)} controls; the limit is {MAX_CONTROLS}")
    found: dict[str, bytes] = {}
    for control in controls:
        _body_part, oid, values = der.elements(control)
        name = _CONTROLS.get(oid)
        if name is None:
            raise Malformed("the PKIData has a control that is not served here; only transactionId and senderNonce are")
        if name in found:
            raise Malformed("the PKIData has a control twice")
        (found[name],) = der.elements(values, _SET)
    return found


def write_pki_response(data: PKIData, status: StatusInfo, nonce: bytes) -> bytes:
    """A PKIResponse (RFC 5272 section 3.2.2): the status of the request, the transaction, both nonces.

    `nonce` is the server's own, fresh for each answer.
    """
    controls = [(STATUS_INFO_V2, _write_status(data.body_part, status)), (SENDER_NONCE, der.octet_string(nonce))]
    if data.transaction_id is not None:
        controls.append((TRANSACTION_ID, data.transaction_id))
    if data.sender_nonce is not None:
        controls.append((RECIPIENT_NONCE, data.sender_nonce))
    tagged = [
        der.sequence(der.integer(number), der.object_identifier(oid), der.tlv(_SET, value))
        for number, (oid, value) in enumerate(controls, 1)
    ]
    return der.sequence(der.sequence(*tagged), der.sequence(), der.sequence())


def _write_status(body_part: bytes, status: StatusInfo) -> bytes:
    """CMCStatusInfoV2 (RFC 5272 section 6.1.1)."""
    parts = [der.integer(status.status), der.sequence(body_part)]
    if status.text:
        parts.append(der.tlv(0x0C, status.text.encode()))
    if status.failure is not None:
        parts.append(der.integer(status.failure))
    elif status.pending is not None:
        token, at = status.pending
        parts.append(der.sequence(der.octet_string(token), der.generalized_time(at)))
    return der.sequence(*parts)
