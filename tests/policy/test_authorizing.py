"""Authorizations: challenges inline and in the background, retries, reuse, CAA, giving up (RFC 8555 7.5, 8)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from policy.order import (
    AuthorizationStatus,
    ChallengeStatus,
    NewOrder,
    Order,
    OrderStatus,
)
from policy.problems import Malformed, RejectedIdentifier, UnknownOrder, ValidationCAA, ValidationFailed
from policy.store import PRODUCT
from policy.validating import ValidationSettings
from policy.validation.caa import CAARecord, CAASet
from tests.conftest import ACTOR, House, dns
from tests.policy.making import acme, request
from tests.replacing import replace

NAME = "shop.example.org"


@pytest.fixture(autouse=True)
def quick_retries(house: House) -> None:
    """Retries without pauses."""
    house.core.validating.settings = replace(
        house.core.validating.settings, retries_after_seconds=(0.0, 0.0), inline_seconds=0.05
    )


async def pending(house: House, *names: str) -> tuple[Any, Order]:
    principal = await acme(house)
    order = await house.core.ra.place(principal, NewOrder(identifiers=tuple(dns(one) for one in names or (NAME,))))
    assert order.status is OrderStatus.PENDING
    return principal, order


async def settle(house: House) -> None:
    """Let background validations end."""
    while house.core.validating._running:
        await asyncio.gather(*house.core.validating._running.values())


async def test_a_quick_validation_is_valid_in_the_answer_and_readies_the_order(house: House) -> None:
    """Rows: T-12."""
    principal, order = await pending(house)
    answered = await house.core.ra.answer(principal, order.authorizations[0], "http-01")
    assert answered.status is AuthorizationStatus.VALID
    assert [one.type for one in answered.challenges] == ["http-01"]
    order = await house.core.ra.order(principal, order.id)
    assert order.status is OrderStatus.READY
    attempt = house.validators["http-01"].attempts[0]
    assert principal.account is not None
    assert attempt.key_authorization == f"{attempt.token}.{principal.account.thumbprint}"
    done = await house.core.ra.finalize(principal, order.id, request(NAME))
    assert done.status is OrderStatus.VALID


async def test_an_order_is_ready_when_its_last_authorization_is(house: House) -> None:
    principal, order = await pending(house, NAME, "b.example.org")
    await house.core.ra.answer(principal, order.authorizations[0], "http-01")
    assert (await house.core.ra.order(principal, order.id)).status is OrderStatus.PENDING
    await house.core.ra.answer(principal, order.authorizations[1], "dns-01")
    assert (await house.core.ra.order(principal, order.id)).status is OrderStatus.READY


async def test_a_slow_validation_goes_on_in_the_background(house: House) -> None:
    principal, order = await pending(house)
    gate = house.validators["http-01"].gate = asyncio.Event()
    answered = await house.core.ra.answer(principal, order.authorizations[0], "http-01")
    assert {one.type: one.status for one in answered.challenges}["http-01"] is ChallengeStatus.PROCESSING
    gate.set()
    await settle(house)
    assert (await house.core.ra.order(principal, order.id)).status is OrderStatus.READY


async def test_asking_twice_validates_once(house: House) -> None:
    principal, order = await pending(house)
    gate = house.validators["http-01"].gate = asyncio.Event()
    for _ in range(5):
        await house.core.ra.answer(principal, order.authorizations[0], "http-01")
    gate.set()
    await settle(house)
    assert len(house.validators["http-01"].attempts) == 1


async def test_a_failing_validation_is_tried_three_times_and_ends_the_order(house: House) -> None:
    """Rows: A7."""
    principal, order = await pending(house)
    house.validators["http-01"].fail()
    await house.core.ra.answer(principal, order.authorizations[0], "http-01")
    await settle(house)
    authorization = await house.core.ra.authorization(principal, order.authorizations[0])
    challenge = next(one for one in authorization.challenges if one.type == "http-01")
    assert len(house.validators["http-01"].attempts) == 3
    assert (authorization.status, challenge.status) == (AuthorizationStatus.INVALID, ChallengeStatus.INVALID)
    assert challenge.error is not None
    ended = await house.core.ra.order(principal, order.id)
    assert ended.status is OrderStatus.INVALID
    assert ended.problem is not None
    assert ended.problem.kind == "validation-incorrect-response"


async def test_a_validation_interrupted_by_a_crash_is_resumed_by_its_job(house: House) -> None:
    """F23: restart in the middle of a validation; it goes on without the client."""
    principal, order = await pending(house)
    gate = house.validators["http-01"].gate = asyncio.Event()
    await house.core.ra.answer(principal, order.authorizations[0], "http-01")
    await house.core.validating.drain()
    house.clock.advance(minutes=2)
    jobs = await house.core.store.lease_jobs(("validate",), house.clock(), 60, 10)
    assert [job.object for job in jobs] == [f"{order.authorizations[0]}/http-01"]
    gate.set()
    await house.core.validating.resume(order.authorizations[0], "http-01")
    await settle(house)
    assert (await house.core.ra.order(principal, order.id)).status is OrderStatus.READY


async def test_caa_forbids_at_validation(house: House) -> None:
    """Rows: A8."""
    principal, order = await pending(house)
    house.caa.sets[NAME] = CAASet(NAME, (CAARecord(0, "issue", "other.example"),))
    await house.core.ra.answer(principal, order.authorizations[0], "http-01")
    await settle(house)
    ended = await house.core.ra.order(principal, order.id)
    assert ended.problem is not None
    assert ended.problem.kind == "validation-caa"


async def test_caa_is_checked_again_for_every_name_at_finalize_after_eight_hours(house: House) -> None:
    """Trap T-8: two names, and it is the second one that forbids by now. Rows: A8, T-8."""
    principal, order = await pending(house, NAME, "b.example.org")
    for authorization in order.authorizations:
        await house.core.ra.answer(principal, authorization, "http-01")
    asked = len(house.caa.asked)
    house.clock.advance(hours=9)
    house.caa.sets["b.example.org"] = CAASet("b.example.org", (CAARecord(0, "issue", ";"),))
    with pytest.raises(ValidationCAA):
        await house.core.ra.finalize(principal, order.id, request(NAME, "b.example.org"))
    assert sorted(house.caa.asked[asked:]) == ["b.example.org", NAME]


async def test_caa_of_many_names_is_checked_again_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred slow look-ups one after the other would outlast any client; a name server that hangs ends with them."""
    names = [f"n{number}.example.org" for number in range(10)]
    principal, order = await pending(house, *names)
    for authorization in order.authorizations:
        await house.core.ra.answer(principal, authorization, "http-01")
    house.clock.advance(hours=9)
    together = asyncio.Barrier(len(names))
    ask = house.caa.caa

    async def slow(domain: str, *, addresses: bool = False) -> CAASet:
        await together.wait()
        return await ask(domain)

    house.core.validating.settings = replace(house.core.validating.settings, attempt_seconds=0.2)
    with monkeypatch.context() as hanging:
        hanging.setattr(house.caa, "caa", lambda domain, **_: asyncio.Event().wait())
        with pytest.raises(ValidationFailed, match="within"):
            await house.core.ra.finalize(principal, order.id, request(*names))
    house.core.validating.settings = replace(house.core.validating.settings, attempt_seconds=10.0)
    monkeypatch.setattr(house.caa, "caa", slow)
    done = await house.core.ra.finalize(principal, order.id, request(*names))
    assert done.status is OrderStatus.VALID


