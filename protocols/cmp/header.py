"""The rules for a header (RFC 9483 sections 3.1 and 3.5), each with the bit of failInfo that says it was broken.

What a header says of its protection is not looked at here. A rule gives a sentence when it is broken; the first broken
one counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ca_core.der import NULL
from protocols.cmp.message import CONFIRM_WAIT_TIME, IMPLICIT_CONFIRM, BodyType, PKIMessage
from protocols.cmp.problems import HeaderRefusal, PKIFailureInfo

NONCE_BYTES = 16
MAX_TRANSACTION_ID = 64
VERSIONS = (2, 3)
FOLLOWING = frozenset({BodyType.CERTCONF, BodyType.POLLREQ})
"""Bodies that go on with a transaction; every other begins one."""
_GENERALIZED_TIME = 0x18


@dataclass(frozen=True, slots=True)
class Frame:
    """What a message is judged by: the moment, the window of messageTime, whether all of RFC 9483 is wanted."""

    now: datetime
    window: timedelta
    strict: bool


def _transaction_id(message: PKIMessage, frame: Frame) -> str | None:
    value = message.header.transaction_id
    if value is None:
        return "transactionID is missing" if frame.strict else None
    if not 1 <= len(value) <= MAX_TRANSACTION_ID:
        return f"transactionID has {len(value)} octets; 1 to {MAX_TRANSACTION_ID} are accepted"
    return None


def _sender_nonce(message: PKIMessage, frame: Frame) -> str | None:
    value = message.header.sender_nonce
    if value is None:
        return "senderNonce is missing" if frame.strict else None
    return f"senderNonce has {len(value)} octets instead of {NONCE_BYTES}" if len(value) != NONCE_BYTES else None


def _recip_nonce(message: PKIMessage, _: Frame) -> str | None:
    following = message.body in FOLLOWING
    if following and message.header.recip_nonce is None:
        return "recipNonce is missing"
    return "the first message of a transaction has no recipNonce" if _first_with_nonce(message, following) else None


def _first_with_nonce(message: PKIMessage, following: bool) -> bool:
    return not following and message.body is not BodyType.ERROR and message.header.recip_nonce is not None


def _message_time(message: PKIMessage, frame: Frame) -> str | None:
    moment = message.header.message_time
    if moment is None:
        return "messageTime is missing" if frame.strict else None
    return "messageTime is too far from the time here" if abs(moment - frame.now) > frame.window else None


def _implicit_confirm(message: PKIMessage, _: Frame) -> str | None:
    asked, value = message.header.info_value(IMPLICIT_CONFIRM)
    if asked and value != NULL:
        return "the value of implicitConfirm is not NULL"
    if asked and message.header.info_value(CONFIRM_WAIT_TIME)[0]:
        return "implicitConfirm and confirmWaitTime exclude each other"
    return None


def _confirm_wait_time(message: PKIMessage, _: Frame) -> str | None:
    told, value = message.header.info_value(CONFIRM_WAIT_TIME)
    wrong = told and (not value or value[0] != _GENERALIZED_TIME)
    return "the value of confirmWaitTime is not a GeneralizedTime" if wrong else None


_F = PKIFailureInfo
RULES: tuple[tuple[PKIFailureInfo, Callable[[PKIMessage, Frame], str | None]], ...] = (
    (_F.badDataFormat, _transaction_id),
    (_F.badSenderNonce, _sender_nonce),
    (_F.badRecipientNonce, _recip_nonce),
    (_F.badTime, _message_time),
    (_F.badDataFormat, _confirm_wait_time),
    (_F.badRequest, _implicit_confirm),
)


def broken_rule(message: PKIMessage, frame: Frame) -> HeaderRefusal | None:
    """The first rule that the header breaks."""
    for fail, rule in RULES:
        text = rule(message, frame)
        if text is not None:
            return HeaderRefusal(fail, text)
    return None
