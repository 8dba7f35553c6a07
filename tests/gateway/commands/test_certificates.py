"""gateway.commands.certificates: what is said of a certificate, and what changes its state."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509

from gateway.commands import certificates
from policy.problems import AlreadyRevoked, BadRevocationReason, Malformed, OrderConflict, UnknownCertificate
from tests.conftest import House, dns
from tests.gateway.commands.issuing import ACTOR, issued


async def test_show_says_what_the_certificate_says(house: House) -> None:
    """Serial, names and times are those of the certificate that another decoder reads."""
    order = await issued(house, "a.certgate.test", "b.certgate.test")
    assert order.serial is not None
    shown = await certificates.show(house.core, serial=order.serial, actor=ACTOR)
    decoded = x509.load_pem_x509_certificate(shown["pem"].encode())
    names = decoded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert shown["serial"] == f"{decoded.serial_number:040x}" == order.serial
    assert shown["names"] == [f"dns:{name}" for name in names.get_values_for_type(x509.DNSName)]
    assert shown["not_after"] == decoded.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (shown["status"], shown["order"], shown["reason"]) == ("valid", order.id, None)
    assert shown["credential_identifier"].startswith("cg-est-")
    assert [event["tag"] for event in shown["events"]] == ["ca:certificate:issued"]
    assert len(shown["chain"]) == 1


async def test_serials_are_taken_as_people_write_them(house: House) -> None:
    """Upper case, colons, 0x; what is no serial is not found."""
    serial = (await issued(house)).serial or ""
    colons = ":".join(serial[n : n + 2] for n in range(0, 40, 2)).upper()
    for written in (colons, f"0x{serial}", f" {serial.upper()} "):
        assert (await certificates.show(house.core, serial=written, actor=ACTOR))["serial"] == serial
    for unknown in ("00", "nonsense", "", "ä" * 50):
        with pytest.raises(UnknownCertificate):
            await certificates.show(house.core, serial=unknown, actor=ACTOR)


async def test_hold_release_revoke(house: House) -> None:
    """Hold and release go to and fro, revoked is the end; who did it is in the audit log."""
    serial = (await issued(house)).serial or ""
    one: dict[str, Any] = {"serial": serial, "actor": ACTOR}
    assert (await certificates.hold(house.core, **one))["status"] == "on_hold"
    with pytest.raises(OrderConflict):
        await certificates.hold(house.core, **one)
    assert (await certificates.release(house.core, **one))["status"] == "valid"
    revoked = await certificates.revoke(house.core, **one, reason="keyCompromise")
    assert (revoked["status"], revoked["reason"]) == ("revoked", "keyCompromise")
    assert revoked["revoked_at"] == "2026-11-23T12:00:00Z"
    for change in (certificates.hold, certificates.release, certificates.revoke):
        with pytest.raises(AlreadyRevoked):
            await change(house.core, **one)
    events = (await certificates.show(house.core, **one))["events"]
    assert [event["actor"] for event in events[1:]] == [ACTOR.name] * 3


@pytest.mark.parametrize("reason", ["becauseISaySo", "certificateHold", "removeFromCRL", ""])
async def test_what_is_no_reason_revokes_nothing(house: House, reason: str) -> None:
    """The message of an unknown word names those that are known."""
    serial = (await issued(house)).serial or ""
    with pytest.raises(BadRevocationReason):
        await certificates.revoke(house.core, serial=serial, actor=ACTOR, reason=reason)
    assert (await certificates.show(house.core, serial=serial, actor=ACTOR))["status"] == "valid"


async def test_expired_is_said_by_the_clock(house: House) -> None:
    serial = (await issued(house)).serial or ""
    house.clock.advance(days=400)
    assert (await certificates.show(house.core, serial=serial, actor=ACTOR))["status"] == "expired"


async def test_pages_have_every_certificate_once(house: House) -> None:
    """Newest first; the end of the list is said."""
    serials = [(await issued(house, f"h{n}.certgate.test")).serial for n in range(5)]
    found: list[str] = []
    after = ""
    while True:
        page = await certificates.page(house.core, actor=ACTOR, after=after, limit=2)
        found += [one["serial"] for one in page["items"]]
        after = page["next"]
        if not after:
            break
    assert found == serials[::-1]


async def test_pages_by_name_and_by_credential(house: House) -> None:
    """A credential is named by its identifier or its id; one that is not there is a mistake, not an empty list."""
    order = await issued(house, "one.certgate.test", identifier="router-1")
    await issued(house, "two.certgate.test")
    for filters in ({"text": "ONE"}, {"credential": "router-1"}, {"credential": order.credential}):
        page = await certificates.page(house.core, actor=ACTOR, **filters)
        assert [one["serial"] for one in page["items"]] == [order.serial]
    with pytest.raises(Malformed):
        await certificates.page(house.core, actor=ACTOR, credential="nobody")
    with pytest.raises(Malformed):
        await certificates.page(house.core, actor=ACTOR, limit=0)


async def test_certificates_of_the_service_itself_are_shown(house: House) -> None:
    """They have no credential, and no order that can be looked at."""
    await house.core.service_keys.get("tls", "issuing", names=(dns("ca.certgate.test"),))
    (one,) = (await certificates.page(house.core, actor=ACTOR, credential="service"))["items"]
    shown = await certificates.show(house.core, serial=one["serial"], actor=ACTOR)
    assert shown["credential_identifier"] is None
    assert shown["product"] == "service-tls"
