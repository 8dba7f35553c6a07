"""Nested messages (RFC 9483 section 5.2.2): one message with added protection, or a batch of several."""

from __future__ import annotations

from protocols.cmp.message import BodyType, PKIMessage, members, read_message
from protocols.cmp.problems import PKIFailureInfo, Refusal

MAX_MESSAGES = 20


def read_nested(message: PKIMessage) -> tuple[PKIMessage, ...]:
    """The messages inside. Raises Malformed, Refusal (badRequest) for none, too many, or nested ones."""
    inside = read_messages(message.content)
    if any(one.body is BodyType.NESTED for one in inside):
        raise Refusal(PKIFailureInfo.badRequest, "a nested message inside a nested message is not read")
    return inside


def read_messages(der: bytes) -> tuple[PKIMessage, ...]:
    """Read PKIMessages. Raises Malformed, Refusal (badRequest) for none or too many."""
    found = members(der)
    if not 1 <= len(found) <= MAX_MESSAGES:
        raise Refusal(PKIFailureInfo.badRequest, f"there are {len(found)} messages inside; 1 to {MAX_MESSAGES} may be")
    return tuple([read_message(one) for one in found])


def check(outer: PKIMessage, inside: tuple[PKIMessage, ...]) -> None:
    """That one message keeps its names outside, and that several do not share theirs (RFC 9483 section 5.2.2)."""
    if len(inside) == 1:
        if inside[0].header.transaction_id != outer.header.transaction_id:
            raise Refusal(PKIFailureInfo.badRequest, "transactionID is not that of the message inside")
        if inside[0].header.sender_nonce != outer.header.sender_nonce:
            raise Refusal(PKIFailureInfo.badSenderNonce, "senderNonce is not that of the message inside")
        return
    headers = [outer.header, *(one.header for one in inside)]
    if len({one.transaction_id for one in headers}) != len(headers):
        raise Refusal(PKIFailureInfo.transactionIdInUse, "two of the messages have the same transactionID")
    if len({one.sender_nonce for one in headers}) != len(headers):
        raise Refusal(PKIFailureInfo.badSenderNonce, "two of the messages have the same senderNonce")
