"""rr and rp (RFC 9810 section 5.3.9, RFC 9483 section 4.2)."""

from __future__ import annotations

import pytest
from cryptography import x509

from ca_core.status import RevocationReason
from policy.store import CERTIFICATE_STATUS
from tests.conftest import ACTOR, DEVICE_PROFILE
from tests.policy.making import change_product
from tests.protocols.cmp.maker import (
    Answer,
    Gate,
    Signer,
    Template,
    cert_conf,
    name,
    new_key,
    octets,
    oid,
    reason,
    request_for,
    rev_req,
    seq,
    spki_of,
)
from tests.protocols.cmp.test_enrolling import make_idevid
from tests.replacing import replace

REASONS = {
    0: "unspecified",
    1: "keyCompromise",
    2: "cACompromise",
    3: "affiliationChanged",
    4: "superseded",
    5: "cessationOfOperation",
    9: "privilegeWithdrawn",
    10: "aACompromise",
}


async def rr(gate: Gate, signer: Signer, content: bytes, path: str = "/.well-known/cmp") -> Answer:
    return await gate.send(gate.message("rr", content, signer), path)


async def status_of(gate: Gate, certificate: bytes) -> tuple[str, str | None]:
    serial = f"{x509.load_der_x509_certificate(certificate).serial_number:040x}"
    status = await gate.house.core.store.one(CERTIFICATE_STATUS, serial)
    assert status is not None
    return status.state.value, status.reason.value if status.reason else None


@pytest.mark.parametrize("code", REASONS)
async def test_every_reason_revokes(gate: Gate, code: int) -> None:
    """§8 item 5: all reason codes; the second time it is certRevoked."""
    signer = await gate.enrol(await gate.secret())
    answer = await rr(gate, signer, rev_req(signer.certificate, reason(code)))
    assert answer.told() == ("rp", None), answer.text
    assert await status_of(gate, signer.certificate) == ("revoked", REASONS[code])
    again = await rr(gate, signer, rev_req(signer.certificate, reason(code)))
    assert again.told() == ("rp", "certRevoked")


async def test_without_a_reason_it_is_unspecified(gate: Gate) -> None:
    signer = await gate.enrol(await gate.secret())
    assert (await rr(gate, signer, rev_req(signer.certificate))).told() == ("rp", None)
    assert await status_of(gate, signer.certificate) == ("revoked", "unspecified")


async def test_hold_and_release(gate: Gate) -> None:
    """Issue: hold and release included. A replayed hold is none."""
    signer = await gate.enrol(await gate.secret())
    hold = gate.message("rr", rev_req(signer.certificate, reason(6)), signer)
    assert (await gate.send(hold)).told() == ("rp", None)
    assert await gate.state(signer.certificate) == "on_hold"
    assert (await rr(gate, signer, rev_req(signer.certificate, reason(1)))).told() == ("error", "notAuthorized")
    release = await rr(gate, signer, rev_req(signer.certificate, reason(8)))
    assert release.told() == ("rp", None), release.text
    assert await gate.state(signer.certificate) == "valid"
    assert (await gate.send(hold)).told() == ("rp", "transactionIdInUse")
    assert await gate.state(signer.certificate) == "valid"


async def test_what_somebody_else_holds_is_not_released(gate: Gate) -> None:
    """A suspension by the administrator is not for its holder to end."""
    signer = await gate.enrol(await gate.secret())
    stored = await gate.house.core.revocation.by_serial(f"{signer.x509.serial_number:040x}")
    await gate.house.core.revocation.hold(stored, ACTOR.name)
    answer = await rr(gate, signer, rev_req(signer.certificate, reason(8)))
    assert answer.told() == ("rp", "notAuthorized")
    assert await gate.state(signer.certificate) == "on_hold"


async def test_a_registration_authority_on_hold_releases_nothing_of_others(gate: Gate) -> None:
    """A certificate on hold is heard about its own hold only, whatever role it has."""
    profile = replace(DEVICE_PROFILE, extended_key_usage=("clientAuth", "cmcRA"))
    await change_product(gate.house, "device", profile=profile)
    secret = await gate.secret(options={"ra": True})
    authority, device = await gate.enrol(secret, "RA 1"), await gate.enrol(secret, "device-1")
    for one in (device, authority):
        stored = await gate.house.core.revocation.by_serial(f"{one.x509.serial_number:040x}")
        await gate.house.core.revocation.hold(stored, ACTOR.name)
    answer = await rr(gate, authority, rev_req(device.certificate, reason(8)))
    assert answer.fail is not None
    assert await gate.state(device.certificate) == "on_hold"


