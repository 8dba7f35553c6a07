"""policy.inventory: pages without gaps, and reads that say what is not there."""

from __future__ import annotations

import pytest

from policy.inventory import Reach
from policy.order import NewOrder
from policy.problems import Malformed, UnknownOrder, UnknownProduct
from policy.product import ProductState
from tests.conftest import ACTOR, House, dns
from tests.policy.making import account, est, request


async def test_pages_and_the_whole_say_the_same(house: House) -> None:
    """Of certificates and of orders, newest first."""
    principal = await est(house)
    for number in range(3):
        name = f"h{number}.certgate.test"
        await house.core.ra.enroll(principal, NewOrder(identifiers=(dns(name),), request=request(name)))
    inventory = house.core.inventory
    orders = [order.id async for order in inventory.orders()]
    first = await inventory.order_page("", 2)
    assert [order.id for order in first] == orders[:2]
    assert [order.id for order in await inventory.order_page(first[-1].id, 2)] == orders[2:]
    serials = [one.stored.serial async for one in inventory.certificates()]
    page = await inventory.certificate_page("", 2)
    assert [one.stored.serial for one in page] == serials[:2]
    assert [one.stored.serial for one in await inventory.certificate_page(serials[1], 2)] == serials[2:]


async def test_reach_is_what_hangs_on_a_credential(house: House) -> None:
    """Nothing of another one."""
    await account(house)
    opened = await house.core.administration.credential("open")
    assert await house.core.inventory.reach(opened.id) == Reach(0, 1, 0, ("acme/open",))
    other = await house.credential("est", "device")
    assert await house.core.inventory.reach(other.credential.id) == Reach(0, 0, 0, ())


async def test_products_by_version(house: House) -> None:
    """Each version stays as it was."""
    await house.core.administration.set_product_state("tls", ProductState.SUSPENDED, ACTOR)
    inventory = house.core.inventory
    assert (await inventory.product("tls")).state is ProductState.SUSPENDED
    assert (await inventory.product("tls", 1)).state is ProductState.ACTIVE
    with pytest.raises(UnknownProduct):
        await inventory.product("tls", 3)


async def test_what_is_not_there(house: House) -> None:
    with pytest.raises(UnknownProduct):
        await house.core.inventory.product("nothing")
    with pytest.raises(Malformed):
        await house.core.inventory.mount("acme/nothing")
    with pytest.raises(UnknownOrder):
        await house.core.inventory.order("nothing")


async def test_audit_size_is_the_number_of_the_newest_event(house: House) -> None:
    numbers = [seq async for seq, _ in house.core.inventory.audit()]
    assert numbers == list(range(1, await house.core.inventory.audit_size() + 1))
