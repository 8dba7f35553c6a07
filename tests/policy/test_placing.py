"""Placing: dates that are granted to the second or refused, products of the mount, life of an order, replaces."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from policy.acting import operator
from policy.order import NewOrder, Order, OrderStatus
from policy.problems import AlreadyReplaced, BadTime, Forbidden, Problem, UnknownCertificate, UnknownProduct
from tests.conftest import ACTOR, House, dns
from tests.policy.making import acme, change_validation, est, proven, request
from tests.replacing import replace

NAME = "a.certgate.test"
SECOND = timedelta(seconds=1)
LONGEST = timedelta(days=90) - SECOND
"""From first to last second of the profile's 90 days: both of them count (RFC 5280 section 4.1.2.5)."""


async def dated(house: House, **dates: Any) -> tuple[Any, Order]:
    principal = await acme(house)
    return principal, await house.core.ra.place(principal, NewOrder(identifiers=(dns(NAME),), **dates))


async def close_to(house: House, product: str, mount: str) -> None:
    """Take a product from a mount."""
    found = await house.core.ra.mount(mount)
    products = tuple(one for one in found.products if one != product)
    await house.core.administration.apply_mount(replace(found, products=products), ACTOR)


# --------------------------------------------------------------------------- dates


async def test_the_validity_asked_for_is_granted_to_the_second(house: House) -> None:
    """RFC 8555 section 7.4: exactly what was asked for, at the limit of the profile too."""
    now = house.clock()
    principal, order = await dated(house, not_before=now, not_after=now + LONGEST)
    done = await house.core.ra.finalize(principal, order.id, request(NAME))
    stored = (await house.core.ra.certificate_of(done)).stored
    assert (stored.not_before, stored.not_after) == (now, now + LONGEST)


async def test_a_second_more_than_the_profile_has_is_refused_at_placing(house: House) -> None:
    """What cannot be granted is told before a proof is asked for, not at finalize. Rows: R18."""
    now = house.clock()
    with pytest.raises(BadTime, match="at most 7776000"):
        await dated(house, not_before=now, not_after=now + LONGEST + SECOND)


async def test_an_end_alone_means_from_now_on(house: House) -> None:
    """The backdating of the profile does not make the longest validity too long, and the end stays the end."""
    end = house.clock() + LONGEST
    principal, order = await dated(house, not_after=end)
    house.clock.advance(days=1)
    done = await house.core.ra.finalize(principal, order.id, request(NAME))
    assert (await house.core.ra.certificate_of(done)).stored.not_after == end


async def test_an_end_beyond_the_ca_is_refused_at_placing(house: House) -> None:
    """A validity that would be cut at the end of the CA is not what was asked for (RFC 8555 section 7.4)."""
    house.clock.advance(days=5 * 365 - 20)
    with pytest.raises(BadTime, match="the issuing CA ends"):
        await dated(house, not_after=house.clock() + timedelta(days=80))


async def test_without_dates_a_certificate_ends_with_its_ca(house: House) -> None:
    """Who asks for no dates gets what the CA still has."""
    house.clock.advance(days=5 * 365 - 20)
    principal, order = await dated(house)
    done = await house.core.ra.finalize(principal, order.id, request(NAME))
    stored = (await house.core.ra.certificate_of(done)).stored
    assert stored.not_after == house.core.ca.issuer("issuing").facts.not_after


# --------------------------------------------------------------------------- the product


async def test_a_product_that_left_the_mount_is_not_issued_there_any_more(house: House) -> None:
    """An order that was placed before the change is refused as a new one would be."""
    principal, order = await dated(house)
    await close_to(house, "tls", "acme/open")
    with pytest.raises(UnknownProduct, match="any more"):
        await house.core.ra.finalize(principal, order.id, request(NAME))


async def test_an_approval_does_not_bring_back_a_product_that_left_the_mount(house: House) -> None:
    """Approving judges again."""
    held = await house.core.ra.enroll(await est(house, "held"), NewOrder(request=request(NAME), product="held"))
    await close_to(house, "held", "est/default")
    with pytest.raises(UnknownProduct):
        await house.core.approval.approve(held.id, operator("user:bob"))


# --------------------------------------------------------------------------- how long it lives


async def test_an_order_lives_no_longer_than_the_proofs_it_counts_on(house: House) -> None:
    """A reused authorization ends earlier than a new order would."""
    await change_validation(house, reuse_seconds=30 * 86400)
    principal = await acme(house)
    first = await proven(house, principal, "shop.example.org")
    house.clock.advance(days=6)
    second = await house.core.ra.place(principal, NewOrder(identifiers=(dns("shop.example.org"),)))
    (authorization,) = await house.core.ra.authorizations(second)
    assert second.authorizations == first.authorizations
    assert second.expires == authorization.expires


# --------------------------------------------------------------------------- replaces (RFC 9773 section 5)


async def replaceable(house: House) -> tuple[Any, str]:
    """An account and the serial of a certificate of its own."""
    principal, order = await dated(house)
    order = await house.core.ra.finalize(principal, order.id, request(NAME))
    assert order.serial is not None
    return principal, order.serial


async def test_of_successors_placed_at_the_same_moment_one_is_taken(house: House) -> None:
    """The guard sits in the transaction that writes the order."""
    principal, serial = await replaceable(house)
    new = NewOrder(identifiers=(dns(NAME),), replaces=serial)
    outcomes = await asyncio.gather(*(house.core.ra.place(principal, new) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(one, Order) for one in outcomes) == 1
    assert sum(isinstance(one, AlreadyReplaced) for one in outcomes) == 4


async def test_a_successor_that_was_withdrawn_leaves_its_place(house: House) -> None:
    """Only an order that is open or valid counts as the successor."""
    principal, serial = await replaceable(house)
    new = NewOrder(identifiers=(dns(NAME),), replaces=serial)
    first = await house.core.ra.place(principal, new)
    with pytest.raises(AlreadyReplaced):
        await house.core.ra.place(principal, new)
    await house.core.approval.cancel(first.id, ACTOR, "changed our minds")
    assert (await house.core.ra.place(principal, new)).status is OrderStatus.READY


@pytest.mark.parametrize(
    ("whose", "name", "said"),
    [
        pytest.param("stranger", NAME, Forbidden, id="of another account"),
        pytest.param("owner", "b.certgate.test", Forbidden, id="of other names"),
        pytest.param("nobody", NAME, UnknownCertificate, id="that is not known"),
    ],
)
async def test_a_certificate_that_cannot_be_the_predecessor_is_refused(
    house: House, whose: str, name: str, said: type[Problem]
) -> None:
    """The predecessor is the account's own and shares a name with the order."""
    owner, serial = await replaceable(house)
    principal = await acme(house) if whose == "stranger" else owner
    replaces = "00" * 20 if whose == "nobody" else serial
    with pytest.raises(said):
        await house.core.ra.place(principal, NewOrder(identifiers=(dns(name),), replaces=replaces))
