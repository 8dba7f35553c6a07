"""certConf, pkiconf, polling and error (RFC 9810 sections 5.3.17, 5.3.18, 5.3.21, 5.3.22)."""

from __future__ import annotations

import hashlib

import pytest

from policy.acting import operator
from tests.conftest import House, make_house
from tests.protocols.cmp.maker import (
    IMPLICIT,
    Answer,
    Gate,
    Secret,
    alg,
    cert_conf,
    csr,
    info,
    new_key,
    num,
    octets,
    opened,
    request_for,
    seq,
    tlv,
)

ACCEPTED = seq(num(0))
REJECTED = seq(num(2))
ACCEPTED_WITH_FAILURE = seq(num(0), bytes.fromhex("03020780"))


async def issued(gate: Gate, **more: object) -> tuple[Secret, Answer]:
    secret = await gate.secret()
    return secret, await gate.send(gate.message("ir", request_for("device-1", new_key()), secret, **more))


async def test_rows_that_leave_the_certificate_as_it_is(gate: Gate) -> None:
    """§1.4: two CertStatus, accepted with a failure, wrong certReqId, wrong hash, hashAlg in version 2."""
    secret, answer = await issued(gate)
    good = cert_conf(answer.certificate)
    one = good[2:]
    sha256 = alg("2.16.840.1.101.3.4.2.1")
    rows = [
        (seq(one, one), "badRequest"),
        (cert_conf(answer.certificate, status=ACCEPTED_WITH_FAILURE), "badRequest"),
        (cert_conf(answer.certificate, number=1), "badRequest"),
        (cert_conf(answer.certificate, number=-1), "badRequest"),
        (seq(seq(octets(hashlib.sha256(b"other").digest()), num(0))), "badCertId"),
        (seq(seq(octets(hashlib.sha1(answer.certificate).digest()), num(0))), "badCertId"),
        (cert_conf(answer.certificate, hash_alg=sha256), "badCertId"),
        (b"\x30\x03\x02\x01\x00", "badDataFormat"),
        (b"\x04\x00", "badDataFormat"),
    ]
    for content, fail in rows:
        assert (await gate.confirm(answer, secret, content)).told() == ("error", fail)
    assert await gate.state(answer.certificate) == "unconfirmed"
    assert (await gate.confirm(answer, secret, good)).body == "pkiconf"
    assert (await gate.confirm(answer, secret, good)).told() == ("error", "certConfirmed")


@pytest.mark.parametrize("how", ["rejection", "nothing", "error"])
async def test_who_rejects_has_no_certificate(gate: Gate, how: str) -> None:
    """§1.5 and done-means: rejection, an empty certConf, or an error: revoked, and pkiconf."""
    secret, answer = await issued(gate)
    if how == "error":
        done = await gate.send(gate.following("error", seq(REJECTED), secret, answer))
    else:
        content = cert_conf(answer.certificate, status=REJECTED) if how == "rejection" else seq()
        done = await gate.confirm(answer, secret, content)
    assert done.body == "pkiconf"
    assert await gate.state(answer.certificate) == "revoked"


async def test_accepted_in_words(gate: Gate) -> None:
    """statusInfo accepted says what its absence says."""
    secret, answer = await issued(gate)
    done = await gate.confirm(answer, secret, cert_conf(answer.certificate, status=ACCEPTED))
    assert done.body == "pkiconf"


async def test_p10cr_is_confirmed_with_minus_one(gate: Gate) -> None:
    """RFC 9483 erratum 8806: 0 is for lenient mounts only."""
    secret = await gate.secret()
    answer = await gate.send(gate.message("p10cr", csr("device-1", new_key()), secret))
    assert (await gate.confirm(answer, secret, cert_conf(answer.certificate))).told() == ("error", "badRequest")
    assert (await gate.confirm(answer, secret)).body == "pkiconf"


@pytest.mark.parametrize("number", [1, 2, 3, 8, 10])
async def test_hash_alg_with_version_3(gate: Gate, number: int) -> None:
    """§8 item 17: any SHA-2 or SHA-3, as hashAlg says."""
    secret, answer = await issued(gate, pvno=3)
    name = {1: "sha256", 2: "sha384", 3: "sha512", 8: "sha3_256", 10: "sha3_512"}[number]
    hashed = hashlib.new(name, answer.certificate).digest()
    oid = alg(f"2.16.840.1.101.3.4.2.{number}")
    content = seq(seq(octets(hashed), num(0), tlv(0xA0, oid)))
    assert (await gate.confirm(answer, secret, content, pvno=3)).body == "pkiconf"


async def test_an_unknown_hash_alg_is_refused(gate: Gate) -> None:
    secret, answer = await issued(gate, pvno=3)
    content = cert_conf(answer.certificate, hash_alg=alg("1.3.14.3.2.26"))
    assert (await gate.confirm(answer, secret, content, pvno=3)).told() == ("error", "badCertId")


async def test_an_error_out_of_nowhere_is_answered(gate: Gate) -> None:
    """RFC 9483 section 3.6.4: pkiconf, whatever it was about."""
    secret = await gate.secret()
    done = await gate.send(gate.message("error", seq(REJECTED), secret))
    assert done.body == "pkiconf"


