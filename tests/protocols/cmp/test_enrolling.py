"""ir, cr, p10cr and kur (RFC 9810 section 5.3, RFC 9483 section 4.1). Rows are those of the specification's tables."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from ca_core.crmf import OLD_CERT_ID
from policy.audit import AuditTag
from policy.credential import AuthenticationMethod
from policy.mount import Mount
from policy.sealing import fingerprint
from protocols.cmp.settings import CMPSettings
from tests.conftest import ACTOR
from tests.policy.making import events
from tests.protocols.cmp.authority import Maker
from tests.protocols.cmp.maker import (
    IMPLICIT,
    PROFILE,
    RA_VERIFIED,
    WAIT_TIME,
    Gate,
    Secret,
    Signer,
    Template,
    cert_req,
    csr,
    directory_name,
    info,
    moment,
    name,
    new_key,
    num,
    oid,
    request_for,
    seq,
    spki_of,
    tlv,
)


async def test_ir_is_answered_with_ip_and_confirmed(gate: Gate) -> None:
    """§1.2 rows 0/1 and 24/19: the certificate counts from the confirmation on; the root comes along under a MAC."""
    secret, key = await gate.secret(), new_key()
    answer = await gate.send(gate.message("ir", request_for("device-1", key), secret))
    assert answer.told() == ("ip", None), answer.text
    assert answer.mac
    assert (answer.number, answer.ca_pubs) == (0, 1)
    assert answer.x509.public_key() == key.public_key()
    assert WAIT_TIME in answer.infos
    assert await gate.state(answer.certificate) == "unconfirmed"
    listed = [one.stored.serial async for one in gate.house.core.inventory.certificates()]
    assert f"{answer.x509.serial_number:040x}" not in listed
    done = await gate.confirm(answer, secret)
    assert done.body == "pkiconf"
    assert await gate.state(answer.certificate) == "valid"
    listed = [one.stored.serial async for one in gate.house.core.inventory.certificates()]
    assert f"{answer.x509.serial_number:040x}" in listed
    assert len(await events(gate.house, AuditTag.CERTIFICATE_CONFIRMED)) == 1


async def test_implicit_confirmation_is_granted_in_the_header(gate: Gate) -> None:
    """§1.5: copied into the answer, and the certificate is valid at once."""
    secret = await gate.secret()
    asked = gate.message("ir", request_for("device-1", new_key()), secret, infos=[info(IMPLICIT)])
    answer = await gate.send(asked)
    assert answer.infos == {IMPLICIT: b"\x05\x00"}
    assert await gate.state(answer.certificate) == "valid"
    late = await gate.confirm(answer, secret)
    assert late.told() == ("error", "certConfirmed")


async def test_implicit_confirmation_may_be_denied(gate: Gate) -> None:
    """§1.5: without it in the answer there is a time to confirm in."""
    mount = Mount("cmp", "strict", ("device",), "issuing", options={"implicit_confirm": False})
    await gate.house.core.administration.apply_mount(mount, ACTOR)
    asked = gate.message("ir", request_for("device-1", new_key()), await gate.secret(), infos=[info(IMPLICIT)])
    answer = await gate.send(asked, "/.well-known/cmp/p/strict")
    assert list(answer.infos) == [WAIT_TIME]
    assert await gate.state(answer.certificate) == "unconfirmed"


async def test_p10cr_is_answered_with_certreqid_minus_one(gate: Gate) -> None:
    """§1.2 row 4 and RFC 9483 erratum 8806."""
    secret, key = await gate.secret(), new_key()
    answer = await gate.send(gate.message("p10cr", csr("device-1", key), secret))
    assert (answer.told(), answer.number) == (("cp", None), -1)
    assert (await gate.confirm(answer, secret)).body == "pkiconf"
    assert await gate.state(answer.certificate) == "valid"


async def test_p10cr_with_a_broken_signature_is_bad_pop(gate: Gate) -> None:
    """§1.4 content rows: proof of possession."""
    request = bytearray(csr("device-1", new_key()))
    request[-1] ^= 1
    answer = await gate.send(gate.message("p10cr", bytes(request), await gate.secret()))
    assert (answer.told(), answer.number) == (("cp", "badPOP"), -1)


@pytest.mark.parametrize("kind", ["rsa", "p384", "ed25519"])
async def test_keys_of_every_kind_prove_themselves(gate: Gate, kind: str) -> None:
    """The product says which keys it takes; the others are badCertTemplate."""
    keys = {
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
    }
    answer = await gate.send(gate.message("ir", request_for("device-1", keys[kind]()), await gate.secret()))
    assert answer.told() == ("ip", "badCertTemplate" if kind == "ed25519" else None), answer.text


async def test_cr_and_p10cr_signed_with_a_certificate_of_ours(gate: Gate) -> None:
    """RFC 9483 section 4.1.2: a further certificate, for the same names unless the mount says otherwise."""
    signer = await gate.enrol(await gate.secret())
    for body, content in (("cr", request_for("device-1", new_key())), ("p10cr", csr("device-1", new_key()))):
        answer = await gate.send(gate.message(body, content, signer))
        assert answer.told() == ("cp", None), answer.text
        assert not answer.mac
        assert (await gate.confirm(answer, signer)).body == "pkiconf"
    other = await gate.send(gate.message("cr", request_for("device-2", new_key()), signer))
    assert other.told() == ("cp", "badCertTemplate")


@pytest.mark.parametrize(("additional", "told"), [("any", ("cp", None)), ("never", ("cp", "notAuthorized"))])
async def test_the_mount_says_what_a_certificate_of_ours_may_order(
    gate: Gate, additional: str, told: tuple[str, str | None]
) -> None:
    signer = await gate.enrol(await gate.secret())
    mount = Mount("cmp", "other", ("device",), "issuing", options={"additional": additional})
    await gate.house.core.administration.apply_mount(mount, ACTOR)
    asked = gate.message("cr", request_for("device-2", new_key()), signer)
    assert (await gate.send(asked, "/.well-known/cmp/p/other")).told() == told


async def test_a_maker_certificate_enrols_by_ir_and_not_by_cr(gate: Gate) -> None:
    """§1.4: EE from other PKI using cr is notAuthorized; ir by an IDevID is how a device begins (3GPP)."""
    _, device = await make_idevid(gate)
    asked = gate.message("ir", request_for("device-1", new_key()), device)
    answer = await gate.send(asked, "/.well-known/cmp/p/maker")
    assert answer.told() == ("ip", None), answer.text
    assert answer.ca_pubs == 0
    cr = gate.message("cr", request_for("device-1", new_key()), device)
    assert (await gate.send(cr, "/.well-known/cmp/p/maker")).told() == ("cp", "notAuthorized")
    kur = gate.message("kur", request_for("device-1", new_key()), device)
    assert (await gate.send(kur, "/.well-known/cmp/p/maker")).told() == ("kup", "notAuthorized")
    stranger = Maker("Another maker").device("stranger")
    asked = gate.message("ir", request_for("device-1", new_key()), stranger)
    assert (await gate.send(asked, "/.well-known/cmp/p/maker")).told() == ("error", "signerNotTrusted")


async def make_idevid(gate: Gate, **options: object) -> tuple[Maker, Signer]:
    """A maker whose devices may enrol at cmp/maker, and one device."""
    maker = Maker("A maker")
    mount = Mount("cmp", "maker", ("device",), "issuing", anchors=(maker.der,))
    await gate.house.core.administration.apply_mount(mount, ACTOR)
    await gate.credential(
        method=AuthenticationMethod.CERTIFICATE, identifier=f"anchor:{fingerprint(maker.der)}", options=options
    )
    return maker, maker.device("IDevID 1")


# --- kur


def old_cert_id(certificate: bytes, *, more: int = 0) -> bytes:
    read = x509.load_der_x509_certificate(certificate)
    value = seq(directory_name(read.issuer.public_bytes()), num(read.serial_number + more))
    return seq(oid(OLD_CERT_ID), value)


async def test_kur_updates_the_certificate_that_signs_it(gate: Gate) -> None:
    """§1.2 rows 7/8: same names, another key; the old one stays valid until then."""
    signer = await gate.enrol(await gate.secret(), "device-1.certgate.test", "device-1.certgate.test")
    key, host = new_key(), "device-1.certgate.test"
    content = request_for(host, key, host, controls=[old_cert_id(signer.certificate)])
    answer = await gate.send(gate.message("kur", content, signer))
    assert answer.told() == ("kup", None), answer.text
    assert answer.x509.public_key() == key.public_key()
    assert await gate.state(signer.certificate) == "valid"
    assert (await gate.confirm(answer, signer)).body == "pkiconf"
    assert await gate.state(answer.certificate) == "valid"


async def test_kur_rows(gate: Gate) -> None:
    """§1.4: oldCertId not the signer's; a second kur while one is unconfirmed; already updated; other names; MAC."""
    secret = await gate.secret()
    signer = await gate.enrol(secret)
    wrong = request_for("device-1", new_key(), controls=[old_cert_id(signer.certificate, more=1)])
    assert (await gate.send(gate.message("kur", wrong, signer))).told() == ("kup", "badCertId")
    other = request_for("device-2", new_key())
    assert (await gate.send(gate.message("kur", other, signer))).told() == ("kup", "badCertTemplate")
    under_mac = request_for("device-1", new_key())
    assert (await gate.send(gate.message("kur", under_mac, secret))).told() == ("kup", "wrongIntegrity")
    first = await gate.send(gate.message("kur", request_for("device-1", new_key()), signer))
    assert first.told() == ("kup", None), first.text
    second = await gate.send(gate.message("kur", request_for("device-1", new_key()), signer))
    assert second.told() == ("kup", "badRequest")
    await gate.confirm(first, signer)
    third = await gate.send(gate.message("kur", request_for("device-1", new_key()), signer))
    assert third.told() == ("kup", "certRevoked")


