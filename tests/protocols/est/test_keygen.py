"""serverkeygen on the real services (E20, E22, T19): keys are made, handed over once, and nowhere afterwards."""

from __future__ import annotations

import asyncio
import email
import email.policy
from base64 import b64decode, b64encode
from typing import Any

import pytest
from asn1crypto import keys
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_der_private_key, pkcs7

from gateway.worker import Worker
from policy.acting import operator
from policy.audit import AuditTag
from policy.credentialing import CreatedCredential
from policy.order import Order
from protocols.http import HTTPResponse
from tests.protocols.est.gate import NAME, Gate, names_of
from tests.protocols.est.small import basic, make_csr, post, text_of

DECRYPT_KEY = "1.2.840.113549.1.9.16.2.37"
ASYMMETRIC_KEY = "1.2.840.113549.1.9.16.2.54"


async def ask(gate: Gate, shown: CreatedCredential, csr: bytes) -> HTTPResponse:
    headers = basic(shown.credential.identifier, shown.secret or "")
    return await gate(post("serverkeygen", b64encode(csr), headers))


def parts_of(answer: HTTPResponse) -> list[tuple[str, bytes]]:
    """Type and decoded content of each part, as Python's e-mail package finds them."""
    assert isinstance(answer.body, bytes)
    head = f"MIME-Version: 1.0\r\nContent-Type: {answer.content_type}\r\n\r\n".encode()
    message: Any = email.message_from_bytes(head + answer.body, policy=email.policy.HTTP)
    assert message.is_multipart()
    assert not message.defects
    return [
        (str(part["Content-Type"]).replace('"', ""), b64decode(part.get_payload(), validate=True))
        for part in message.iter_parts()
    ]


def key_and_certificate(answer: HTTPResponse) -> tuple[Any, x509.Certificate]:
    assert answer.status == 200, text_of(answer)
    (key_type, key), (certificate_type, certificates) = parts_of(answer)
    assert key_type == "application/pkcs8"
    assert certificate_type == "application/pkcs7-mime; smime-type=certs-only"
    # T19: a real PrivateKeyInfo; libest puts the bare RSAPrivateKey here.
    assert keys.PrivateKeyInfo.load(key, strict=True)["version"].native == 0
    (certificate,) = pkcs7.load_der_pkcs7_certificates(certificates)
    return load_der_private_key(key, None), certificate


async def orders(gate: Gate) -> list[Order]:
    return [one async for one in gate.house.core.inventory.orders()]


async def test_a_key_is_made_and_certified(gate: Gate) -> None:
    """E20: PKCS #8 and the certificate alone, in multipart/mixed; never to be cached."""
    mine = ec.generate_private_key(ec.SECP256R1())
    answer = await ask(gate, await gate.credential(), make_csr(NAME, mine))
    assert ("Cache-Control", "no-store") in answer.headers
    key, certificate = key_and_certificate(answer)
    assert key.public_key() == certificate.public_key() != mine.public_key()
    assert names_of(certificate) == [NAME]


async def test_the_key_and_signature_of_the_request_do_not_matter(gate: Gate) -> None:
    """E20, RFC 7030 section 4.4.1: neither is verified; the type of the key is taken as a wish."""
    csr = bytearray(make_csr(NAME, ec.generate_private_key(ec.SECP384R1())))
    csr[-1] ^= 1
    key, _ = key_and_certificate(await ask(gate, await gate.credential(), bytes(csr)))
    assert key.curve.name == "secp384r1"
    weak = rsa.generate_private_key(65537, 1024)
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
    request = builder.sign(weak, SHA256()).public_bytes(Encoding.DER)
    key, certificate = key_and_certificate(await ask(gate, await gate.credential(), request))
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    assert key.public_key() == certificate.public_key()


async def test_nothing_is_left_of_a_key_that_was_handed_over(gate: Gate) -> None:
    """E22, T19: not in the order, not in the audit log; asked again the same way, another key is made."""
    shown, csr = await gate.credential(), make_csr(NAME)
    first, certificate = key_and_certificate(await ask(gate, shown, csr))
    (order,) = await orders(gate)
    assert order.sealed_key is None
    scalar = first.private_numbers().private_value.to_bytes(32, "big")
    dump = repr([event async for _, event in gate.house.core.inventory.audit()]) + repr(order)
    assert scalar.hex() not in dump
    assert b64encode(scalar).decode() not in dump
    second, other = key_and_certificate(await ask(gate, shown, csr))
    assert second.public_key() != first.public_key()
    assert other.serial_number != certificate.serial_number
    tags = [event.tag async for _, event in gate.house.core.inventory.audit()]
    assert tags.count(AuditTag.KEY_DELIVERED) == 2


