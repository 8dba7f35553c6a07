"""Refusals: audited with who and why, never a flood of them; and a store that cannot write is said as such."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import protocols
from policy.audit import AuditTag
from policy.credential import CertificateClaim, OpenClaim, PasswordClaim
from policy.limits import Limit, Limits
from policy.order import NewOrder, OrderStatus
from policy.problems import BadCSR, Forbidden, RateLimited, RejectedIdentifier, Unauthenticated, Unavailable
from policy.refusals import Refusals
from policy.registration import NewAccount
from policy.sealing import Secret
from tests.conftest import ACTOR, House, dns
from tests.policy.making import ADDRESS, acme, enrolled, est, events, full_disk, new_key, proven, request, spki

NAME = "a.certgate.test"
SHOP = "shop.example.org"
WRONG = PasswordClaim("nobody", Secret(b"swordfish"))


# --------------------------------------------------------------------------- what is written down


async def test_a_refused_request_is_audited_with_who_asked_and_what_was_wrong(house: House) -> None:
    """Whoever tries names that are not theirs leaves a trace."""
    principal = await acme(house)
    order = await house.core.ra.place(principal, NewOrder(identifiers=(dns(NAME),)))
    with pytest.raises(BadCSR):
        await house.core.ra.finalize(principal, order.id, request("evil.certgate.test"))
    (event,) = await events(house, AuditTag.REQUEST_REFUSED)
    assert (event.actor, event.object) == (str(principal.requester), f"credential:{principal.credential.id}")
    assert (event.detail["problem"], event.detail["address"]) == ("bad-csr", ADDRESS)
    assert "evil.certgate.test" in event.detail["detail"]


async def test_a_refused_order_and_a_refused_enrolment_are_audited(house: House) -> None:
    """Every way to ask for a certificate, at any door."""
    with pytest.raises(RejectedIdentifier):
        await house.core.ra.place(await acme(house), NewOrder(identifiers=(dns("a.denied.test"),)))
    with pytest.raises(Forbidden):
        await house.core.ra.enroll(await est(house), NewOrder(request=request(SHOP)))
    found = await events(house, AuditTag.REQUEST_REFUSED)
    assert [event.detail["problem"] for event in found] == ["rejected-identifier", "forbidden"]


async def test_a_failed_authentication_is_audited_without_the_secret(house: House) -> None:
    """Where from, at which mount, and what kind of problem."""
    with pytest.raises(Unauthenticated):
        await house.core.ra.authenticate("est/default", [WRONG], ADDRESS)
    (event,) = await events(house, AuditTag.AUTHENTICATION_FAILED)
    assert (event.actor, event.object) == (f"address:{ADDRESS}", "mount:est/default")
    assert event.detail["problem"] == "unauthenticated"
    assert "swordfish" not in str(event)


async def test_a_proven_credential_that_is_turned_away_is_named(house: House) -> None:
    """The owner of a suspended credential can see that it is still being tried."""
    made = await house.credential("est")
    await house.core.administration.suspend_credential(made.credential.id, ACTOR)
    claim = PasswordClaim(made.credential.identifier, Secret((made.secret or "").encode()))
    with pytest.raises(Forbidden):
        await house.core.ra.authenticate("est/default", [claim], ADDRESS)
    (event,) = await events(house, AuditTag.AUTHENTICATION_FAILED)
    assert event.detail["credential"] == made.credential.id


async def test_a_client_certificate_that_cannot_be_read_is_a_failed_authentication(house: House) -> None:
    """Not a fault of the server's."""
    with pytest.raises(Unauthenticated):
        await house.core.ra.authenticate("est/default", [CertificateClaim(b"garbage")], ADDRESS)
    assert len(await events(house, AuditTag.AUTHENTICATION_FAILED)) == 1


# --------------------------------------------------------------------------- what is not


async def refuse(refusals: Refusals, principal: Any, problem: Exception) -> None:
    with pytest.raises(type(problem)):
        async with refusals.noted(principal):
            raise problem


async def test_a_flood_of_refusals_is_told_and_not_written(house: House) -> None:
    """The log is for good: nobody fills the disk with requests that are refused."""
    limits = Limits({"audited_refusals": Limit(3, 60)}, lambda: 0.0)
    refusals = Refusals(house.core.store, limits, house.clock)
    principal = await est(house)
    for _ in range(10):
        await refuse(refusals, principal, Forbidden("no"))
        await refusals.authentication("est/default", Unauthenticated("no"), ADDRESS)
    written = await events(house, AuditTag.REQUEST_REFUSED) + await events(house, AuditTag.AUTHENTICATION_FAILED)
    assert len(written) == 3


