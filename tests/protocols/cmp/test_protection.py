"""Protection: what is accepted, what is refused before anything is derived, and that refusals tell nothing (§7)."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519, rsa

from ca_core.profile import CertificateProfile
from policy.audit import AuditTag
from protocols.cmp import protection
from protocols.cmp.protection import INLINE_ITERATIONS, MACAlgorithm
from protocols.cmp.settings import CMPSettings
from tests.policy.making import change_product, events
from tests.protocols.cmp.maker import (
    HMACS,
    OWFS,
    Answer,
    Gate,
    Message,
    alg,
    directory_name,
    name,
    new_key,
    num,
    octets,
    oid,
    request_for,
    seq,
    tlv,
)
from tests.protocols.cmp.test_enrolling import make_idevid


async def ir(gate: Gate, protection_: Any, **more: Any) -> Answer:
    return await gate.send(gate.message("ir", request_for("device-1", new_key()), protection_, **more))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mac": "sha256"},
        {"mac": "sha512", "owf": "sha512"},
        {"iterations": 100},
        {"iterations": 2000},
        {"iterations": 10_000},
        {"salt": b"8 octets"},
        {"salt": b"x" * 64},
        {"pbmac1": True, "mac": "sha256"},
        {"pbmac1": True, "mac": "sha512", "prf": "sha512", "key_length": 64, "iterations": 20_000},
    ],
    ids=str,
)
async def test_macs_within_bounds(gate: Gate, changes: dict[str, Any]) -> None:
    """openssl's default is HMAC-SHA1 with a key by SHA-256; the answer keeps to the request's parameters (§1.5)."""
    secret = replace(await gate.secret(), **changes)
    answer = await ir(gate, secret)
    assert answer.told() == ("ip", None), answer.text
    assert answer.mac
    assert (await gate.confirm(answer, replace(secret, salt=secret.salt[::-1]))).body == "pkiconf"


OUT_OF_BOUNDS: dict[str, dict[str, Any]] = {
    "no iterations": {"iterations": 0},
    "few iterations": {"iterations": 99},
    "many iterations": {"iterations": 10_001},
    "endless iterations": {"iterations": 2**63 - 1},
    "absurd iterations": {"iterations": 2**200},
    "negative iterations": {"iterations": -500},
    "PBMAC1 with many iterations": {"pbmac1": True, "mac": "sha256", "iterations": 1_000_001},
    "short salt": {"salt": b"7 octet"},
    "long salt": {"salt": b"x" * 65},
    "SHA-1 derives the key": {"owf": "sha1"},
    "PBMAC1 with SHA-1": {"pbmac1": True, "mac": "sha1"},
    "PBMAC1 with SHA-1 inside": {"pbmac1": True, "mac": "sha256", "prf": "sha1"},
    "PBMAC1 without prf": {"pbmac1": True, "mac": "sha256", "prf": None},
    "PBMAC1 without keyLength": {"pbmac1": True, "mac": "sha256", "key_length": None},
    "PBMAC1 with a short key": {"pbmac1": True, "mac": "sha256", "key_length": 15},
    "PBMAC1 with a key shorter than half its hash": {"pbmac1": True, "mac": "sha512", "key_length": 31},
    "PBMAC1 with a long key": {"pbmac1": True, "mac": "sha256", "key_length": 65},
}


@pytest.mark.parametrize("row", OUT_OF_BOUNDS)
async def test_macs_out_of_bounds_cost_nothing(gate: Gate, row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """§7 iteration DoS and short keys (CVE-2026-34181): refused before any derivation."""
    good = await gate.secret()
    message = gate.message("ir", request_for("device-1", new_key()), good)
    # The client computes its MAC with parameters that it can afford; these are looked at first.
    algorithm = replace(good, **OUT_OF_BOUNDS[row]).algorithm

    def derive(*_: object) -> bytes:
        raise AssertionError("a key was derived")

    monkeypatch.setattr(MACAlgorithm, "derive", derive)
    answer = await gate.send(message.but(algorithm=algorithm))
    assert answer.told() == ("error", "badAlg")
    assert not answer.mac


PBM = "1.2.840.113533.7.66.13"
PBMAC1 = "1.2.840.113549.1.5.14"
CRAFTED = {
    "PBM without parameters": alg(PBM),
    "PBM with NULL": alg(PBM, b"\x05\x00"),
    "PBM with an integer": alg(PBM, num(5)),
    "PBM with an empty sequence": alg(PBM, seq()),
    "PBM with two parameters": alg(PBM, b"\x05\x00", b"\x05\x00"),
    "PBM with a hash that has parameters": alg(
        PBM, seq(octets(b"x" * 16), alg(OWFS["sha256"], num(1)), num(500), alg(HMACS["sha256"]))
    ),
    "PBM with an unknown hash": alg(PBM, seq(octets(b"x" * 16), alg("1.2.3"), num(500), alg(HMACS["sha256"]))),
    "PBM with an unknown MAC": alg(PBM, seq(octets(b"x" * 16), alg(OWFS["sha256"]), num(500), alg("1.2.3"))),
    "PBMAC1 with NULL": alg(PBMAC1, b"\x05\x00"),
    "PBMAC1 with another derivation": alg(PBMAC1, seq(alg("1.2.3", seq()), alg(HMACS["sha256"]))),
    "PBMAC1 with an empty derivation": alg(PBMAC1, seq(alg("1.2.840.113549.1.5.12"), alg(HMACS["sha256"]))),
    "a MAC that nobody knows": alg("1.2.840.113533.7.66.30", seq()),
    "KEM-based MAC": alg("1.2.840.113533.7.66.16", seq()),
    "an empty sequence": seq(),
    "an integer for an identifier": seq(num(1)),
    "only NULL": seq(b"\x05\x00"),
    "an identifier of no octets": seq(tlv(6)),
}


@pytest.mark.parametrize("row", CRAFTED)
async def test_crafted_protection_algorithms_are_refused(gate: Gate, row: str) -> None:
    """§7 crafted protectionAlg (CVE-2026-63076): any type, anything missing; never a fault."""
    message = gate.message("ir", request_for("device-1", new_key()), await gate.secret())
    answer = await gate.send(message.but(algorithm=CRAFTED[row]))
    assert answer.body == "error"
    assert answer.fail in ("badAlg", "badMessageCheck")


async def test_refusals_tell_nothing(gate: Gate) -> None:
    """§7 error oracle: unknown reference, wrong secret, wrong sender, locked out: one and the same answer."""
    good = await gate.secret()
    answers = [
        await ir(gate, replace(good, reference=b"nobody")),
        await ir(gate, replace(good, secret=b"wrong")),
        await ir(gate, good, sender=tlv(0x81, b"me@certgate.test")),
        await ir(gate, good, sender_kid=None),
        await ir(gate, good, sender_kid=b"\xff" * 300),
        await ir(gate, replace(good, pbmac1=True, mac="sha256", secret=b"wrong")),
    ]
    for _ in range(25):
        locked = await ir(gate, replace(good, secret=b"wrong"))
    answers += [locked, await ir(gate, good)]
    assert {(one.told(), one.text, one.mac, len(one.extra_certs)) for one in answers} == {
        (("error", "badMessageCheck"), "the MAC of the message is not valid", False, 2)
    }


async def test_a_reference_is_locked_out_for_a_while(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """§7 lockout per reference: nobody else is, and not for ever."""
    good, other = await gate.secret(), await gate.secret()
    limits = gate.house.core.ra._parts.limits
    now = 1000.0
    monkeypatch.setattr(limits, "_now", lambda: now)
    for _ in range(21):
        await ir(gate, replace(good, secret=b"wrong"))
    assert (await ir(gate, good)).fail == "badMessageCheck"
    assert (await ir(gate, other)).fail is None
    now += 601
    assert (await ir(gate, good)).fail is None
    failures = await events(gate.house, AuditTag.AUTHENTICATION_FAILED)
    assert failures
    assert all(good.secret.decode() not in str(one.detail) for one in failures)


async def test_unknown_references_cost_what_known_ones_cost(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """§7: one derivation each, with the same parameters."""
    good, derived = await gate.secret(), []
    derive = MACAlgorithm.derive

    def counted(self: MACAlgorithm, secret: bytes) -> bytes:
        derived.append(self.iterations)
        return derive(self, secret)

    monkeypatch.setattr(MACAlgorithm, "derive", counted)
    for secret in (good, replace(good, secret=b"wrong"), replace(good, reference=b"nobody")):
        derived.clear()
        await ir(gate, secret)
        assert derived == [500], "one derivation serves request and answer"


async def test_long_derivations_run_beside_the_event_loop(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Done-means: nothing above the default iteration count runs on the loop, and few at a time."""
    good, threads = await gate.secret(), []
    derive, gates = MACAlgorithm.derive, threading.Semaphore(2)

    def watched(self: MACAlgorithm, secret: bytes) -> bytes:
        assert gates.acquire(blocking=False), "more than two at once"
        threads.append(threading.current_thread() is threading.main_thread())
        try:
            return derive(self, secret)
        finally:
            gates.release()

    monkeypatch.setattr(MACAlgorithm, "derive", watched)
    await asyncio.gather(*(ir(gate, replace(good, iterations=INLINE_ITERATIONS + 1)) for _ in range(8)))
    assert threads == [False] * 8
    threads.clear()
    await ir(gate, good)
    assert threads == [True]


