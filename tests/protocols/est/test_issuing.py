"""EST on the real services: store in memory, CA, rules; only the listener is missing."""

from __future__ import annotations

import subprocess
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path

import trustme
from asn1crypto import pem
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from ca_core.status import RevocationReason
from policy.acting import operator
from policy.audit import AuditTag
from policy.credential import AuthenticationMethod
from policy.mount import Mount
from tests.conftest import ACTOR
from tests.protocols.est.gate import NAME, Gate, names_of
from tests.protocols.est.small import (
    VECTORS,
    basic,
    certificates_in,
    get,
    make_csr,
    post,
    text_of,
)


async def test_a_certificate_is_issued_and_verified_by_openssl(gate: Gate, tmp_path: Path) -> None:
    """E5, E6: What simpleenroll issues is verified up to the root that cacerts gives."""
    answer = await gate.enrol(await gate.credential())
    assert answer.status == 200, answer.body
    (certificate,) = certificates_in(answer)
    assert names_of(certificate) == [NAME]
    chain = certificates_in(await gate(get("cacerts")))
    assert len(chain) == 2
    (root,) = [one for one in chain if one.issuer == one.subject]
    (issuing,) = [one for one in chain if one != root]
    for name, one in (("root", root), ("issuing", issuing), ("leaf", certificate)):
        (tmp_path / f"{name}.pem").write_bytes(one.public_bytes(Encoding.PEM))
    moment = str(int(gate.house.clock().timestamp()) + 1)
    words = ("verify", "-attime", moment, "-CAfile", "root.pem", "-untrusted", "issuing.pem", "leaf.pem")
    run = subprocess.run(["openssl", *words], cwd=tmp_path, capture_output=True)
    assert run.returncode == 0, run.stderr
    tags = {event.tag async for _, event in gate.house.core.inventory.audit()}
    assert AuditTag.CERTIFICATE_ISSUED in tags


async def test_the_same_request_again_is_one_certificate(gate: Gate) -> None:
    """E8: RFC 7030 section 4.2.3: signed again, it is still the same request."""
    shown, key = await gate.credential(), ec.generate_private_key(ec.SECP256R1())
    answers = [await gate.enrol(shown, make_csr(NAME, key)) for _ in range(3)]
    assert len({answer.body for answer in answers}) == 1
    assert len([one async for one in gate.house.core.inventory.certificates()]) == 1


async def test_a_held_order_is_202_until_it_is_approved(gate: Gate) -> None:
    """E8: RFC 7030 section 4.2.3; the order model's `held`."""
    shown, key = await gate.credential("held"), ec.generate_private_key(ec.SECP256R1())
    answer = await gate.enrol(shown, make_csr(NAME, key))
    assert (answer.status, answer.headers) == (202, (("Retry-After", "60"),)), answer.body
    (order,) = [one async for one in gate.house.core.inventory.orders(status="held")]
    assert (await gate.enrol(shown, make_csr(NAME, key))).status == 202
    await gate.house.core.approval.approve(order.id, operator("user:bob"))
    answer = await gate.enrol(shown, make_csr(NAME, key))
    assert answer.status == 200, answer.body
    (certificate,) = certificates_in(answer)
    assert certificate.public_key() == key.public_key()


async def test_a_rejected_order_says_so(gate: Gate) -> None:
    """E8: A person refused: no more waiting."""
    shown, key = await gate.credential("held"), ec.generate_private_key(ec.SECP256R1())
    assert (await gate.enrol(shown, make_csr(NAME, key))).status == 202
    (order,) = [one async for one in gate.house.core.inventory.orders(status="held")]
    await gate.house.core.approval.reject(order.id, operator("user:bob"), "the device was returned")
    answer = await gate.enrol(shown, make_csr(NAME, key))
    assert 400 <= answer.status < 500


async def test_nobody_fetches_another_clients_certificate(gate: Gate) -> None:
    """T23: The same request of another credential is an order of its own."""
    csr = make_csr(NAME)
    first = await gate.enrol(await gate.credential(), csr)
    other = await gate.enrol(await gate.credential(), csr)
    serials = [certificates_in(answer)[0].serial_number for answer in (first, other)]
    assert serials[0] != serials[1]


async def test_renewal_with_the_same_and_with_another_key(gate: Gate) -> None:
    """E18: RFC 7030 section 4.2.2: with the certificate alone; same subject and names."""
    key = ec.generate_private_key(ec.SECP256R1())
    (first,) = certificates_in(await gate.enrol(await gate.credential(), make_csr(NAME, key)))
    gate.house.clock.advance(hours=2)
    answer = await gate.reenrol(first, make_csr(NAME, key))
    assert answer.status == 200, answer.body
    (second,) = certificates_in(answer)
    assert second.serial_number != first.serial_number
    assert second.subject == first.subject
    (third,) = certificates_in(await gate.reenrol(second, make_csr(NAME)))
    assert third.public_key() != key.public_key()
    kinds = [one.kind async for one in gate.house.core.inventory.orders()]
    assert sorted(kinds) == ["enroll", "rekey", "renew"]