async def test_updates_at_the_same_moment_give_one_certificate(gate: Gate) -> None:
    """A certificate has one successor, however many of its updates are judged before the first is written."""
    signer = await gate.enrol(await gate.secret())
    updates = [gate.message("kur", request_for("device-1", new_key()), signer) for _ in range(4)]
    answers = await asyncio.gather(*(gate.send(one) for one in updates))
    assert sorted(one.fail is None for one in answers) == [False, False, False, True]


async def test_a_rejected_update_can_be_asked_for_again(gate: Gate) -> None:
    """§1.5: the new certificate is revoked, the old one stays what it was and may be updated."""
    signer = await gate.enrol(await gate.secret())
    first = await gate.send(gate.message("kur", request_for("device-1", new_key()), signer))
    assert (await gate.confirm(first, signer, seq())).body == "pkiconf"
    assert await gate.state(first.certificate) == "revoked"
    assert await gate.state(signer.certificate) == "valid"
    again = await gate.send(gate.message("kur", request_for("device-1", new_key()), signer))
    assert again.told() == ("kup", None), again.text


async def test_kur_with_a_revoked_certificate_is_cert_revoked(gate: Gate) -> None:
    """§1.4: signer revoked."""
    signer = await gate.enrol(await gate.secret())
    stored = await gate.house.core.revocation.by_serial(f"{signer.x509.serial_number:040x}")
    await gate.house.core.revocation.revoke(stored, None, ACTOR.name)
    answer = await gate.send(gate.message("kur", request_for("device-1", new_key()), signer))
    assert answer.told() == ("kup", "certRevoked")


