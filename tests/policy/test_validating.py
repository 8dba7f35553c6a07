"""How validations run: so many at once, one method at a time, and never lost by a fault in a validator."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from policy.order import AuthorizationStatus, ChallengeStatus, NewOrder, Order, OrderStatus
from policy.problems import Unavailable
from policy.store import StoreUnavailable
from policy.validating import QUEUE_SECONDS, RECOVERY_SECONDS, VALIDATE_JOB
from tests.conftest import House, dns
from tests.policy.making import acme
from tests.replacing import replace

NAME = "shop.example.org"


@pytest.fixture(autouse=True)
def fast(house: House) -> None:
    house.core.validating.settings = replace(
        house.core.validating.settings, retries_after_seconds=(), inline_seconds=0.01
    )


async def pending(house: House, *names: str) -> tuple[Any, Order]:
    principal = await acme(house)
    identifiers = tuple(dns(one) for one in names or (NAME,))
    return principal, await house.core.ra.place(principal, NewOrder(identifiers=identifiers))


async def settle(house: House) -> None:
    while house.core.validating._running:
        await asyncio.gather(*house.core.validating._running.values())


async def test_a_fault_in_a_validator_is_a_failed_validation(house: House) -> None:
    """Whatever a validator raises, the client hears of an end and the order does not wait for ever."""
    principal, order = await pending(house)
    gate = house.validators["http-01"].gate = asyncio.Event()
    house.validators["http-01"].problem = ValueError("an answer that nobody thought of")
    await house.core.ra.answer(principal, order.authorizations[0], "http-01")
    gate.set()
    await settle(house)
    authorization = await house.core.ra.authorization(principal, order.authorizations[0])
    challenge = next(one for one in authorization.challenges if one.type == "http-01")
    assert (authorization.status, challenge.status) == (AuthorizationStatus.INVALID, ChallengeStatus.INVALID)
    assert challenge.error is not None
    assert challenge.error.detail == "internal error in validation"
    assert (await house.core.ra.order(principal, order.id)).status is OrderStatus.INVALID


async def test_a_store_that_fails_at_the_outcome_is_told_to_the_client(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    principal, order = await pending(house)

    async def failing(unit: object) -> None:
        raise StoreUnavailable("disk full")

    with monkeypatch.context() as failure:
        failure.setattr(house.core.store, "commit", failing)
        with pytest.raises(Unavailable):
            await house.core.ra.answer(principal, order.authorizations[0], "http-01")
    answered = await house.core.ra.answer(principal, order.authorizations[0], "http-01")
    assert answered.status is AuthorizationStatus.VALID


async def test_one_account_leaves_room_for_others(house: House) -> None:
    """What is too much waits in the store, as `processing` with its job, and not as a task in memory."""
    house.core.validating.settings = replace(house.core.validating.settings, running_at_once=5, running_per_owner=3)
    gate = house.validators["http-01"].gate = asyncio.Event()
    for principal, order in (
        await pending(house, *(f"{number}.example.org" for number in range(6))),
        await pending(house, *(f"{number}.example.net" for number in range(6))),
    ):
        for one in order.authorizations:
            await house.core.ra.answer(principal, one, "http-01")
        found = await house.core.ra.authorizations(order)
        assert {c.status for one in found for c in one.challenges if c.type == "http-01"} == {
            ChallengeStatus.PROCESSING
        }
    attempts = house.validators["http-01"].attempts
    assert len(attempts) == 5
    assert sum(one.identifier.value.endswith("org") for one in attempts) == 3
    house.clock.advance(seconds=QUEUE_SECONDS)
    waiting = await house.core.store.lease_jobs((VALIDATE_JOB,), house.clock(), 60, 100)
    assert len(waiting) == 7
    assert {await resume(house, job.object) for job in waiting} == {QUEUE_SECONDS}
    gate.set()
    await settle(house)
    for job in waiting[:3]:
        assert await resume(house, job.object) == RECOVERY_SECONDS
    await settle(house)
    assert await resume(house, waiting[0].object) is None
    assert len(attempts) == 8


async def resume(house: House, challenge: str) -> int | None:
    authorization, _, method = challenge.partition("/")
    return await house.core.validating.resume(authorization, method)


async def test_a_second_method_does_not_pretend_to_be_tried(house: House) -> None:
    """While one method is being tried, another one stays pending; the outcome of the first decides."""
    principal, order = await pending(house)
    gate = house.validators["http-01"].gate = asyncio.Event()
    await house.core.ra.answer(principal, order.authorizations[0], "http-01")
    answered = await house.core.ra.answer(principal, order.authorizations[0], "dns-01")
    assert {one.type: one.status for one in answered.challenges} == {
        "http-01": ChallengeStatus.PROCESSING,
        "dns-01": ChallengeStatus.PENDING,
        "tls-alpn-01": ChallengeStatus.PENDING,
    }
    assert house.validators["dns-01"].attempts == []
    gate.set()
    await settle(house)
    assert (await house.core.ra.order(principal, order.id)).status is OrderStatus.READY


async def test_a_validation_is_only_started_by_its_job(house: House) -> None:
    """A target that hangs keeps no worker waiting."""
    principal, order = await pending(house)
    house.validators["http-01"].gate = asyncio.Event()
    await house.core.ra.answer(principal, order.authorizations[0], "http-01")
    await house.core.validating.drain()
    challenge = f"{order.authorizations[0]}/http-01"
    assert await asyncio.wait_for(resume(house, challenge), 1) == RECOVERY_SECONDS
    await asyncio.sleep(0)
    assert len(house.validators["http-01"].attempts) == 2


async def test_a_proof_of_a_single_name_costs_two_reads(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose authorization it is, and which orders wait for it: the commit's guard tells whether that is still so."""
    principal, order = await pending(house)
    store = house.core.store
    one, many, asked = store.one, store.many, list[str]()

    async def read_one(query: Any, *parameters: Any) -> Any:
        asked.append(query.name)
        return await one(query, *parameters)

    async def read_many(query: Any, *parameters: Any) -> Any:
        asked.append(query.name)
        return await many(query, *parameters)

    monkeypatch.setattr(store, "one", read_one)
    monkeypatch.setattr(store, "many", read_many)
    answered = await house.core.ra.answer(principal, order.authorizations[0], "http-01")
    assert answered.status is AuthorizationStatus.VALID
    assert asked == ["authorization_get", "orders_of_authorization"]
    assert (await house.core.ra.order(principal, order.id)).status is OrderStatus.READY


async def test_what_was_given_up_meanwhile_is_not_proven(house: House) -> None:
    """The outcome is decided on what was read before the try; the commit finds out, and the newest version counts."""
    principal, order = await pending(house)
    gate = house.validators["http-01"].gate = asyncio.Event()
    answering = asyncio.create_task(house.core.ra.answer(principal, order.authorizations[0], "http-01"))
    await asyncio.sleep(0)
    await house.core.ra.deactivate_authorization(principal, order.authorizations[0])
    gate.set()
    assert (await answering).status is AuthorizationStatus.DEACTIVATED
    assert (await house.core.ra.order(principal, order.id)).status is OrderStatus.INVALID
