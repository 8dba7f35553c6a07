"""The guards of commit 1: what changes between judging and writing stops the issuance; held orders are no way round."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from policy.account import User
from policy.acting import operator
from policy.audit import AuditTag
from policy.credential import CredentialType, OpenClaim, PasswordClaim
from policy.credentialing import NewCredential
from policy.order import NewOrder, Order, OrderStatus
from policy.problems import BadCSR, Forbidden, NotReady, OrderConflict, Problem
from policy.registration import NewAccount
from policy.sealing import Secret
from policy.store import CERTIFICATE_OF_ORDER, ISSUANCES_OPEN
from policy.validation.caa import CAASet
from tests.conftest import ACTOR, House, dns
from tests.policy.making import (
    ADDRESS,
    acme,
    after_judging,
    change_product,
    enrolled,
    est,
    events,
    new_key,
    proven,
    request,
    showing,
    spki,
)
from tests.replacing import replace

NAME = "a.certgate.test"
SHOP = "shop.example.org"


async def nothing_issued(house: House, order: Order) -> None:
    assert await house.core.store.one(CERTIFICATE_OF_ORDER, order.id) is None
    assert await house.core.store.many(ISSUANCES_OPEN, 10) == []


# --------------------------------------------------------------------------- between judging and commit 1

KEY = new_key()


async def give_up_the_proof(house: House, principal: Any, order: Order) -> None:
    await house.core.ra.deactivate_authorization(principal, order.authorizations[0])


async def register_the_key(house: House, principal: Any, order: Order) -> None:
    await house.core.ra.register("acme/open", NewAccount(spki(KEY), {}, "thumbprint"), [OpenClaim()], ADDRESS)


async def deactivate_the_user(house: House, principal: Any, order: Order) -> None:
    await house.core.people.apply_user(User("alice", ("ops",), active=False), ACTOR)


async def close_the_door(house: House, principal: Any, order: Order) -> None:
    mount = await house.core.ra.mount("acme/open")
    await house.core.administration.apply_mount(replace(mount, active=False), ACTOR)


@pytest.mark.parametrize(
    ("what", "said", "detail"),
    [
        (give_up_the_proof, Forbidden, "authorization"),
        (register_the_key, BadCSR, "account"),
        (deactivate_the_user, Forbidden, "credential"),
        (close_the_door, Forbidden, "closed"),
    ],
)
async def test_what_changes_after_judging_stops_the_issuance(
    house: House,
    monkeypatch: pytest.MonkeyPatch,
    what: Callable[[House, Any, Order], Awaitable[None]],
    said: type[Problem],
    detail: str,
) -> None:
    """What was read may be stale, what is written is not."""
    principal = await acme(house)
    order = await proven(house, principal, SHOP)
    after_judging(house, monkeypatch, lambda: what(house, principal, order))
    with pytest.raises(said, match=detail):
        await house.core.ra.finalize(principal, order.id, request(SHOP, key=KEY))
    await nothing_issued(house, order)


async def test_a_proof_given_up_during_the_look_up_of_caa_is_none(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look-up takes as long as name servers do; the proof was read before it."""
    principal = await acme(house)
    order = await proven(house, principal, SHOP)
    house.clock.advance(hours=9)

    async def slow(_: str, *, addresses: bool = False) -> CAASet:
        await give_up_the_proof(house, principal, order)
        return CAASet(None)

    monkeypatch.setattr(house.caa, "caa", slow)
    with pytest.raises(Problem):
        await house.core.ra.finalize(principal, order.id, request(SHOP))
    await nothing_issued(house, order)


