"""Every PKIBody (§1.2), HTTP (§1.7), and what is not CMP at all."""

from __future__ import annotations

import os
import random

import pytest

from policy.mount import Mount
from protocols.cmp.endpoint import MAX_BODY_BYTES, OPERATIONS
from tests.conftest import ACTOR
from tests.protocols.cmp.maker import (
    BODIES,
    NUMBER,
    Gate,
    csr,
    new_key,
    read_answer,
    request_for,
    rev_req,
    seq,
    tlv,
)

SERVED = {"ir", "cr", "p10cr", "kur", "rr", "certConf", "pollReq", "error", "genm", "nested"}


@pytest.mark.parametrize("body", [one for one in BODIES if one not in SERVED])
async def test_other_bodies_are_refused(gate: Gate, body: str) -> None:
    """§1.2: key recovery, announcements, challenges, cross-certification and answers: badRequest."""
    answer = await gate.send(gate.message(body, seq(), await gate.secret()))
    assert answer.told() == ("error", "badRequest")


async def test_a_body_that_does_not_exist_is_400(gate: Gate) -> None:
    """Tags 27 to 30 are none of PKIBody."""
    message = gate.message("ir", seq(), await gate.secret())
    der = message.der
    header, body = message.header, tlv(0xA0, seq())
    assert header + body in der
    for number in (27, 30):
        odd = der.replace(header + body, header + tlv(0xA0 | number, seq()))
        assert (await gate.post(odd)).status == 400


@pytest.mark.parametrize("operation", ["", *(f"/{one}" for one in OPERATIONS)])
async def test_paths(gate: Gate, operation: str) -> None:
    """§1.7: with and without label, with and without operation; the body says what is wanted."""
    secret = await gate.secret()
    for root in ("/.well-known/cmp", "/.well-known/cmp/p/default"):
        asked = gate.message("ir", request_for("device-1", new_key()), secret)
        assert (await gate.send(asked, root + operation)).told() == ("ip", None)


async def test_aliases(gate: Gate) -> None:
    """§1.7: further paths, where the mount has them."""
    mount = Mount("cmp", "other", ("device",), "issuing", options={"aliases": ["/pkix"]})
    await gate.house.core.administration.apply_mount(mount, ACTOR)
    secret = await gate.secret()
    for path in ("/pkix", "/pkix/", "/pkix/initialization"):
        asked = gate.message("ir", request_for("device-1", new_key()), secret)
        assert (await gate.send(asked, path)).told() == ("ip", None)


async def test_media_types(gate: Gate) -> None:
    """§1.7: pkixcmp, pkixcmp-poll alike, parameters and capitals; anything else is 415."""
    secret = await gate.secret()
    for media in ("application/pkixcmp", "application/pkixcmp-poll", "Application/PKIXCMP; x=y"):
        asked = gate.message("ir", request_for("device-1", new_key()), secret)
        assert (await gate.post(asked.der, media=media)).status == 200
    for media in ("", "application/pkcs10", "text/plain"):
        response = await gate.post(b"", media=media)
        assert (response.status, response.content_type) == (415, "text/plain; charset=utf-8")


async def test_a_credential_keeps_to_its_mount(gate: Gate) -> None:
    """The label selects the endpoint, and nothing from HTTP decides more than that (§7)."""
    await gate.house.core.administration.apply_mount(Mount("cmp", "other", ("device",), "issuing"), ACTOR)
    secret = await gate.secret(mounts=("cmp/default",))
    asked = gate.message("ir", request_for("device-1", new_key()), secret)
    answer = await gate.send(asked, "/.well-known/cmp/p/other")
    assert answer.told() == ("error", "notAuthorized")