async def test_trouble_of_ours_is_no_refusal(house: House) -> None:
    """Nobody was judged: neither when a part is away nor when there were too many requests."""
    refusals = Refusals(house.core.store, Limits({}, lambda: 0.0), house.clock)
    principal = await est(house)
    for problem in (Unavailable("the key is away"), RateLimited("too many", retry_after=1)):
        await refuse(refusals, principal, problem)
    assert await events(house, AuditTag.REQUEST_REFUSED) == []


async def test_a_refusal_stands_although_it_cannot_be_written_down(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk does not turn "no" into "try again later"."""
    principal = await acme(house)
    with full_disk(house, monkeypatch):
        with pytest.raises(RejectedIdentifier):
            await house.core.ra.place(principal, NewOrder(identifiers=(dns("a.denied.test"),)))
        with pytest.raises(Unauthenticated):
            await house.core.ra.authenticate("est/default", [WRONG], ADDRESS)


# --------------------------------------------------------------------------- a store that cannot write

Operation = Callable[[House], Awaitable[Callable[[], Awaitable[object]]]]
"""Prepares an operation while the store still writes; what it gives is the operation itself."""


async def register(house: House) -> Callable[[], Awaitable[object]]:
    new = NewAccount(spki(new_key()), {}, "thumbprint")
    return lambda: house.core.ra.register("acme/open", new, [OpenClaim()], ADDRESS)


async def update(house: House) -> Callable[[], Awaitable[object]]:
    principal = await acme(house)
    return lambda: house.core.ra.update_account(principal, contact=("mailto:a@example.org",))


async def rollover(house: House) -> Callable[[], Awaitable[object]]:
    principal = await acme(house)
    return lambda: house.core.ra.rollover(principal, spki(new_key()), {}, "thumbprint")


async def deactivate(house: House) -> Callable[[], Awaitable[object]]:
    principal = await acme(house)
    return lambda: house.core.ra.deactivate_account(principal)


async def place(house: House) -> Callable[[], Awaitable[object]]:
    principal = await acme(house)
    return lambda: house.core.ra.place(principal, NewOrder(identifiers=(dns(NAME),)))


async def answer(house: House) -> Callable[[], Awaitable[object]]:
    principal = await acme(house)
    order = await house.core.ra.place(principal, NewOrder(identifiers=(dns(SHOP),)))
    return lambda: house.core.ra.answer(principal, order.authorizations[0], "http-01")


async def give_up(house: House) -> Callable[[], Awaitable[object]]:
    principal = await acme(house)
    order = await house.core.ra.place(principal, NewOrder(identifiers=(dns(SHOP),)))
    return lambda: house.core.ra.deactivate_authorization(principal, order.authorizations[0])


async def finalize(house: House) -> Callable[[], Awaitable[object]]:
    principal = await acme(house)
    order = await proven(house, principal, SHOP)
    return lambda: house.core.ra.finalize(principal, order.id, request(SHOP))


async def enroll(house: House) -> Callable[[], Awaitable[object]]:
    principal = await est(house)
    return lambda: house.core.ra.enroll(principal, NewOrder(request=request(NAME)))


async def revoke(house: House) -> Callable[[], Awaitable[object]]:
    principal = await est(house)
    certificate = await enrolled(house, principal, request(NAME))
    return lambda: house.core.ra.revoke(principal, certificate.der, None)


OPERATIONS: tuple[Operation, ...] = (
    register,
    update,
    rollover,
    deactivate,
    place,
    answer,
    give_up,
    finalize,
    enroll,
    revoke,
)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.__name__)
async def test_a_store_that_cannot_write_is_said_as_unavailable_and_may_be_tried_again(
    house: House, monkeypatch: pytest.MonkeyPatch, operation: Operation
) -> None:
    """A Problem with Retry-After, whatever was asked; the same request goes through once there is room again."""
    asked = await operation(house)
    with full_disk(house, monkeypatch), pytest.raises(Unavailable) as told:
        await asked()
    assert (told.value.kind, told.value.retry_after) == ("unavailable", 30)
    assert "disk" not in told.value.detail
    await asked()


def test_every_door_says_unavailable_as_503() -> None:
    """RFC 9110 section 15.6.4: a client that knows nothing of our problems waits and asks again."""
    for protocol in protocols.available():
        said: Any = protocol.problems["unavailable"]
        # CMP has a bit of its own for it, inside an answer with HTTP status 200 (RFC 9810 section 5.2.3).
        wanted = 24 if protocol.name == "cmp" else 503
        assert getattr(said, "status", said) == wanted, protocol.name


async def test_an_order_is_as_it_was_after_the_store_could_not_write(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was acknowledged, nothing is half done."""
    principal = await acme(house)
    order = await proven(house, principal, SHOP)
    with full_disk(house, monkeypatch), pytest.raises(Unavailable):
        await house.core.ra.finalize(principal, order.id, request(SHOP))
    assert (await house.core.ra.order(principal, order.id)).status is OrderStatus.READY