# --- content rows of §1.4


async def refused(gate: Gate, content: bytes, **more: object) -> tuple[str, str | None]:
    answer = await gate.send(gate.message("ir", content, await gate.secret(), **more))
    assert answer.status == 2
    return answer.told()


async def test_request_rows(gate: Gate) -> None:
    """§1.4: certReqId other than 0; more than one request; subject missing; NULL-DN without names."""
    key = new_key()
    good = Template(subject=name("device-1"), spki=spki_of(key))
    assert await refused(gate, seq(cert_req(good, key, number=1))) == ("ip", "badRequest")
    assert await refused(gate, seq(cert_req(good, key), cert_req(good, key))) == ("ip", "badRequest")
    assert await refused(gate, seq(cert_req(replace(good, subject=None), key))) == ("ip", "badCertTemplate")
    assert await refused(gate, seq(cert_req(replace(good, subject=name()), key))) == ("ip", "badCertTemplate")
    assert await refused(gate, b"\x30\x00") == ("ip", "badDataFormat")


async def test_possession_rows(gate: Gate) -> None:
    """§1.4 and §7: POP wrong, missing, of another key, of another algorithm; a key that is too short or unknown."""
    key, other = new_key(), new_key()
    good = Template(subject=name("device-1"), spki=spki_of(key))
    assert await refused(gate, seq(cert_req(good, None))) == ("ip", "badPOP")
    assert await refused(gate, seq(cert_req(good, other))) == ("ip", "badPOP")
    assert await refused(gate, seq(cert_req(good, rsa.generate_private_key(65537, 2048)))) == ("ip", "badPOP")
    assert await refused(gate, seq(cert_req(good, None, proof=b"\xa1\x00"))) == ("ip", "badPOP")
    weak = rsa.generate_private_key(65537, 1024)
    assert await refused(gate, request_for("device-1", weak)) == ("ip", "badCertTemplate")
    odd = ec.generate_private_key(ec.SECP256K1())
    assert await refused(gate, request_for("device-1", odd)) == ("ip", "badCertTemplate")