@pytest.mark.parametrize(
    "body",
    [b"", b"0", b"\x30\x80\x00\x00", b"GET / HTTP/1.1", b"\x30\x00", os.urandom(300), b"\x30" * 30_000],
    ids=["empty", "one octet", "indefinite", "text", "empty sequence", "random", "deep"],
)
async def test_what_is_no_message_is_400_with_an_error(gate: Gate, body: bytes) -> None:
    """§1.4 DER undecodable: HTTP 400, and a signed badDataFormat."""
    response = await gate.post(body)
    assert response.status == 400
    assert read_answer(response, None).told() == ("error", "badDataFormat")


async def test_bodies_that_are_not_what_they_say(gate: Gate) -> None:
    """Undecodable content in a good envelope: badDataFormat in the matching body."""
    secret = await gate.secret()
    signer = await gate.enrol(secret)
    rows = [("ir", "ip"), ("cr", "cp"), ("p10cr", "cp"), ("rr", "rp")]
    for body, answer_body in rows:
        for content in (b"\x30\x03\x02\x01\x00", b"\x02\x01\x00", b"\x30\x02\x30\x00"):
            answer = await gate.send(gate.message(body, content, signer if body == "rr" else secret))
            assert answer.body == answer_body
            assert answer.fail in ("badDataFormat", "badCertTemplate", "badRequest", "addInfoNotAvailable", "badPOP")


def test_the_body_limit_is_that_of_the_specification() -> None:
    """§7: 256 KiB."""
    assert MAX_BODY_BYTES == 256 * 1024


MUTATIONS = int(os.environ.get("CERTGATE_MUTATIONS", "600"))
"""`make mutations` sets 50,000."""


async def test_mutated_messages_are_answered(gate: Gate) -> None:
    """Done-means: real messages with octets changed, lost or doubled: 200 with an error body, or 400; nothing issued.

    Half of them are protected after the mutation, so that what is inside is reached.
    """
    gate.house.core.ra._parts.limits._limits.clear()  # thousands of wrong MACs are the purpose
    secret = await gate.secret()
    signer = await gate.enrol(secret)
    originals = [
        gate.message("ir", request_for("device-1", new_key(), "device-1.certgate.test"), secret),
        gate.message("p10cr", csr("device-1", new_key()), secret),
        gate.message("kur", request_for("device-1", new_key()), signer),
        gate.message("rr", rev_req(signer.certificate), signer),
        gate.message("certConf", seq(), secret, recip_nonce=b"x" * 16),
        gate.message("genm", seq(seq(tlv(6, b"\x2b\x06\x01\x05\x05\x07\x04\x11"))), secret),
    ]
    chance = random.Random(20261123)
    issued = {one.stored.serial async for one in gate.house.core.inventory.certificates()}
    for _ in range(MUTATIONS):
        message = chance.choice(originals)
        if chance.random() < 0.5:
            content = mutated(message.content, chance)
            der = message.but(content=content, transaction_id=chance.randbytes(16)).der
        else:
            der = mutated(message.der, chance)
        response = await gate.post(der)
        assert response.status in (200, 400)
        assert response.content_type == "application/pkixcmp"
        assert isinstance(response.body, bytes)
        if response.status == 200:
            new = {one.stored.serial async for one in gate.house.core.inventory.certificates()} - issued
            assert not new, (message.body, der.hex())


def mutated(der: bytes, chance: random.Random) -> bytes:
    """One to three changes."""
    changed = bytearray(der)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(changed))
        match chance.randrange(5):
            case 0:
                changed[place] ^= 1 << chance.randrange(8)
            case 1:
                changed[place] = chance.randrange(256)
            case 2:
                del changed[place : place + chance.randint(1, 9)]
            case 3:
                changed[place:place] = chance.randbytes(chance.randint(1, 9))
            case _:
                changed[place:place] = changed[place : place + 20]
        if not changed:
            changed = bytearray(b"\x30")
    return bytes(changed)


def test_all_bodies_are_named() -> None:
    """Twenty-seven, of which each is either served or refused above."""
    assert len(BODIES) == 27
    assert set(NUMBER) >= SERVED
