"""Certificates and held orders for the tests of commands."""

from __future__ import annotations

from policy.acting import operator
from policy.order import NewOrder, Order
from tests.conftest import House, dns
from tests.policy.making import est, request

ACTOR = operator("user:root@cli")


async def issued(house: House, *names: str, **more: object) -> Order:
    """A valid order of a fresh EST credential, for names that its product trusts."""
    names = names or ("www.certgate.test",)
    principal = await est(house, **more)  # type: ignore[arg-type]
    return await house.core.ra.enroll(principal, NewOrder(request=request(*names, cn=names[0])))


async def held(house: House, name: str = "held.certgate.test") -> Order:
    """An order that waits for a person."""
    principal = await est(house, "held")
    new = NewOrder(product="held", identifiers=(dns(name),), request=request(name, cn=name))
    return await house.core.ra.enroll(principal, new)