async def test_the_number_of_iterations_is_a_setting(gate: Gate) -> None:
    """§7: knobs for both ends."""
    gate.settings = CMPSettings(min_iterations=600, max_pbm_iterations=700)
    good = await gate.secret()
    assert (await ir(gate, good)).fail == "badAlg"
    assert (await ir(gate, replace(good, iterations=650))).fail is None


@pytest.mark.parametrize("kind", ["rsa", "ed25519", "ed448"])
async def test_signatures_of_every_kind(gate: Gate, kind: str) -> None:
    """§1.1 RFC 9481 MSG_SIG_ALG."""
    keys = {
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "ed448": ed448.Ed448PrivateKey.generate,
    }
    maker, _ = await make_idevid(gate)
    device = maker.device("IDevID", keys[kind]())
    message = gate.message("ir", request_for("device-1", new_key()), device)
    assert (await gate.send(message, "/.well-known/cmp/p/maker")).told() == ("ip", None)
    spoiled = await gate.send(message.but(spoil=True), "/.well-known/cmp/p/maker")
    assert spoiled.told() == ("error", "badMessageCheck")


async def test_client_keys_with_other_signatures_are_certified(gate: Gate) -> None:
    """A subject key that signs with EdDSA proves itself with EdDSA."""
    profile = CertificateProfile("device", extended_key_usage=("clientAuth",), key_types=("ed25519",))
    await change_product(gate.house, "device", profile=profile)
    key = ed25519.Ed25519PrivateKey.generate()
    answer = await gate.send(gate.message("ir", request_for("device-1", key), await gate.secret()))
    assert answer.told() == ("ip", None), answer.text


