"""CRLs: none loses a revocation to another server, and no CA keeps another's from being signed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from cryptography import x509

from ca_core.issuer import SignatureMismatch
from policy.problems import OrderConflict
from policy.store import CRLS, Conflict
from tests.conftest import House
from tests.policy.test_revocation import issued


async def test_a_crl_that_was_read_before_the_revocation_does_not_stand_for_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refresh read its entries first and commits first: the revocation's own CRL is signed anew after it."""
    principal, serial, der = await issued(house)
    issuer = house.core.ca.issuer("issuing")
    await house.core.publication.publish(issuer.id, 0)
    sign, gates = issuer.sign_crl, [asyncio.Event(), asyncio.Event()]
    waiting = list(gates)

    async def slow(*arguments: Any, **more: Any) -> Any:
        if waiting:
            await waiting.pop(0).wait()
        return await sign(*arguments, **more)

    monkeypatch.setattr(issuer, "sign_crl", slow)
    refresh = asyncio.create_task(house.core.publication.publish(issuer.id, 0))
    await asyncio.sleep(0.01)
    await house.core.ra.revoke(principal, der, None)
    own = asyncio.create_task(house.core.publication.publish(issuer.id, 0))
    await asyncio.sleep(0.01)
    gates[0].set()
    assert (await refresh).number == 2
    gates[1].set()
    assert (await own).number == 3
    crl = x509.load_der_x509_crl((await house.core.ra.crl(issuer.id, 0)).der)
    assert [entry.serial_number for entry in crl] == [int(serial, 16)]


async def test_who_is_never_first_gives_up_and_says_so(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job is done again later; it is not taken for done."""

    async def taken(unit: object) -> Any:
        raise Conflict("crl_publish")

    monkeypatch.setattr(house.core.store, "commit", taken)
    with pytest.raises(OrderConflict):
        await house.core.publication.publish(house.core.ca.issuer("issuing").id, 0)


async def test_a_ca_that_cannot_sign_keeps_no_other_from_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    root, issuing = house.core.ca.issuer("root"), house.core.ca.issuer("issuing")

    async def broken(*arguments: Any, **more: Any) -> Any:
        raise SignatureMismatch("another key")

    monkeypatch.setattr(root, "sign_crl", broken)
    with pytest.raises(SignatureMismatch):
        await house.core.publication.publish_due()
    assert [crl.issuer_id for crl in await house.core.store.many(CRLS)] == [issuing.id]


async def test_a_ca_that_has_expired_signs_no_further_crl(house: House) -> None:
    """Its last one stands; the others go on."""
    root, issuing = house.core.ca.issuer("root"), house.core.ca.issuer("issuing")
    assert await house.core.publication.publish_due() == 2
    last = await house.core.ra.crl(issuing.id, 0)
    house.clock.advance(days=5 * 365 + 1)
    assert await house.core.publication.publish_due() == 1
    assert await house.core.publication.publish(issuing.id, 0) == last
    assert {crl.issuer_id: crl.number for crl in await house.core.store.many(CRLS)} == {root.id: 2, issuing.id: 1}