async def test_a_key_waits_sealed_for_the_approval(gate: Gate) -> None:
    """E8, E22: the same key through 202 and approval, however late; sealed all the while."""
    shown, csr = await gate.credential("held"), make_csr(NAME)
    core = gate.house.core
    assert (await ask(gate, shown, csr)).status == 202
    (held,) = await orders(gate)
    assert held.sealed_key is not None
    assert b"\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d" not in held.sealed_key  # no PKCS #8 in sight
    assert (await ask(gate, shown, csr)).status == 202
    assert len(await orders(gate)) == 1
    await core.approval.approve(held.id, operator("user:bob"))
    gate.house.clock.advance(hours=20)
    key, certificate = key_and_certificate(await ask(gate, shown, csr))
    assert key.public_key() == certificate.public_key()
    assert certificate.public_key() == x509.load_der_x509_csr(held.csr or b"").public_key()
    (order,) = await orders(gate)
    assert order.sealed_key is None


async def test_a_refused_order_takes_its_key_along(gate: Gate) -> None:
    """E22: rejected by a person, or expired: the sealed key goes with the order."""
    shown = await gate.credential("held")
    core = gate.house.core
    assert (await ask(gate, shown, make_csr(NAME))).status == 202
    (held,) = await orders(gate)
    await core.approval.reject(held.id, operator("user:bob"), "no")
    (order,) = await orders(gate)
    assert order.sealed_key is None


async def test_a_key_that_nobody_fetches_is_erased(gate: Gate) -> None:
    """E22: with the end of the order's time, by the worker."""
    shown, csr = await gate.credential("held"), make_csr(NAME)
    core = gate.house.core
    assert (await ask(gate, shown, csr)).status == 202
    (held,) = await orders(gate)
    await core.approval.approve(held.id, operator("user:bob"))

    async def nothing() -> None:
        return

    worker = Worker(core, nothing, nothing)
    await worker.do_keys()
    assert (await orders(gate))[0].sealed_key is not None
    gate.house.clock.advance(days=8)
    await worker.do_keys()
    (order,) = await orders(gate)
    assert order.sealed_key is None
    tags = [event.tag async for _, event in core.inventory.audit()]
    assert tags.count(AuditTag.KEY_ERASED) == 1


async def test_two_at_the_same_moment_get_one_key(gate: Gate) -> None:
    """E22: a key leaves once, also when its client is impatient."""
    shown, csr = await gate.credential("held"), make_csr(NAME)
    assert (await ask(gate, shown, csr)).status == 202
    (held,) = await orders(gate)
    await gate.house.core.approval.approve(held.id, operator("user:bob"))
    answers = await asyncio.gather(*(ask(gate, shown, csr) for _ in range(3)))
    statuses = sorted(answer.status for answer in answers)
    assert statuses[0] == 200
    keys_seen = {parts_of(answer)[0][1] for answer in answers if answer.status == 200}
    assert len(keys_seen) == statuses.count(200)
    assert set(statuses) <= {200, 202, 409}


@pytest.mark.parametrize("oid", [DECRYPT_KEY, ASYMMETRIC_KEY])
async def test_an_unknown_key_identifier_is_an_error(gate: Gate, oid: str) -> None:
    """E21: a key that was to be encrypted never leaves in the clear; nothing is made or issued."""
    csr = make_csr(NAME, der_attributes=[(oid, b"\x04\x03abc")])
    answer = await ask(gate, await gate.credential(), csr)
    assert answer.status == 400
    assert "not known" in text_of(answer)
    assert not await orders(gate)


async def test_a_mount_may_make_no_keys(gate: Gate) -> None:
    """RFC 7030 section 4.4.1: optional."""
    await gate.mount(serverkeygen="off")
    assert (await ask(gate, await gate.credential(), make_csr(NAME))).status == 501


async def test_a_certificate_alone_gets_no_key(gate: Gate) -> None:
    """Its holder may renew, and nothing more."""
    _, certificate = key_and_certificate(await ask(gate, await gate.credential(), make_csr(NAME)))
    der = certificate.public_bytes(Encoding.DER)
    answer = await gate(post("serverkeygen", b64encode(make_csr(NAME)), certificate=der))
    assert answer.status == 403
