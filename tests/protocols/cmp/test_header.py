"""The header rows of §1.4 (RFC 9483 sections 3.1 and 3.5), each with the failInfo that a conforming server gives."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from policy.mount import Mount
from tests.conftest import ACTOR, START
from tests.protocols.cmp.maker import (
    IMPLICIT,
    WAIT_TIME,
    Gate,
    Message,
    Secret,
    Signer,
    cert_conf,
    directory_name,
    info,
    moment,
    name,
    new_key,
    octets,
    request_for,
    tlv,
)


async def valid(gate: Gate) -> Message:
    """An ir that is served as it is."""
    return gate.message("ir", request_for("device-1", new_key()), await gate.secret())


ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "pvno 1": ({"pvno": 1}, "unsupportedVersion"),
    "pvno 4": ({"pvno": 4}, "unsupportedVersion"),
    "transactionID missing": ({"transaction_id": None}, "badDataFormat"),
    "transactionID empty": ({"transaction_id": b""}, "badDataFormat"),
    "transactionID long": ({"transaction_id": b"x" * 65}, "badDataFormat"),
    "senderNonce missing": ({"sender_nonce": None}, "badSenderNonce"),
    "senderNonce short": ({"sender_nonce": b"x" * 15}, "badSenderNonce"),
    "senderNonce long": ({"sender_nonce": b"x" * 17}, "badSenderNonce"),
    "recipNonce in the first": ({"recip_nonce": b"x" * 16}, "badRecipientNonce"),
    "messageTime missing": ({"message_time": None}, "badTime"),
    "messageTime 501 s old": ({"message_time": moment(START - timedelta(seconds=501))}, "badTime"),
    "messageTime 301 s ahead": ({"message_time": moment(START + timedelta(seconds=301))}, "badTime"),
    "implicitConfirm not NULL": ({"infos": [info(IMPLICIT, octets(b""))]}, "badRequest"),
    "implicitConfirm without value": ({"infos": [info(IMPLICIT, b"")]}, "badRequest"),
    "implicitConfirm and confirmWaitTime": (
        {"infos": [info(IMPLICIT), info(WAIT_TIME, moment(START))]},
        "badRequest",
    ),
    "confirmWaitTime as UTCTime": ({"infos": [info(WAIT_TIME, tlv(0x17, b"261123120000Z"))]}, "badDataFormat"),
    "unprotected": ({"unprotected": True, "algorithm": None}, "badMessageCheck"),
    "protectionAlg without protection": ({"unprotected": True}, "badMessageCheck"),
    "MAC wrong": ({"spoil": True}, "badMessageCheck"),
    "senderKID missing": ({"sender_kid": None}, "badMessageCheck"),
    "senderKID unknown": ({"sender_kid": b"nobody"}, "badMessageCheck"),
    "senderKID no text": ({"sender_kid": b"\xff\xfe"}, "badMessageCheck"),
    "senderKID huge": ({"sender_kid": b"x" * 5000}, "badMessageCheck"),
    "sender no directoryName": ({"sender": tlv(0x81, b"me@certgate.test")}, "badMessageCheck"),
}


@pytest.mark.parametrize("row", ROWS)
async def test_broken_header_is_an_error_with_its_bit(gate: Gate, row: str) -> None:
    changes, fail = ROWS[row]
    message = await valid(gate)
    answer = await gate.send(message.but(**changes))
    assert answer.told() == ("error", fail), answer.text
    assert answer.status == 2
    assert [one async for one in gate.house.core.inventory.orders()] == []


async def test_protection_without_protection_alg(gate: Gate) -> None:
    """§1.4: the one without the other."""
    answer = await gate.send((await valid(gate)).but(algorithm=None))
    assert answer.told() == ("error", "badMessageCheck")


@pytest.mark.parametrize(
    "changes",
    [
        {"message_time": moment(START - timedelta(seconds=300))},
        {"message_time": tlv(0x18, b"20261123120000.5Z")},
        {"recipient": tlv(0x81, b"ca@certgate.test")},
        {"recipient": directory_name(name())},
        {"recip_kid": b"whatever"},
        {"sender": directory_name(name())},
        {"transaction_id": b"x"},
        {"pvno": 3},
        {"infos": [info("1.3.6.1.5.5.7.4.16", b"\x30\x00")]},
        {"free_text": tlv(0x30, tlv(0x0C, b"hello"))},
    ],
)
async def test_what_is_harmless_is_accepted(gate: Gate, changes: dict[str, Any]) -> None:
    """§8, "rules that break interop if improved": any recipient, any recipKID, a sender that is not the reference."""
    answer = await gate.send((await valid(gate)).but(**changes))
    assert answer.told() == ("ip", None), answer.text


@pytest.mark.parametrize(
    "changes",
    [{"transaction_id": None}, {"sender_nonce": None}, {"message_time": None}],
    ids=lambda one: next(iter(one)),
)
async def test_a_lenient_mount_does_without(gate: Gate, changes: dict[str, Any]) -> None:
    """§8 item 15: what RFC 9810 leaves optional may be missing there."""
    mount = Mount("cmp", "lenient", ("device",), "issuing", options={"profile": "rfc9810"})
    await gate.house.core.administration.apply_mount(mount, ACTOR)
    message = (await valid(gate)).but(**changes)
    answer = await gate.send(message, "/.well-known/cmp/p/lenient")
    assert answer.told() == ("ip", None), answer.text
    if message.message_time is None:
        gate.later(86400)
        again = await gate.send(message, "/.well-known/cmp/p/lenient")
        assert again.told() == ("error", "transactionIdInUse")


# --- signature protection


async def signed(gate: Gate) -> Message:
    """A cr that is served as it is."""
    signer = await gate.enrol(await gate.secret())
    return gate.message("cr", request_for("device-1", new_key()), signer)


SIGNATURE_ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "sender is not the subject": ({"sender": directory_name(name("somebody else"))}, "badMessageCheck"),
    "sender is no directoryName": ({"sender": tlv(0x81, b"me@certgate.test")}, "badMessageCheck"),
    "senderKID is not the SKI": ({"sender_kid": b"x" * 20}, "badMessageCheck"),
    "senderKID missing": ({"sender_kid": None}, "badMessageCheck"),
    "extraCerts empty": ({"certificates": []}, "badMessageCheck"),
    "signature wrong": ({"spoil": True}, "badMessageCheck"),
    "extraCerts no certificate": ({"certificates": [b"\x30\x00"]}, "badMessageCheck"),
    "algorithm unknown": ({"algorithm": tlv(0x30, tlv(6, b"\x2a\x03\x04"))}, "badAlg"),
    "algorithm of another key": (
        {"algorithm": tlv(0x30, bytes.fromhex("06092a864886f70d01010b0500"))},
        "badAlg",
    ),
    "RSA-PSS without parameters": ({"algorithm": tlv(0x30, bytes.fromhex("06092a864886f70d01010a"))}, "badAlg"),
    "SHA-1": ({"algorithm": tlv(0x30, bytes.fromhex("06072a8648ce3d0401"))}, "badAlg"),
}


@pytest.mark.parametrize("row", SIGNATURE_ROWS)
async def test_broken_signature_protection_is_an_error_with_its_bit(gate: Gate, row: str) -> None:
    changes, fail = SIGNATURE_ROWS[row]
    answer = await gate.send((await signed(gate)).but(**changes))
    assert answer.told() == ("error", fail), answer.text


async def test_the_signer_is_the_first_of_the_extra_certs(gate: Gate) -> None:
    """§1.4: certificate not at index 0."""
    message = await signed(gate)
    signer = message.protection
    assert isinstance(signer, Signer)
    issuing, *_ = await gate.house.core.ra.ca_certificates(await gate.house.core.ra.mount("cmp/default"))
    wrong = message.but(certificates=[issuing, signer.certificate])
    assert (await gate.send(wrong)).told() == ("error", "badMessageCheck")
    right = message.but(certificates=[signer.certificate, issuing])
    assert (await gate.send(right)).told() == ("cp", None)


async def test_too_many_extra_certs_are_not_read(gate: Gate) -> None:
    """§7 extraCerts growth: at most twenty."""
    message = await valid(gate)
    certificate = (await gate.enrol(await gate.secret())).certificate
    assert (await gate.post(message.but(certificates=[certificate] * 21).der)).status == 400


# --- rows about a transaction


async def begun(gate: Gate) -> tuple[Secret, Any]:
    secret = await gate.secret()
    return secret, await gate.send(gate.message("ir", request_for("device-1", new_key()), secret))


async def test_following_messages_belong_to_their_transaction(gate: Gate) -> None:
    """§1.4: recipNonce absent or different, senderNonce of an earlier message, unknown transaction, no protection."""
    secret, answer = await begun(gate)
    message = gate.following("certConf", cert_conf(answer.certificate), secret, answer)
    first = bytes(answer.header["recipNonce"])
    rows: list[tuple[dict[str, Any], str]] = [
        ({"recip_nonce": None}, "badRecipientNonce"),
        ({"recip_nonce": b"x" * 16}, "badRecipientNonce"),
        ({"sender_nonce": first}, "badSenderNonce"),
        ({"sender_nonce": b"x" * 15}, "badSenderNonce"),
        ({"transaction_id": b"y" * 16}, "badRequest"),
        ({"transaction_id": None}, "badDataFormat"),
        ({"message_time": moment(START - timedelta(seconds=501))}, "badTime"),
        ({"unprotected": True, "algorithm": None}, "badMessageCheck"),
        ({"spoil": True}, "badMessageCheck"),
        ({"protection": Secret(secret.reference, secret.secret, pbmac1=True, mac="sha256")}, "badMessageCheck"),
    ]
    for changes, fail in rows:
        told = (await gate.send(message.but(**changes))).told()
        assert told == ("error", fail), changes
    assert await gate.state(answer.certificate) == "unconfirmed"
    assert (await gate.send(message)).body == "pkiconf"


async def test_a_transaction_keeps_to_its_kind_of_protection(gate: Gate) -> None:
    """§1.4 and §7 downgrade: begun with a signature, it does not go on with a MAC of the same credential, nor back."""
    secret = await gate.secret()
    signer = await gate.enrol(secret)
    answer = await gate.send(gate.message("cr", request_for("device-1", new_key()), signer))
    downgraded = gate.following("certConf", cert_conf(answer.certificate), secret, answer)
    assert (await gate.send(downgraded)).told() == ("error", "wrongIntegrity")
    answer = await gate.send(gate.message("ir", request_for("device-2", new_key()), secret))
    other = gate.following("certConf", cert_conf(answer.certificate), signer, answer)
    assert (await gate.send(other)).told() == ("error", "wrongIntegrity")


async def test_a_certificate_does_not_confirm_itself(gate: Gate) -> None:
    """§1.4: certConf signed with the new certificate."""
    message = await signed(gate)
    key = new_key()
    answer = await gate.send(message.but(content=request_for("device-1", key)))
    own = Signer(answer.certificate, key)
    confirmed = await gate.send(gate.following("certConf", cert_conf(answer.certificate), own, answer))
    assert confirmed.told() == ("error", "wrongAuthority")


async def test_a_transaction_id_comes_once(gate: Gate) -> None:
    """§1.4 already in use -> transactionIdInUse: the same bytes, and other bytes under the same name."""
    message = await valid(gate)
    assert (await gate.send(message)).told() == ("ip", None)
    assert (await gate.send(message)).told() == ("error", "transactionIdInUse")
    other = message.but(content=request_for("device-2", new_key()), sender_nonce=b"another nonce 16")
    assert (await gate.send(other)).told() == ("error", "transactionIdInUse")
    assert (await gate.send(other.but(body="rr"))).told() == ("rp", "transactionIdInUse")


async def test_a_refused_transaction_is_used_up_as_well(gate: Gate) -> None:
    """§7 transaction/nonce replay: what was refused once is not judged anew."""
    message = (await valid(gate)).but(content=request_for("device-1", new_key(), proof=b"\x80\x00"))
    assert (await gate.send(message)).told() == ("ip", "notAuthorized")
    assert (await gate.send(message)).told() == ("error", "transactionIdInUse")


async def test_the_name_of_a_transaction_is_its_clients_own(gate: Gate) -> None:
    """§7 squatting: another credential may use the same transactionID."""
    message = await valid(gate)
    assert (await gate.send(message)).told() == ("ip", None)
    other = (await valid(gate)).but(transaction_id=message.transaction_id)
    assert (await gate.send(other)).told() == ("ip", None)