# --- polling


async def held(gate: Gate, body: str = "ir", **more: object) -> tuple[Secret, Answer]:
    secret = await gate.secret("held")
    key, name = new_key(), "held.certgate.test"
    content = csr(name, key, name) if body == "p10cr" else request_for(name, key, name)
    return secret, await gate.send(gate.message(body, content, secret, **more))


async def approve(gate: Gate) -> None:
    (order,) = [one async for one in gate.house.core.inventory.orders(status="held")]
    await gate.house.core.approval.approve(order.id, operator("user:bob"))


async def poll(gate: Gate, secret: Secret, answer: Answer, number: int = 0) -> Answer:
    return await gate.send(gate.following("pollReq", seq(seq(num(number))), secret, answer))


@pytest.mark.parametrize(("body", "number"), [("ir", 0), ("cr", 0), ("p10cr", -1)])
async def test_a_held_order_is_polled_until_it_is_approved(gate: Gate, body: str, number: int) -> None:
    """§1.2 rows 25/26, §1.5: waiting, pollReq, pollRep with checkAfter, and then the answer."""
    secret, answer = await held(gate, body)
    assert (answer.status, answer.number) == (3, number)
    for _ in range(2):
        answer = await poll(gate, secret, answer, number)
        assert answer.body == "pollRep"
        assert int(answer.content[0]["checkAfter"]) == 60
        assert int(answer.content[0]["certReqId"]) == number
    await approve(gate)
    gate.later(600)
    final = await poll(gate, secret, answer, number)
    assert final.told() == ("ip" if body == "ir" else "cp", None)
    assert await gate.state(final.certificate) == "unconfirmed"
    assert (await gate.confirm(final, secret)).body == "pkiconf"
    assert await gate.state(final.certificate) == "valid"


async def test_a_polled_certificate_may_be_confirmed_implicitly(gate: Gate) -> None:
    secret, answer = await held(gate, infos=[info(IMPLICIT)])
    await approve(gate)
    final = await poll(gate, secret, answer)
    assert IMPLICIT in final.infos
    assert await gate.state(final.certificate) == "valid"
    assert (await poll(gate, secret, final)).told() == ("error", "badRequest")


async def test_a_rejected_order_ends_the_polling(gate: Gate) -> None:
    secret, answer = await held(gate)
    (order,) = [one async for one in gate.house.core.inventory.orders(status="held")]
    await gate.house.core.approval.reject(order.id, operator("user:bob"), "not today")
    final = await poll(gate, secret, answer)
    assert final.status == 2
    assert "not today" in final.text


async def test_polls_belong_to_their_transaction(gate: Gate) -> None:
    """§1.4: nonces count here too; a poll for another request is none."""
    secret, answer = await held(gate)
    assert (await poll(gate, secret, answer, 7)).told() == ("error", "badRequest")
    second = await poll(gate, secret, answer)
    assert second.body == "pollRep"
    assert (await poll(gate, secret, answer)).told() == ("error", "badRecipientNonce")
    assert (await poll(gate, secret, second)).body == "pollRep"
    nobody = gate.message("pollReq", seq(seq(num(0))), secret, recip_nonce=b"x" * 16)
    assert (await gate.send(nobody)).told() == ("error", "badRequest")


# --- over restarts and servers


async def test_a_transaction_goes_on_at_another_server(gate: Gate, house: House) -> None:
    """§8 item 7: two server objects on one store; what one has seen, the other knows."""
    from gateway.app import put_together

    core = house.core
    other_core = await put_together(core.config, core.store, core.keystore, core.sealing, house.clock)
    other = Gate(House(other_core, house.clock, house.validators, house.caa))
    secret, key = await gate.secret(), new_key()
    asked = gate.message("ir", request_for("device-1", key), secret)
    answer = await gate.send(asked)
    assert (await other.send(asked)).told() == ("error", "transactionIdInUse")
    assert (await other.confirm(answer, secret)).body == "pkiconf"
    assert (await gate.confirm(answer, secret)).told() == ("error", "certConfirmed")


async def test_a_transaction_goes_on_after_a_restart(tmp_path, clock) -> None:  # type: ignore[no-untyped-def]
    """§8 item 7: nothing of a transaction is in memory only."""
    from gateway.app import put_together
    from gateway.store import open_store

    url = f"sqlite:///{tmp_path}/store.db"
    house = await make_house(tmp_path, clock, url)
    gate = await opened(house)
    secret = await gate.secret()
    asked = gate.message("ir", request_for("device-1", new_key()), secret)
    answer = await gate.send(asked)
    refused = gate.message("genm", seq(), secret)
    await gate.send(refused)
    core = house.core
    await core.store.close()
    store = await open_store(url, clock=clock)
    again = await put_together(core.config, store, core.keystore, core.sealing, clock)
    other = Gate(House(again, clock, house.validators, house.caa))
    assert (await other.send(asked)).told() == ("error", "transactionIdInUse")
    assert (await other.send(refused)).told() == ("error", "transactionIdInUse")
    assert (await other.confirm(answer, secret)).body == "pkiconf"
    await again.close()