async def test_renewal_keeps_the_names(gate: Gate) -> None:
    """E18, T17: RFC 7030 section 4.2.2: other names are no renewal."""
    (first,) = certificates_in(await gate.enrol(await gate.credential()))
    answer = await gate.reenrol(first, make_csr("device-2.certgate.test"))
    assert answer.status == 400, answer.body


async def test_a_revoked_certificate_neither_enrols_nor_renews(gate: Gate) -> None:
    """E11: Revocation of what is shown counts at once."""
    (first,) = certificates_in(await gate.enrol(await gate.credential()))
    stored = await gate.house.core.revocation.by_serial(f"{first.serial_number:040x}")
    await gate.house.core.revocation.revoke(stored, RevocationReason.KEY_COMPROMISE, ACTOR.name)
    assert (await gate.reenrol(first, make_csr(NAME))).status == 403


async def test_a_revoked_credential_stops_its_certificates_too(gate: Gate) -> None:
    """E11, E19: Renewals that a certificate of the credential authenticates stop with it."""
    shown = await gate.credential()
    (first,) = certificates_in(await gate.enrol(shown))
    await gate.house.core.administration.revoke_credential(shown.credential.id, "no longer needed", ACTOR)
    assert (await gate.enrol(shown)).status == 403
    assert (await gate.reenrol(first, make_csr(NAME))).status == 403


async def test_a_credential_of_another_door_is_refused(gate: Gate) -> None:
    """Credentials are bound to one protocol: an ACME credential proves nothing here."""
    other = await gate.house.credential("acme")
    headers = basic(other.credential.identifier, other.secret or "")
    assert (await gate(post("simpleenroll", b64encode(make_csr(NAME)), headers))).status == 401


async def test_password_and_certificate_of_two_credentials_do_not_mix(gate: Gate) -> None:
    """T15: Both have to belong to one credential."""
    one, other = await gate.credential(), await gate.credential()
    (certificate,) = certificates_in(await gate.enrol(one))
    der = certificate.public_bytes(Encoding.DER)
    for shown, status in ((other, 401), (one, 200)):
        headers = basic(shown.credential.identifier, shown.secret or "")
        request = post("simpleenroll", b64encode(make_csr(NAME)), headers, certificate=der)
        assert (await gate(request)).status == status


async def test_names_that_the_product_does_not_grant(gate: Gate) -> None:
    """403 with the name; nothing is issued."""
    answer = await gate.enrol(await gate.credential(), make_csr("www.example.org"))
    assert answer.status == 403
    assert "www.example.org" in text_of(answer)
    assert not [one async for one in gate.house.core.inventory.certificates()]


async def test_strongswan_5_9_8_is_served(gate: Gate) -> None:
    """Its request with attributes out of order, without the channel binding it cannot compute."""
    body = (VECTORS / "strongswan-5.9.8-san.der").read_bytes()
    answer = await gate.enrol(await gate.credential(), body)
    assert answer.status == 200, answer.body
    assert names_of(certificates_in(answer)[0]) == ["gateway-1.certgate.test"]


async def test_a_makers_certificate_enrols_and_does_not_renew(gate: Gate) -> None:
    """E11, E19: RFC 7030 section 3.1: an implicit trust anchor of the mount stands for the devices of a maker."""
    maker = trustme.CA()
    anchor = pem.unarmor(maker.cert_pem.bytes())[2]
    device = pem.unarmor(maker.issue_cert("serial-4711.maker.test").cert_chain_pems[0].bytes())[2]
    body = b64encode(make_csr(NAME))
    assert (await gate(post("simpleenroll", body, certificate=device))).status == 401

    mount = Mount("est", "default", ("device",), "issuing", anchors=(anchor,))
    await gate.house.core.administration.apply_mount(mount, ACTOR)
    identifier = f"anchor:{sha256(anchor).hexdigest()}"
    await gate.credential(method=AuthenticationMethod.CERTIFICATE, identifier=identifier)
    answer = await gate(post("simpleenroll", body, certificate=device))
    assert answer.status == 200, answer.body
    assert (await gate(post("simplereenroll", body, certificate=device))).status == 403


async def test_csrattrs_of_the_default_product(gate: Gate) -> None:
    """E25: What the product of the mount wishes for, as asn1parse shows it."""
    der = b64decode(text_of(await gate(get("csrattrs"))), validate=True)
    run = subprocess.run(["openssl", "asn1parse", "-inform", "DER"], input=der, capture_output=True)
    shown = run.stdout.decode()
    for word in (
        "id-ecPublicKey",
        "prime256v1",
        "rsaEncryption",
        "ecdsa-with-SHA256",
        "sha256WithRSAEncryption",
    ):
        assert word in shown


async def test_a_second_mount_has_its_own_label(gate: Gate) -> None:
    """E1: A credential that is bound to one mount is refused at the other."""
    await gate.house.core.administration.apply_mount(Mount("est", "factory", ("device",), "issuing"), ACTOR)
    gate.labels = ("est/factory",)
    shown = await gate.credential(mounts=("est/factory",))
    headers = basic(shown.credential.identifier, shown.secret or "")
    body = b64encode(make_csr(NAME))
    assert (await gate(post("simpleenroll", body, headers))).status == 403
    assert (await gate(post("simpleenroll", body, headers, label="factory"))).status == 200