async def test_a_ca_certificate_is_not_to_be_had(gate: Gate) -> None:
    """§1.4: basicConstraints."""
    key = new_key()
    ca = seq(seq(oid("2.5.29.19"), b"\x01\x01\xff", tlv(4, seq(b"\x01\x01\xff"))))
    content = seq(cert_req(Template(name("device-1"), spki_of(key), extensions=ca), key))
    assert await refused(gate, content) == ("ip", "badCertTemplate")


async def test_ra_verified_counts_by_role_only(gate: Gate) -> None:
    """§7 raVerified abuse: a plain secret may not, one with the role of an RA may."""
    key = new_key()
    content = request_for("device-1", key, proof=RA_VERIFIED)
    assert await refused(gate, content) == ("ip", "notAuthorized")
    answer = await gate.send(gate.message("ir", content, await gate.secret(options={"ra": True})))
    assert answer.told() == ("ip", None), answer.text


async def test_ra_verified_by_certificate_needs_the_key_usage_too(gate: Gate) -> None:
    """§7: the credential's role and cmcRA in the certificate, both."""
    maker, device = await make_idevid(gate, ra=True)
    content = request_for("device-1", new_key(), proof=RA_VERIFIED)
    path = "/.well-known/cmp/p/maker"
    assert (await gate.send(gate.message("ir", content, device), path)).told() == ("ip", "notAuthorized")
    authority = maker.device("RA 1", usages=["1.3.6.1.5.5.7.3.28"])
    answer = await gate.send(gate.message("ir", content, authority), path)
    assert answer.told() == ("ip", None), answer.text
    cr = gate.message("cr", request_for("device-2", new_key()), authority)
    assert (await gate.send(cr, path)).told() == ("cp", None)


async def test_what_is_left_out_is_granted_with_mods(gate: Gate) -> None:
    """§8 item 6: an extension that the profile does not have."""
    key = new_key()
    asked = seq(seq(oid("1.2.3.4"), tlv(4, b"\x05\x00")))
    content = seq(cert_req(Template(name("device-1"), spki_of(key), extensions=asked), key))
    answer = await gate.send(gate.message("ir", content, await gate.secret()))
    assert answer.status == 1
    assert "1.2.3.4" in answer.text


async def test_a_validity_is_granted_exactly_or_refused(gate: Gate) -> None:
    """A template's validity (RFC 4211 section 5): both forms of Time."""
    key, now = new_key(), gate.house.clock()
    until = now.replace(month=12, day=1)
    short = tlv(0xA1, tlv(0x17, until.strftime("%y%m%d%H%M%SZ").encode()))
    content = seq(cert_req(Template(name("device-1"), spki_of(key), validity=short), key))
    answer = await gate.send(gate.message("ir", content, await gate.secret()))
    assert answer.told() == ("ip", None), answer.text
    assert answer.x509.not_valid_after_utc == until
    long = tlv(0xA1, moment(now.replace(year=2096)))
    content = seq(cert_req(Template(name("device-1"), spki_of(key), validity=long), key))
    assert await refused(gate, content) == ("ip", "badCertTemplate")


