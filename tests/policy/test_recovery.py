"""Recovery: what a busy key, a crash or a failing store left is finished, and nothing stops those behind it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ca_core.issuer import SignatureMismatch
from ca_core.ledger import Issuance
from ca_core.problems import Internal, Unavailable
from policy.audit import AuditTag
from policy.order import NewOrder, Order, OrderStatus
from policy.store import ISSUANCES_OPEN, ORDER, StoreUnavailable, Unit
from tests.conftest import House, dns
from tests.policy.making import acme, est, request

NAMES = ("a.certgate.test", "b.certgate.test")


async def die(*arguments: object) -> Any:
    raise asyncio.CancelledError


@pytest.fixture
async def interrupted(house: House, monkeypatch: pytest.MonkeyPatch) -> list[Order]:
    """Two orders past their first commit."""
    principal = await acme(house, "acme/default")
    orders = []
    with monkeypatch.context() as crash:
        crash.setattr(house.core.ca, "sign", die)
        for name in NAMES:
            order = await house.core.ra.place(principal, NewOrder(identifiers=(dns(name),)))
            with pytest.raises(asyncio.CancelledError):
                await house.core.ra.finalize(principal, order.id, request(name))
            orders.append(order)
            house.clock.advance(seconds=2)
    return orders


async def stored(house: House, order: str) -> Order | None:
    return await house.core.store.one(ORDER, order)


async def statuses(house: House, orders: list[Order]) -> list[OrderStatus]:
    found = [await stored(house, order.id) for order in orders]
    return [order.status for order in found if order is not None]


@pytest.mark.parametrize("fault", [SignatureMismatch("another key"), Unavailable("the key is away"), ValueError("odd")])
async def test_one_that_cannot_be_finished_keeps_no_other_waiting(
    house: House, interrupted: list[Order], monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    """The server starts, the orders behind it are finished; it is left for somebody to mend what is wrong."""
    resume = house.core.ca.resume

    async def poisoned(issuance: Issuance) -> Any:
        if issuance.order == interrupted[0].id:
            raise fault
        return await resume(issuance)

    with monkeypatch.context() as broken:
        broken.setattr(house.core.ca, "resume", poisoned)
        assert await house.core.recovery.finish_open() == 1
        assert await statuses(house, interrupted) == [OrderStatus.PROCESSING, OrderStatus.VALID]
        house.clock.advance(minutes=1)
        assert await house.core.recovery.finish_stuck() == 0
    # Right after a failure it is left alone for a while.
    assert await house.core.recovery.finish_stuck() == 0
    house.clock.advance(minutes=1)
    assert await house.core.recovery.finish_stuck() == 1
    assert await statuses(house, interrupted) == [OrderStatus.VALID] * 2


async def test_what_can_never_be_finished_is_void(
    house: House, interrupted: list[Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(issuance: Issuance) -> Any:
        raise Internal("the recorded bytes are not those of an end-entity certificate")

    monkeypatch.setattr(house.core.ca, "resume", refused)
    assert await house.core.recovery.finish_open() == 2
    assert await statuses(house, interrupted) == [OrderStatus.INVALID] * 2
    assert await house.core.store.many(ISSUANCES_OPEN, 10) == []


async def test_what_is_under_way_is_left_alone(house: House, interrupted: list[Order]) -> None:
    """While the server runs, an issuance has its time to end by itself."""
    assert await house.core.recovery.finish_stuck() == 0
    house.clock.advance(seconds=30)
    assert await house.core.recovery.finish_stuck() == 2


async def test_recoveries_at_the_same_moment_leave_one_trace(house: House, interrupted: list[Order]) -> None:
    """Resumed and issued are one commit; who comes second finds it done."""
    await asyncio.gather(*(house.core.recovery.finish_open() for _ in range(3)))
    events = [event.tag async for _, event in house.core.inventory.audit()]
    assert events.count(AuditTag.ISSUANCE_RESUMED) == events.count(AuditTag.CERTIFICATE_ISSUED) == 2


async def test_recovery_beside_a_server_that_issues_disturbs_nobody(house: House) -> None:
    """A second server object starts while the first is between its commits."""
    principal = await acme(house, "acme/default")

    async def again_and_again() -> None:
        for _ in range(200):
            await house.core.recovery.finish_open()
            await asyncio.sleep(0)

    other = asyncio.create_task(again_and_again())
    for _ in range(10):
        order = await house.core.ra.place(principal, NewOrder(identifiers=(dns(NAMES[0]),)))
        assert (await house.core.ra.finalize(principal, order.id, request(NAMES[0]))).status is OrderStatus.VALID
    await other


@pytest.mark.parametrize("fault", [Unavailable("the key is busy", retry_after=5), SignatureMismatch("another key")])
async def test_a_key_that_cannot_sign_now_leaves_the_order_to_recovery(
    house: House, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    """The same reference has the same order, before and after."""
    principal = await est(house)
    new = NewOrder(request=request(NAMES[0]), reference="r1")

    async def busy(*arguments: object) -> Any:
        raise fault

    with monkeypatch.context() as away:
        away.setattr(house.core.ca, "sign", busy)
        first = await house.core.ra.enroll(principal, new)
    assert first.status is OrderStatus.PROCESSING
    house.clock.advance(seconds=30)
    assert await house.core.recovery.finish_stuck() == 1
    again = await house.core.ra.enroll(principal, new)
    assert (again.id, again.status) == (first.id, OrderStatus.VALID)


async def test_a_fault_of_ours_does_not_answer_to_the_reference(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks again after an end that was not the client's fault gets another try."""
    principal = await est(house)
    new = NewOrder(request=request(NAMES[0]), reference="r1")

    async def broken(*arguments: object) -> Any:
        raise Internal("it will never be signed")

    with monkeypatch.context() as failure:
        failure.setattr(house.core.ca, "sign", broken)
        with pytest.raises(Internal):
            await house.core.ra.enroll(principal, new)
    assert (await house.core.ra.enroll(principal, new)).status is OrderStatus.VALID


async def test_a_certificate_of_the_service_that_came_to_nothing_is_void(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store fails at the second commit, and at whatever comes right after it."""
    commit, calls = house.core.store.commit, 0

    async def failing(unit: Unit) -> Any:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise StoreUnavailable("disk full")
        return await commit(unit)

    with monkeypatch.context() as failure:
        failure.setattr(house.core.store, "commit", failing)
        with pytest.raises(Unavailable):
            await house.core.service_keys.get("ocsp", "issuing", subject=(("CN", "x"),))
    assert len(await house.core.store.many(ISSUANCES_OPEN, 10)) == 1
    house.clock.advance(hours=1)
    assert await house.core.recovery.finish_stuck() == 1
    assert await house.core.store.many(ISSUANCES_OPEN, 10) == []