async def test_fresh_caa_is_not_asked_again(house: House) -> None:
    """Rows: A8."""
    principal, order = await pending(house)
    await house.core.ra.answer(principal, order.authorizations[0], "http-01")
    asked = len(house.caa.asked)
    await house.core.ra.finalize(principal, order.id, request(NAME))
    assert len(house.caa.asked) == asked


async def test_trusted_names_need_no_challenge(house: House) -> None:
    principal = await acme(house)
    order = await house.core.ra.place(principal, NewOrder(identifiers=(dns("a.certgate.test"),)))
    assert order.status is OrderStatus.READY
    (authorization,) = await house.core.ra.authorizations(order)
    assert authorization.status is AuthorizationStatus.VALID
    assert all(one.status is ChallengeStatus.VALID for one in authorization.challenges)
    assert all(not one.attempts for one in house.validators.values())


async def test_wildcards_are_validated_by_dns_alone(house: House) -> None:
    principal = await acme(house)
    order = await house.core.ra.place(principal, NewOrder(identifiers=(dns("*.example.org"),)))
    (authorization,) = await house.core.ra.authorizations(order)
    assert [one.type for one in authorization.challenges] == ["dns-01"]
    assert (authorization.identifier.value, authorization.wildcard) == ("example.org", True)
    with pytest.raises(Malformed):
        await house.core.ra.answer(principal, authorization.id, "http-01")


async def test_a_proof_is_reused_only_as_the_product_says(house: House) -> None:
    """Trap T-19: same account, same form of name, recent enough, never after deactivation. Rows: R20, A6, T-19."""
    product = await house.core.store.one(PRODUCT, "tls")
    assert product is not None
    rules = replace(product.validation, reuse_seconds=3600)
    await house.core.administration.apply_product(replace(product, validation=rules), ACTOR)
    principal, order = await pending(house)
    await house.core.ra.answer(principal, order.authorizations[0], "http-01")
    again = await house.core.ra.place(principal, NewOrder(identifiers=(dns(NAME),)))
    assert (again.status, again.authorizations) == (OrderStatus.READY, order.authorizations)
    wildcard = await house.core.ra.place(principal, NewOrder(identifiers=(dns(f"*.{NAME}"),)))
    assert wildcard.status is OrderStatus.PENDING
    other = await acme(house)
    assert (await house.core.ra.place(other, NewOrder(identifiers=(dns(NAME),)))).status is OrderStatus.PENDING
    house.clock.advance(hours=2)
    late = await house.core.ra.place(principal, NewOrder(identifiers=(dns(NAME),)))
    assert late.status is OrderStatus.PENDING


async def test_a_deactivated_authorization_ends_its_pending_order(house: House) -> None:
    principal, order = await pending(house)
    gone = await house.core.ra.deactivate_authorization(principal, order.authorizations[0])
    assert gone.status is AuthorizationStatus.DEACTIVATED
    assert (await house.core.ra.order(principal, order.id)).status is OrderStatus.INVALID
    with pytest.raises(Malformed):
        await house.core.ra.answer(principal, order.authorizations[0], "http-01")


async def test_nobody_answers_the_challenge_of_somebody_else(house: House) -> None:
    _, order = await pending(house)
    with pytest.raises(UnknownOrder):
        await house.core.ra.answer(await acme(house), order.authorizations[0], "http-01")


async def test_all_mistakes_in_the_names_are_told_at_once(house: House) -> None:
    """Rows: T-24."""
    principal = await acme(house)
    names = (dns("a.denied.test"), dns("good.example.org"), dns("*.co.uk"))
    with pytest.raises(RejectedIdentifier) as told:
        await house.core.ra.place(principal, NewOrder(identifiers=names))
    assert [str(one.context["identifier"]) for one in told.value.subproblems] == ["dns:a.denied.test", "dns:*.co.uk"]


def test_the_settings_have_three_tries() -> None:
    """A7: at least three tries with back-off. Rows: A7."""
    assert len(ValidationSettings().retries_after_seconds) + 1 >= 3