async def test_every_answer_is_protected(gate: Gate) -> None:
    """§7: under the MAC once the MAC is known to be good, by signature before; `read_answer` verifies each."""
    good = await gate.secret()
    known = await ir(gate, good, message_time=None)
    assert (known.told(), known.mac) == (("error", "badTime"), True)
    unknown = await ir(gate, replace(good, secret=b"wrong"))
    assert (unknown.told(), unknown.mac) == (("error", "badMessageCheck"), False)


async def test_the_secret_is_nowhere(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    """House rule: in no answer, no event, no repr."""
    good = await gate.secret()
    answer = await ir(gate, good, message_time=None)
    assert good.secret not in answer.der
    everything = [event async for _, event in gate.house.core.inventory.audit()]
    assert good.secret.decode() not in repr(everything) + caplog.text
    algorithm = protection.read_mac(good.algorithm, CMPSettings())
    assert algorithm is not None
    assert repr(good.secret) not in repr(protection.MACProtector(algorithm, good.secret))


async def test_the_mac_is_over_the_bytes_received(gate: Gate) -> None:
    """§7 MAC over wrong bytes: a header that a re-encoding would change (a MAC over what was meant is none)."""
    message: Message = gate.message("ir", request_for("device-1", new_key()), await gate.secret())
    padded = message.but(sender=directory_name(name("a client")), free_text=seq(tlv(0x0C, b"")))
    assert (await gate.send(padded)).fail is None
    der = bytearray(message.der)
    place = bytes(der).index(b"a client")
    der[place] ^= 0x20
    response = await gate.post(bytes(der))
    assert response.status == 200
    assert oid("1.2.3")
    orders = [one async for one in gate.house.core.inventory.orders()]
    assert len(orders) == 1


async def test_a_sender_that_is_no_name_is_not_the_signer(gate: Gate) -> None:
    """A BIT STRING where a common name should be cannot be compared, and is no fault of ours."""
    signer = await gate.enrol(await gate.secret())
    written = name("device-1")
    odd = directory_name(written.replace(b"\x0c\x08device-1", b"\x03\x08\x00evice-1"))
    assert (await ir(gate, signer, sender=odd)).told() == ("error", "badMessageCheck")
