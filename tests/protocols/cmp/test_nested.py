"""nested (RFC 9483 section 5.2.2): added protection and batches."""

from __future__ import annotations

from typing import Any

import pytest
from pyasn1.codec.der import encoder

from protocols.http import HTTPResponse
from tests.protocols.cmp.maker import (
    Answer,
    Gate,
    Message,
    Signer,
    cert_conf,
    new_key,
    read_answer,
    request_for,
    seq,
)
from tests.protocols.cmp.test_enrolling import make_idevid

PATH = "/.well-known/cmp/p/maker"


async def authority(gate: Gate) -> Signer:
    maker, _ = await make_idevid(gate, ra=True)
    return maker.device("RA 1", usages=["1.3.6.1.5.5.7.3.28"])


async def requests(gate: Gate, count: int) -> list[Message]:
    """So many ir of clients of their own."""
    secret = await gate.secret()
    return [gate.message("ir", request_for(f"device-{one}", new_key()), secret) for one in range(count)]


def wrapped(gate: Gate, signer: Any, *inside: Message, **more: Any) -> Message:
    if len(inside) == 1:
        more = {"transaction_id": inside[0].transaction_id, "sender_nonce": inside[0].sender_nonce, **more}
    return gate.message("nested", seq(*(one.der for one in inside)), signer, **more)


async def test_added_protection(gate: Gate) -> None:
    """The answer is the one to the message inside, under that one's MAC; its certConf may come the same way."""
    signer = await authority(gate)
    (inner,) = await requests(gate, 1)
    response = await gate.post(wrapped(gate, signer, inner).der, PATH)
    answer = read_answer(response, inner)
    assert (answer.told(), answer.mac) == (("ip", None), True)
    assert inner.protection is not None
    confirm = gate.following("certConf", cert_conf(answer.certificate), inner.protection, answer)
    done = read_answer(await gate.post(wrapped(gate, signer, confirm).der, PATH), confirm)
    assert done.body == "pkiconf"


async def test_a_batch_is_answered_by_a_batch(gate: Gate) -> None:
    """Each message by its own protection, the answers in the same order; one that is refused stops no other."""
    signer = await authority(gate)
    inside = await requests(gate, 3)
    inside[1] = inside[1].but(content=request_for("device-1", new_key(), proof=b"\x80\x00"))
    outer = wrapped(gate, signer, *inside)
    answer = await gate.send(outer, PATH)
    assert answer.body == "nested"
    replies = [encoder.encode(one) for one in answer.content]
    told = []
    for reply, asked in zip(replies, inside, strict=True):
        told.append(read_answer(HTTPResponse(200, reply, "application/pkixcmp"), asked).told())
    assert told == [("ip", None), ("ip", "notAuthorized"), ("ip", None)]
    assert (await gate.send(outer, PATH)).told() == ("error", "transactionIdInUse")


async def refused(gate: Gate, message: Message, path: str = PATH) -> str | None:
    answer: Answer = await gate.send(message, path)
    assert answer.body == "error"
    orders = [one async for one in gate.house.core.inventory.orders()]
    assert orders == []
    return answer.fail


async def test_rows(gate: Gate) -> None:
    """§1.4: names not copied; MAC outside; duplicates; an inner protection that is bad; and who may at all."""
    signer = await authority(gate)
    one, two = await requests(gate, 2)
    assert await refused(gate, wrapped(gate, signer, one, transaction_id=b"x" * 16)) == "badRequest"
    assert await refused(gate, wrapped(gate, signer, one, sender_nonce=b"x" * 16)) == "badSenderNonce"
    same_id = two.but(transaction_id=one.transaction_id)
    assert await refused(gate, wrapped(gate, signer, one, same_id)) == "transactionIdInUse"
    assert (
        await refused(gate, wrapped(gate, signer, one, two, transaction_id=one.transaction_id)) == "transactionIdInUse"
    )
    same_nonce = two.but(sender_nonce=one.sender_nonce)
    assert await refused(gate, wrapped(gate, signer, one, same_nonce)) == "badSenderNonce"
    assert await refused(gate, wrapped(gate, signer, one, two.but(spoil=True))) == "badMessageCheck"
    assert await refused(gate, wrapped(gate, signer, one.but(spoil=True))) == "badMessageCheck"
    assert await refused(gate, wrapped(gate, signer, one).but(spoil=True)) == "badMessageCheck"
    assert await refused(gate, wrapped(gate, await gate.secret(), one), "/.well-known/cmp") == "wrongIntegrity"
    assert await refused(gate, wrapped(gate, signer, one, message_time=None)) == "badTime"


async def test_only_an_authority_wraps(gate: Gate) -> None:
    """§7 nested bombs: the outer signature is an RA's."""
    _, device = await make_idevid(gate, ra=True)
    (inner,) = await requests(gate, 1)
    assert await refused(gate, wrapped(gate, device, inner)) == "notAuthorized"


@pytest.mark.parametrize("kind", ["none", "many", "deep", "garbage"])
async def test_bombs(gate: Gate, kind: str) -> None:
    """§7 nested bombs: at least one, at most twenty, one level deep."""
    signer = await authority(gate)
    messages = await requests(gate, 1)
    inner = messages[0]
    if kind == "deep":
        inner = wrapped(gate, signer, messages[0])
        outer = wrapped(gate, signer, inner)
    elif kind == "garbage":
        outer = gate.message("nested", seq(seq()), signer)
    else:
        outer = wrapped(gate, signer, *(() if kind == "none" else messages * 21))
    assert await refused(gate, outer) == ("badDataFormat" if kind == "garbage" else "badRequest")
