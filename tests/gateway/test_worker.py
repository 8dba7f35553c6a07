"""The worker: a job that fails or hangs keeps no other from being done, and the end is clean whatever happens."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ca_core.status import RevocationReason
from gateway.worker import RETRY_SECONDS, Worker
from policy.order import AuthorizationStatus, NewOrder, OrderStatus
from policy.registration import KeyHolder
from policy.revocation import CRL_JOB
from policy.store import CRL, StoreUnavailable, Unit
from policy.validating import QUEUE_SECONDS, VALIDATE_JOB
from tests.conftest import ACTOR, House, dns
from tests.policy.making import ADDRESS, acme, est, new_key, request, spki
from tests.replacing import replace

NAME = "a.certgate.test"


async def nothing() -> None:
    """What the listeners would do."""


@pytest.fixture
def worker(house: House) -> Worker:
    return Worker(house.core, nothing, nothing)


async def schedule(house: House, kind: str, *objects: str) -> None:
    unit = Unit()
    for one in objects:
        unit.schedule(kind, one, house.clock())
    await house.core.store.commit(unit)


async def published(house: House, name: str = "issuing") -> bool:
    return await house.core.store.one(CRL, house.core.ca.issuer(name).id, 0) is not None


@pytest.mark.parametrize("fault", [ValueError("poison"), StoreUnavailable("disk full"), KeyError("odd")])
async def test_a_poisonous_job_stops_no_other(
    house: House, worker: Worker, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    """It is given back, ever later; those leased with it are done."""
    issuing, root = house.core.ca.issuer("issuing"), house.core.ca.issuer("root")
    await schedule(house, CRL_JOB, f"{root.id}/0", f"{issuing.id}/0", "no such thing")
    publish = house.core.publication.publish

    async def poisoned(issuer: str, shard: int) -> Any:
        if issuer == root.id:
            raise fault
        return await publish(issuer, shard)

    monkeypatch.setattr(house.core.publication, "publish", poisoned)
    await worker.do_crls()
    assert await published(house)
    assert not await published(house, "root")
    assert await house.core.store.lease_jobs((CRL_JOB,), house.clock(), 60, 10) == []
    house.clock.advance(seconds=RETRY_SECONDS)
    assert len(await house.core.store.lease_jobs((CRL_JOB,), house.clock(), 60, 10)) == 2


async def test_a_crl_does_not_wait_for_a_challenge(house: House, worker: Worker) -> None:
    """Validations are started and looked at again later; a target that hangs is nobody else's business."""
    house.core.validating.settings = replace(house.core.validating.settings, inline_seconds=0.01)
    gate = house.validators["http-01"].gate = asyncio.Event()
    principal = await acme(house)
    order = await house.core.ra.place(principal, NewOrder(identifiers=(dns("shop.example.org"),)))
    await house.core.ra.answer(principal, order.authorizations[0], "http-01")
    await house.core.validating.drain()
    house.clock.advance(minutes=2)
    other = await est(house)
    done = await house.core.ra.enroll(other, NewOrder(request=request(NAME)))
    await house.core.ra.revoke(other, (await house.core.ra.certificate_of(done)).der, None)
    async with asyncio.timeout(5):
        await worker.do_validations()
        await worker.do_crls()
    assert await published(house)
    gate.set()
    await asyncio.gather(*house.core.validating._running.values())
    assert (await house.core.ra.order(principal, order.id)).status is OrderStatus.READY
    house.clock.advance(minutes=2)
    await worker.do_validations()
    house.clock.advance(days=1)
    assert await house.core.store.lease_jobs((VALIDATE_JOB,), house.clock(), 60, 10) == []


async def test_a_validation_that_finds_no_room_gets_its_turn(house: House, worker: Worker) -> None:
    house.core.validating.settings = replace(house.core.validating.settings, inline_seconds=0.01, running_per_owner=1)
    gate = house.validators["http-01"].gate = asyncio.Event()
    principal = await acme(house)
    names = tuple(dns(f"{number}.example.org") for number in range(3))
    order = await house.core.ra.place(principal, NewOrder(identifiers=names))
    for one in order.authorizations:
        await house.core.ra.answer(principal, one, "http-01")
    assert len(house.validators["http-01"].attempts) == 1
    gate.set()
    for _ in order.authorizations:
        await asyncio.gather(*house.core.validating._running.values())
        house.clock.advance(seconds=QUEUE_SECONDS)
        await worker.do_validations()
    found = await house.core.ra.order(principal, order.id)
    assert {one.status for one in await house.core.ra.authorizations(found)} == {AuthorizationStatus.VALID}
    assert found.status is OrderStatus.READY


async def test_what_goes_with_a_compromised_key_or_a_revoked_credential_is_revoked(
    house: House, worker: Worker
) -> None:
    key, principal = new_key(), await est(house)
    first, second = [await house.core.ra.enroll(principal, NewOrder(request=request(NAME, key=key))) for _ in range(2)]
    third = await house.core.ra.enroll(principal, NewOrder(request=request(NAME)))
    der = (await house.core.ra.certificate_of(first)).der
    await house.core.ra.revoke(KeyHolder(spki(key), "acme/open", ADDRESS), der, RevocationReason.KEY_COMPROMISE)
    await worker.do_revocations()
    assert await states(house) == {first.serial: "revoked", second.serial: "revoked", third.serial: "valid"}
    reason = RevocationReason.CESSATION_OF_OPERATION
    await house.core.administration.revoke_credential(principal.credential.id, "left", ACTOR, cascade=reason)
    house.clock.advance(hours=1)
    await worker.do_revocations()
    assert set((await states(house)).values()) == {"revoked"}


async def states(house: House) -> dict[str | None, str]:
    page = await house.core.inventory.certificate_page()
    issued = [one for one in page if one.stored.order[:7] != "service"]
    return {one.stored.serial: str(one.status.state) if one.status else "unknown" for one in issued}


async def test_the_end_is_clean_when_the_store_cannot_write(
    house: House, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last checkpoint is missed; whoever stops the server goes on to close the store."""

    async def failing(unit: object) -> Any:
        raise StoreUnavailable("disk full")

    worker.start()
    monkeypatch.setattr(house.core.store, "commit", failing)
    await worker.stop()