async def test_rows(gate: Gate) -> None:
    """§1.4: issuer or serial missing; not found or mismatched; unknown reason; two reasons; two RevDetails; MAC."""
    secret = await gate.secret()
    signer = await gate.enrol(secret)
    der = signer.certificate
    good = rev_req(der, reason(1))
    read = signer.x509
    rows = [
        (rev_req(der, reason(1), serial=None), "addInfoNotAvailable"),
        (rev_req(der, reason(1), issuer=None), "addInfoNotAvailable"),
        (rev_req(der, reason(1), serial=read.serial_number + 1), "badCertId"),
        (rev_req(der, reason(1), serial=-1), "badCertId"),
        (rev_req(der, reason(1), serial=1 << 200), "badCertId"),
        (rev_req(der, reason(1), issuer=name("another CA")), "badCertId"),
        (rev_req(der, reason(1), subject=name("another")), "badCertId"),
        (rev_req(der, reason(1), spki=spki_of(new_key())), "badCertId"),
        (rev_req(der, reason(7)), "badDataFormat"),
        (rev_req(der, reason(11)), "badDataFormat"),
        (rev_req(der, seq(oid("2.5.29.21"), octets(b"\x02\x01\x01"))), "badDataFormat"),
        (rev_req(der, reason(1), reason(4)), "badRequest"),
        (rev_req(der, seq(oid("1.2.3"), octets(b""))), "badRequest"),
        (seq(good[2:] if good[1] < 0x80 else good[3:], seq(Template().der)), "badRequest"),
        (seq(), "badRequest"),
        (b"\x04\x00", "badDataFormat"),
    ]
    for content, fail in rows:
        answer = await rr(gate, signer, content)
        assert answer.told() == ("rp", fail), (fail, answer.text)
    under_mac = await gate.send(gate.message("rr", good, secret))
    assert under_mac.told() == ("rp", "wrongIntegrity")
    assert await gate.state(der) == "valid"
    matching = rev_req(der, reason(1), subject=read.subject.public_bytes(), spki=spki_of(signer.private_key))
    assert (await rr(gate, signer, matching)).told() == ("rp", None)


async def test_nobody_revokes_for_somebody_else(gate: Gate) -> None:
    """§7 kur/rr for somebody else's certificate: of the same credential and of another one."""
    secret = await gate.secret()
    victim, neighbour = await gate.enrol(secret, "device-1"), await gate.enrol(secret, "device-2")
    stranger = await gate.enrol(await gate.secret(), "device-3")
    for signer in (neighbour, stranger):
        answer = await rr(gate, signer, rev_req(victim.certificate, reason(1)))
        assert answer.told() == ("rp", "notAuthorized")
    assert await gate.state(victim.certificate) == "valid"


async def test_a_registration_authority_revokes_what_it_enrolled(gate: Gate) -> None:
    """RFC 9483 section 5.3.2: with cmcRA and the role, and of its own credential only."""
    maker, _ = await make_idevid(gate, ra=True)
    path = "/.well-known/cmp/p/maker"
    authority = maker.device("RA 1", usages=["1.3.6.1.5.5.7.3.28"])
    key = new_key()
    asked = gate.message("ir", request_for("device-1", key), authority)
    answer = await gate.send(asked, path)
    await gate.send(gate.following("certConf", cert_conf(answer.certificate), authority, answer), path)
    revoked = await rr(gate, authority, rev_req(answer.certificate, reason(5)), path)
    assert revoked.told() == ("rp", None), revoked.text
    other = await gate.enrol(await gate.secret())
    assert (await rr(gate, authority, rev_req(other.certificate, reason(5)), path)).told() == ("rp", "badCertId")


async def test_ocsp_and_crl_know_at_once(gate: Gate) -> None:
    """§8 item 5: the state is what OCSP reads; the CRL of the shard is due."""
    signer = await gate.enrol(await gate.secret())
    await rr(gate, signer, rev_req(signer.certificate, reason(1)))
    assert (await status_of(gate, signer.certificate))[1] == RevocationReason.KEY_COMPROMISE
    jobs = await gate.house.core.store.lease_jobs(("crl",), gate.house.clock(), 5, 10)
    assert len(jobs) == 1
