"""Mounts of other kinds: 3GPP, waiting said by an error; origPKIMessage; keys and signatures of ML-DSA."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import mldsa

from ca_core.profile import CertificateProfile
from gateway.app import put_together
from policy.acting import operator
from policy.mount import Mount
from policy.product import Product
from policy.store import PRODUCT
from tests.conftest import ACTOR
from tests.policy.making import change_product
from tests.protocols.cmp.maker import (
    IMPLICIT,
    RA_VERIFIED,
    WAIT_TIME,
    Gate,
    Secret,
    Signer,
    alg,
    csr,
    info,
    new_key,
    num,
    octets,
    request_for,
    rev_req,
    seq,
    tlv,
)
from tests.protocols.cmp.test_enrolling import make_idevid

PATH = "/.well-known/cmp/p/maker"
ORIGINAL = "1.3.6.1.5.5.7.4.15"


async def set_options(gate: Gate, label: str, **options: Any) -> None:
    """The mount with these options instead of its own."""
    before = await gate.house.core.ra.mount(f"cmp/{label}")
    changed = Mount("cmp", label, before.products, "issuing", anchors=before.anchors, options=options)
    await gate.house.core.administration.apply_mount(changed, ACTOR)


async def test_base_stations_enrol_as_3gpp_has_it(gate: Gate) -> None:
    """§1.1 3GPP: signed by the maker's certificate, confirmed by certConf; the operator's root comes along."""
    _, device = await make_idevid(gate)
    await set_options(gate, "maker", profile="3gpp")
    key = new_key()
    asked = gate.message("ir", request_for("device-1", key), device, infos=[info(IMPLICIT)])
    answer = await gate.send(asked, PATH)
    assert answer.told() == ("ip", None), answer.text
    assert list(answer.infos) == [WAIT_TIME]
    chain = await gate.house.core.ra.ca_certificates(await gate.house.core.ra.mount("cmp/maker"))
    assert set(chain) <= set(answer.extra_certs)
    await gate.send(gate.following("certConf", conf(answer.certificate), device, answer), PATH)
    operator_key = Signer(answer.certificate, key)
    kur = await gate.send(gate.message("kur", request_for("device-1", new_key()), operator_key), PATH)
    assert kur.told() == ("kup", None), kur.text
    for body, content, said in (
        ("cr", request_for("device-1", new_key()), ("cp", "badRequest")),
        ("p10cr", csr("device-1", new_key()), ("cp", "badRequest")),
        ("rr", rev_req(answer.certificate), ("rp", "badRequest")),
        ("genm", seq(), ("error", "badRequest")),
    ):
        assert (await gate.send(gate.message(body, content, operator_key), PATH)).told() == said
    secret = await gate.secret(mounts=("cmp/maker",))
    under_mac = await gate.send(gate.message("ir", request_for("device-2", new_key()), secret), PATH)
    assert under_mac.told() == ("ip", "wrongIntegrity")


def conf(certificate: bytes) -> bytes:
    return seq(seq(octets(hashlib.sha256(certificate).digest()), num(0)))


@pytest.mark.parametrize("body", ["ir", "p10cr"])
async def test_waiting_may_be_said_by_an_error(gate: Gate, body: str) -> None:
    """§8 item 10: the second form of polling, certReqId -1 for whatever was asked."""
    await set_options(gate, "default", waiting="error")
    secret, name, key = await gate.secret("held"), "held.certgate.test", new_key()
    content = request_for(name, key, name) if body == "ir" else csr(name, key, name)
    answer = await gate.send(gate.message(body, content, secret))
    assert (answer.body, answer.status) == ("error", 3)
    answer = await gate.send(gate.following("pollReq", seq(seq(num(-1))), secret, answer))
    assert answer.body == "pollRep"
    assert int(answer.content[0]["certReqId"]) == -1
    (order,) = [one async for one in gate.house.core.inventory.orders(status="held")]
    await gate.house.core.approval.approve(order.id, operator("user:bob"))
    final = await gate.send(gate.following("pollReq", seq(seq(num(-1))), secret, answer))
    assert final.told() == ("ip" if body == "ir" else "cp", None)
    assert (await gate.confirm(final, secret)).body == "pkiconf"


async def test_original_messages_come_from_authorities(gate: Gate) -> None:
    """§8 item 14: read, and of no consequence; from anybody else notAuthorized."""
    maker, device = await make_idevid(gate, ra=True)
    authority = maker.device("RA 1", usages=["1.3.6.1.5.5.7.3.28"])
    secret, key = await gate.secret(), new_key()
    original = gate.message("ir", request_for("device-1", key), secret)
    changed = request_for("device-1", key, proof=RA_VERIFIED)
    told = [info(ORIGINAL, seq(original.der))]
    answer = await gate.send(gate.message("ir", changed, authority, infos=told), PATH)
    assert answer.told() == ("ip", None), answer.text
    answer = await gate.send(gate.message("ir", request_for("device-2", key), device, infos=told), PATH)
    assert answer.told() == ("ip", "notAuthorized")
    broken = [info(ORIGINAL, seq(b"\x05\x00"))]
    answer = await gate.send(gate.message("ir", changed, authority, infos=broken), PATH)
    assert answer.told() == ("ip", "badDataFormat")


# --- ML-DSA


async def test_keys_and_signatures_of_ml_dsa(gate: Gate) -> None:
    """§8 item 17: a device with an ML-DSA certificate enrols an ML-DSA key, and updates it."""
    profile = CertificateProfile("device", extended_key_usage=("clientAuth",), key_types=("ml-dsa-65",))
    await change_product(gate.house, "device", profile=profile)
    maker, _ = await make_idevid(gate)
    device = maker.device("IDevID", mldsa.MLDSA44PrivateKey.generate())
    key = mldsa.MLDSA65PrivateKey.generate()
    answer = await gate.send(gate.message("ir", request_for("device-1", key), device, pvno=3), PATH)
    assert answer.told() == ("ip", None), answer.text
    await gate.send(gate.following("certConf", conf(answer.certificate), device, answer, pvno=3), PATH)
    assert await gate.state(answer.certificate) == "valid"
    signer = Signer(answer.certificate, key)
    kur = request_for("device-1", mldsa.MLDSA65PrivateKey.generate())
    message = gate.message("kur", kur, signer, pvno=3)
    assert (await gate.send(message.but(spoil=True), PATH)).told() == ("error", "badMessageCheck")
    assert (await gate.send(message, PATH)).told() == ("kup", None)


async def test_certificates_signed_with_ml_dsa_are_confirmed_by_hash_alg(gate: Gate) -> None:
    """RFC 9810 section 5.3.18: the signature names no hash, so the client does."""
    core = gate.house.core
    year = timedelta(days=365)
    await core.authorities.make_issuing("pq", "root", (("CN", "PQ Issuing"),), "ml-dsa-44", year, ACTOR)
    again = await put_together(core.config, core.store, core.keystore, core.sealing, gate.house.clock)
    gate.house.core = again
    device = await again.store.one(PRODUCT, "device")
    assert device is not None
    await again.administration.apply_product(pq_product(device), ACTOR)
    await again.administration.apply_mount(Mount("cmp", "pq", ("pq",), "pq"), ACTOR)
    made = await gate.house.credential("cmp", "pq")
    secret = Secret(made.credential.identifier.encode(), (made.secret or "").encode())
    path = "/.well-known/cmp/p/pq"
    answer = await gate.send(gate.message("ir", request_for("device-1", new_key()), secret, pvno=3), path)
    assert answer.told() == ("ip", None), answer.text
    assert answer.x509.signature_hash_algorithm is None
    bare = gate.following("certConf", conf(answer.certificate), secret, answer, pvno=3)
    assert (await gate.send(bare, path)).told() == ("error", "badCertId")
    hashed = octets(hashlib.sha512(answer.certificate).digest())
    named = seq(seq(hashed, num(0), tlv(0xA0, alg("2.16.840.1.101.3.4.2.3"))))
    done = await gate.send(gate.following("certConf", named, secret, answer, pvno=3), path)
    assert done.body == "pkiconf"


def pq_product(device: Product) -> Product:
    return replace(device, name="pq", version=1, issuer="pq")