async def test_cert_profile_selects_the_product(gate: Gate) -> None:
    """§1.3 row 21: one name; one that is not granted, and two, are refused."""
    secret = await gate.secret("device", mounts=("cmp/default",))
    made = await gate.house.credential("cmp", "tls")
    both = Secret(made.credential.identifier.encode(), (made.secret or "").encode())
    names = [tlv(0x0C, one) for one in (b"tls", b"device")]
    content = request_for("www.certgate.test", new_key(), "www.certgate.test")
    asked = gate.message("ir", content, both, infos=[info(PROFILE, seq(names[0]))])
    assert (await gate.send(asked)).told() == ("ip", None)
    asked = gate.message("ir", content, secret, infos=[info(PROFILE, seq(names[0]))])
    assert (await gate.send(asked)).told() == ("ip", "badCertTemplate")
    asked = gate.message("ir", content, secret, infos=[info(PROFILE, seq(*names))])
    assert (await gate.send(asked)).told() == ("ip", "badRequest")


async def test_a_use_limit_counts(gate: Gate) -> None:
    """§8 item 9: one certificate, and no more."""
    secret = await gate.secret(use_limit=1)
    assert (await gate.send(gate.message("ir", request_for("device-1", new_key()), secret))).told() == ("ip", None)
    again = await gate.send(gate.message("ir", request_for("device-2", new_key()), secret))
    assert again.told() == ("ip", "notAuthorized")


async def test_the_chain_comes_in_extra_certs(gate: Gate) -> None:
    """§8 item 3: the service's own certificate first where it signs; the issuing CA; never the root."""
    secret = await gate.secret()
    signer = await gate.enrol(secret)
    mount = await gate.house.core.ra.mount("cmp/default")
    issuing, root = await gate.house.core.ra.ca_certificates(mount)
    under_mac = await gate.send(gate.message("ir", request_for("device-2", new_key()), secret))
    assert under_mac.extra_certs == [issuing]
    signed = await gate.send(gate.message("cr", request_for("device-1", new_key()), signer))
    assert signed.extra_certs[1:] == [issuing]
    service = x509.load_der_x509_certificate(signed.extra_certs[0])
    usage = service.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign
    purposes = service.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [one.dotted_string for one in purposes] == [f"1.3.6.1.5.5.7.3.{arc}" for arc in (27, 28, 32)]
    assert root not in signed.extra_certs
    issuer = x509.load_der_x509_certificate(issuing)
    assert service.public_key() != issuer.public_key()
    service.verify_directly_issued_by(issuer)


async def test_the_order_keeps_the_request_as_it_came(gate: Gate) -> None:
    """DESIGN: the CertRequest's own bytes are kept, and the transaction beside it."""
    key = new_key()
    content = request_for("device-1", key)
    await gate.send(gate.message("ir", content, await gate.secret()))
    (order,) = [one async for one in gate.house.core.inventory.orders()]
    assert order.csr is not None
    assert order.csr in content
    assert order.transaction["binding"]["kind"] == "mac"


async def test_who_does_not_confirm_has_no_certificate(gate: Gate) -> None:
    """§1.5 and done-means: silent at confirmation; the sweeper revokes, on time and not before."""
    gate.settings = CMPSettings(confirm_wait_seconds=60)
    secret = await gate.secret()
    answer = await gate.send(gate.message("ir", request_for("device-1", new_key()), secret))
    confirmed = await gate.enrol(secret, "device-2")
    await sweep(gate)
    assert await gate.state(answer.certificate) == "unconfirmed"
    gate.later(61)
    await sweep(gate)
    assert await gate.state(answer.certificate) == "revoked"
    assert await gate.state(confirmed.certificate) == "valid"
    late = await gate.confirm(answer, secret)
    assert late.told() == ("error", "certConfirmed")
    crls = [event.detail for event in await events(gate.house, AuditTag.CERTIFICATE_REVOKED)]
    assert [one["why"] for one in crls] == ["not confirmed in time"]


async def sweep(gate: Gate) -> None:
    """What the worker does every half second."""
    from gateway.worker import Worker

    async def nothing() -> None:
        return None

    await Worker(gate.house.core, nothing, nothing).do_confirmations()


def test_the_client_of_these_tests_writes_der() -> None:
    """What it takes for granted of itself."""
    device = Maker("maker").device("device")
    assert device.x509.public_bytes(Encoding.DER) == device.certificate