async def test_a_certificate_revoked_after_judging_renews_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who holds a stolen key must not get a successor while the owner revokes."""
    owner = await est(house)
    certificate = await enrolled(house, owner, request(NAME, cn=NAME))
    thief = await showing(house, certificate)
    after_judging(house, monkeypatch, lambda: house.core.ra.revoke(owner, certificate.der, None))
    with pytest.raises(Forbidden, match="renewed"):
        await house.core.ra.renew(thief, NewOrder(request=request(NAME, cn=NAME)))
    assert len(await house.core.inventory.certificate_page(credential=owner.credential.id)) == 1


async def test_each_refusal_is_a_problem_of_its_own(house: House) -> None:
    """Nothing that one client was told, trace and all, hangs on what the next one is told."""
    principal = await acme(house, "acme/default")
    await house.core.administration.suspend_credential(principal.credential.id, ACTOR)
    told = []
    for _ in range(2):
        with pytest.raises(Forbidden) as refusal:
            await house.core.ra.place(principal, NewOrder(identifiers=(dns(NAME),)))
        told.append(refusal.value)
    assert told[0] is not told[1]


# --------------------------------------------------------------------------- held orders


async def held_order(house: House, **more: Any) -> tuple[Any, Order]:
    principal = await est(house, "held", **more)
    order = await house.core.ra.enroll(principal, NewOrder(request=request(NAME), product="held"))
    assert order.status is OrderStatus.HELD
    return principal, order


async def test_an_approval_that_comes_too_late_issues_nothing(house: House) -> None:
    """A held order ends like any other, and whoever looks sees that."""
    principal, held = await held_order(house)
    house.clock.advance(days=8)
    with pytest.raises(NotReady, match="expired"):
        await house.core.approval.approve(held.id, operator("user:bob"))
    assert (await house.core.ra.order(principal, held.id)).status is OrderStatus.INVALID
    await nothing_issued(house, held)


async def test_a_held_order_spends_one_use(house: House) -> None:
    """It was counted when it was held: the approval of the last use goes through."""
    principal, held = await held_order(house, use_limit=1)
    approved = await house.core.approval.approve(held.id, operator("user:bob"))
    assert approved.status is OrderStatus.VALID
    assert await house.core.inventory.uses(principal.credential.id) == 1
    with pytest.raises(Forbidden, match="used up"):
        await house.core.ra.enroll(principal, NewOrder(request=request(NAME), product="held"))


async def test_a_held_order_asked_for_again_is_the_same_and_spends_nothing(house: House) -> None:
    """A client that polls with its reference waits, it does not order."""
    principal = await est(house, "held", use_limit=5)
    new = NewOrder(request=request(NAME), product="held", reference="r1")
    first, second = await house.core.ra.enroll(principal, new), await house.core.ra.enroll(principal, new)
    assert (first.id, second.status) == (second.id, OrderStatus.HELD)
    assert await house.core.inventory.uses(principal.credential.id) == 1


async def test_parallel_finalizes_hold_an_order_once(house: House) -> None:
    """The same request for a held order is the client asking again."""
    principal = await acme(house, "acme/default", "held")
    order = await house.core.ra.place(principal, NewOrder(identifiers=(dns(NAME),), product="held"))
    csr = request(NAME)
    outcomes = await asyncio.gather(*(house.core.ra.finalize(principal, order.id, csr) for _ in range(8)))
    assert {(one.id, one.status) for one in outcomes} == {(order.id, OrderStatus.HELD)}
    assert len(await events(house, AuditTag.ORDER_HELD)) == 1


async def test_parallel_approvals_give_one_certificate(house: House) -> None:
    """Whoever decides second is told so, or gets the order as it is by then."""
    _, held = await held_order(house)
    outcomes = await asyncio.gather(
        *(house.core.approval.approve(held.id, operator(f"user:bob{number}")) for number in range(5)),
        return_exceptions=True,
    )
    assert all(isinstance(one, Order | OrderConflict | NotReady) for one in outcomes), outcomes
    assert len(await events(house, AuditTag.CERTIFICATE_ISSUED)) == 1


async def test_a_renewal_that_was_held_is_not_issued_once_its_certificate_is_revoked(house: House) -> None:
    """The predecessor has to be valid when the successor is signed, however long the approval took."""
    await change_product(house, "held", approval=False)
    owner = await est(house, "held")
    certificate = await enrolled(house, owner, request(NAME, cn=NAME), product="held")
    await change_product(house, "held", approval=True)
    shown = await showing(house, certificate)
    held = await house.core.ra.renew(shown, NewOrder(request=request(NAME, cn=NAME), product="held"))
    assert held.status is OrderStatus.HELD
    await house.core.ra.revoke(owner, certificate.der, None)
    with pytest.raises(Forbidden, match="renewed"):
        await house.core.approval.approve(held.id, operator("user:bob"))


@pytest.mark.parametrize("way", ["", "@cli"])
async def test_nobody_approves_their_own_order_whatever_their_name_looks_like(house: House, way: str) -> None:
    """An address as the name of a user is not mistaken for the way that the user came."""
    await house.core.people.apply_user(User("alice@example.org", ("ops",)), ACTOR)
    new = NewCredential(CredentialType.EST, "alice@example.org", "ops", ("held",))
    made = await house.core.administration.create_credential(new, ACTOR)
    claim = PasswordClaim(made.credential.identifier, Secret((made.secret or "").encode()))
    principal = await house.core.ra.authenticate("est/default", [claim], ADDRESS)
    held = await house.core.ra.enroll(principal, NewOrder(request=request(NAME), product="held"))
    with pytest.raises(Forbidden, match="own"):
        await house.core.approval.approve(held.id, operator(f"user:alice@example.org{way}"))


# --------------------------------------------------------------------------- references


async def test_the_last_use_serves_every_repetition_of_one_request(house: House) -> None:
    """However many twins arrive at the same moment, one of them spends and all of them are answered."""
    principal = await est(house, use_limit=1)
    new = NewOrder(request=request(NAME), reference="r1")
    orders = await asyncio.gather(*(house.core.ra.enroll(principal, new) for _ in range(5)))
    assert len({order.id for order in orders}) == 1


async def test_a_reference_does_not_give_back_a_certificate_that_was_revoked(house: House) -> None:
    """Who repeats a request gets neither the revoked certificate nor a new one for the same key."""
    principal = await est(house)
    new = NewOrder(request=request(NAME), reference="r1")
    order = await house.core.ra.enroll(principal, new)
    await house.core.ra.revoke(principal, (await house.core.ra.certificate_of(order)).der, None)
    with pytest.raises(Forbidden, match="revoked"):
        await house.core.ra.enroll(principal, new)
