"""The service's own keys: renewed in time, used on when that fails, replaced when revoked, nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509 import ocsp

from ca_core.ledger import serial_hex
from ca_core.status import RevocationReason
from policy.audit import AuditTag
from policy.problems import Unavailable
from policy.service_keys import ServiceKeys
from policy.store import ISSUANCES_OPEN, SERVICE_KEYS, ServiceKey, StoreUnavailable
from tests.conftest import ACTOR, House, dns
from tests.policy.test_revocation import issued, said

GOOD = ocsp.OCSPResponseStatus.SUCCESSFUL
LATER = ocsp.OCSPResponseStatus.TRY_LATER
NAMES = (dns("gate.certgate.test"),)


async def failing(unit: object) -> Any:
    raise StoreUnavailable("disk full")


async def key_of(house: House) -> ServiceKey:
    (key,) = [one for one in await house.core.store.many(SERVICE_KEYS) if one.purpose == "ocsp"]
    return key


async def go_to(house: House, when: Callable[[ServiceKey], datetime]) -> None:
    house.clock.advance(seconds=(when(await key_of(house)) - house.clock()).total_seconds())


def late(key: ServiceKey) -> datetime:
    return key.created + (key.not_after - key.created) * 0.7


async def test_a_key_is_renewed_in_time(house: House) -> None:
    _, _, der = await issued(house)
    await said(house, der)
    before = await key_of(house)
    await go_to(house, late)
    assert (await said(house, der, b"n" * 32)).response_status is GOOD
    assert (await key_of(house)).label != before.label
    tags = [event.tag async for _, event in house.core.inventory.audit()]
    assert tags.count(AuditTag.ISSUANCE_RESERVED) == tags.count(AuditTag.SERVICE_KEY_CREATED) == 2


async def test_a_key_that_cannot_be_renewed_is_used_until_its_end(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again ever more seldom, not with every request; and nothing is left of what fails."""
    _, _, der = await issued(house)
    await said(house, der)
    before, labels = await key_of(house), house.core.keystore.labels()
    await go_to(house, late)
    made: list[str] = []
    create = house.core.keystore.create

    async def counting(label: str, kind: str) -> Any:
        made.append(label)
        return await create(label, kind)

    monkeypatch.setattr(house.core.keystore, "create", counting)
    with monkeypatch.context() as full:
        full.setattr(house.core.store, "commit", failing)
        for number in range(5):
            assert (await said(house, der, bytes([number]) * 32)).response_status is GOOD
        assert len(made) == 1
        house.clock.advance(seconds=15)
        await said(house, der, b"n" * 32)
        assert len(made) == 2
        await go_to(house, lambda key: key.not_after)
        assert (await said(house, der, b"o" * 32)).response_status is LATER
    assert house.core.keystore.labels() == labels
    house.clock.advance(hours=2)
    assert (await said(house, der, b"p" * 32)).response_status is GOOD
    assert (await key_of(house)).version == before.version + 1


async def test_without_any_key_failing_leaves_nothing_behind(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, der = await issued(house)
    labels = house.core.keystore.labels()
    with monkeypatch.context() as full:
        full.setattr(house.core.store, "commit", failing)
        for _ in range(5):
            assert (await said(house, der)).response_status is LATER
    assert house.core.keystore.labels() == labels
    house.clock.advance(minutes=1)
    assert (await said(house, der)).response_status is GOOD


async def test_a_signature_that_fails_leaves_nothing_behind(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def busy(*arguments: object) -> Any:
        raise Unavailable("the key is busy")

    labels = house.core.keystore.labels()
    with monkeypatch.context() as away:
        away.setattr(house.core.ca, "sign", busy)
        with pytest.raises(Unavailable):
            await house.core.service_keys.get("ocsp", "issuing", subject=(("CN", "x"),))
    assert house.core.keystore.labels() == labels
    assert await house.core.store.many(ISSUANCES_OPEN, 10) == []


async def test_a_revoked_key_is_replaced(house: House) -> None:
    """Also where answers that it signed are kept."""
    _, _, der = await issued(house)
    first = await said(house, der)
    before = await key_of(house)
    serial = serial_hex(x509.load_der_x509_certificate(before.certificate).serial_number)
    stored = await house.core.revocation.by_serial(serial)
    await house.core.revocation.revoke(stored, RevocationReason.KEY_COMPROMISE, ACTOR.name)
    house.clock.advance(minutes=1)
    await house.core.publication.renew_responders()
    assert (await key_of(house)).label != before.label
    assert (await said(house, der)).certificates[0] != first.certificates[0]


async def test_a_key_whose_file_is_gone_is_replaced(house: House) -> None:
    before = await house.core.service_keys.get("tls", "issuing", names=NAMES)
    await house.core.keystore.delete(before.key.label)
    house.clock.advance(minutes=1)
    after = await house.core.service_keys.get("tls", "issuing", names=NAMES)
    assert after.key.label != before.key.label


async def test_two_servers_that_make_the_same_key_use_one(house: House) -> None:
    """The second one to commit takes the key of the first, and leaves nothing of its own."""
    core = house.core
    others = [ServiceKeys(core.store, core.ca, core.keystore, house.clock) for _ in range(3)]
    labels = len(core.keystore.labels())
    found = await asyncio.gather(*(one.get("tls", "issuing", names=NAMES) for one in others))
    assert len({one.key.label for one in found}) == 1
    assert len(core.keystore.labels()) == labels + 1
    assert await core.store.many(ISSUANCES_OPEN, 10) == []


async def test_ocsp_answers_after_the_end_of_the_ca(house: House) -> None:
    """With "try later": never with a fault of the server."""
    _, _, der = await issued(house)
    house.clock.advance(days=5 * 365 + 1)
    assert (await said(house, der)).response_status is LATER
