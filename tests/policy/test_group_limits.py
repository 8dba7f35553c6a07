"""What a group may ask for: domains, products and certificates a month, of it and of every group above it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from policy.access import Actor
from policy.account import Group
from policy.order import NewOrder, Order, OrderStatus
from policy.problems import Malformed, RateLimited, RejectedIdentifier, UnknownProduct
from tests.conftest import ACTOR, House
from tests.policy.making import est, request

NAME = "a.certgate.test"


async def limit(house: House, group: str = "ops", actor: Actor = ACTOR, **limits: Any) -> None:
    await house.core.people.change_group(group, actor, **limits)


async def issue(house: House, name: str = NAME, product: str = "tls") -> Order:
    return await house.core.ra.enroll(await est(house, product), NewOrder(request=request(name), product=product))


async def below(house: House) -> None:
    """Have the group "ops" be below "company"."""
    await house.core.people.apply_group(Group("company"), ACTOR)
    await limit(house, parent="company")


async def test_the_group_above_has_to_allow_the_name_too(house: House) -> None:
    await below(house)
    await limit(house, "company", domains=("other.test",))
    with pytest.raises(RejectedIdentifier, match="company"):
        await issue(house)
    await limit(house, "company", domains=("certgate.test",))
    assert (await issue(house)).status is OrderStatus.VALID


async def test_a_product_that_a_group_may_not_have(house: House) -> None:
    """A credential cannot be made for it; one that is there orders it no more, also when a group above forbids it."""
    await below(house)
    principal = await est(house)
    await limit(house, "company", products=("device",))
    with pytest.raises(UnknownProduct, match="company"):
        await house.core.ra.enroll(principal, NewOrder(request=request(NAME)))
    await limit(house, "company", products=())
    await limit(house, products=("held",))
    with pytest.raises(UnknownProduct, match="ops"):
        await house.core.ra.enroll(principal, NewOrder(request=request(NAME)))
    with pytest.raises(Malformed, match="tls"):
        await est(house)


async def test_a_quota_ends_with_its_month(house: House) -> None:
    """Counted in the transaction that reserves the serial; a refusal leaves nothing behind."""
    await limit(house, quota=2)
    for number in range(2):
        assert (await issue(house, f"n{number}.certgate.test")).status is OrderStatus.VALID
    with pytest.raises(RateLimited, match="month"):
        await issue(house, "n3.certgate.test")
    assert await house.core.people.quota_used("ops") == 2
    house.clock.advance(days=10)  # the first of December is past
    assert await house.core.people.quota_used("ops") == 0
    assert (await issue(house, "n3.certgate.test")).status is OrderStatus.VALID


async def test_a_quota_counts_what_groups_below_have(house: House) -> None:
    await below(house)
    await limit(house, "company", quota=1)
    await issue(house)
    with pytest.raises(RateLimited):
        await issue(house, "b.certgate.test")


async def test_a_quota_of_nothing_issues_nothing(house: House) -> None:
    await limit(house, quota=0)
    with pytest.raises(RateLimited):
        await issue(house)


async def test_a_quota_holds_for_requests_at_the_same_moment(house: House) -> None:
    """However many ask at once, no more are issued than the quota allows."""
    await limit(house, quota=3)
    asked = [issue(house, f"n{number}.certgate.test") for number in range(8)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(one, Order) for one in outcomes) == 3
    assert sum(isinstance(one, RateLimited) for one in outcomes) == 5
