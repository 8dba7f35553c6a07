"""Orders that wait for several authorizations move on, whatever happens at the same moment."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ca_core.clock import FixedClock
from policy.audit import AuditTag
from policy.order import AuthorizationStatus, NewOrder, Order, OrderStatus
from tests.conftest import House, dns, make_house
from tests.policy.making import acme


async def pending(house: House, *names: str) -> tuple[Any, Order]:
    principal = await acme(house)
    return principal, await house.core.ra.place(principal, NewOrder(identifiers=tuple(dns(one) for one in names)))


async def test_two_proofs_at_the_same_moment_make_the_order_ready(house: House) -> None:
    """Each commit sees the other authorization still pending; whoever looks again sees both."""
    principal, order = await pending(house, "a.example.org", "b.example.org")
    await asyncio.gather(*(house.core.ra.answer(principal, one, "http-01") for one in order.authorizations))
    found = await house.core.ra.order(principal, order.id)
    assert [one.status for one in await house.core.ra.authorizations(found)] == [AuthorizationStatus.VALID] * 2
    assert found.status is OrderStatus.READY
    events = await house.core.inventory.events(f"order:{order.id}")
    assert sum(event.tag is AuditTag.ORDER_AUTHORIZED for event in events) == 1


async def test_no_order_is_left_pending_by_proofs_in_one_batch(tmp_path: Path, clock: FixedClock) -> None:
    """On disk, where commits wait for each other and units that wait are written together."""
    house = await make_house(tmp_path, clock, f"sqlite:///{tmp_path}/store.db")
    try:
        for number in range(20):
            principal, order = await pending(house, *(f"n{number}-{one}.example.org" for one in range(3)))
            await asyncio.gather(*(house.core.ra.answer(principal, one, "http-01") for one in order.authorizations))
            assert (await house.core.ra.order(principal, order.id)).status is OrderStatus.READY
    finally:
        await house.core.close()


async def test_what_an_interrupted_server_left_pending_is_repaired(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second look is lost with the process; the worker finds the order, and no order that still waits."""
    principal, order = await pending(house, "a.example.org", "b.example.org")
    _, waiting = await pending(house, "c.example.org")

    async def lost(authorization: str) -> None:
        """The process has ended."""

    monkeypatch.setattr(house.core.validating.waiting, "look_again", lost)
    await asyncio.gather(*(house.core.ra.answer(principal, one, "http-01") for one in order.authorizations))
    assert (await house.core.ra.order(principal, order.id)).status is OrderStatus.PENDING
    assert await house.core.validating.waiting.repair() == 1
    assert (await house.core.ra.order(principal, order.id)).status is OrderStatus.READY
    assert await house.core.validating.waiting.repair() == 0
    house.clock.advance(days=8)
    assert await house.core.validating.waiting.repair() == 0
    assert waiting.status is OrderStatus.PENDING
