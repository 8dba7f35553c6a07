"""The invariants of issuing (docs/issuance.md): one certificate per order, guards in commit 1, crash recovery."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from ca_core.issuance import IssuanceToken, IssuedCertificate, Receipt
from ca_core.problems import Internal, Unavailable
from policy.acting import operator
from policy.audit import AuditTag
from policy.order import NewOrder, Order, OrderKind, OrderStatus
from policy.problems import (
    BadCSR,
    BadPublicKey,
    Forbidden,
    NotReady,
    Problem,
    RejectedIdentifier,
    UnknownOrder,
    UnknownProduct,
)
from policy.product import ProductState
from policy.store import (
    CERTIFICATE,
    CERTIFICATE_OF_ORDER,
    CERTIFICATE_STATUS,
    ISSUANCES_OPEN,
    ORDER,
    StoreUnavailable,
    Unit,
)
from tests.conftest import ACTOR, House, dns
from tests.policy.making import acme, est, new_key, request, spki

NAME = "a.certgate.test"


async def placed(house: House, *names: str) -> tuple[Any, Order]:
    principal = await acme(house, "acme/default")
    order = await house.core.ra.place(principal, NewOrder(identifiers=tuple(dns(one) for one in names or (NAME,))))
    assert order.status is OrderStatus.READY  # the product trusts the credential for these names
    return principal, order


async def test_finalize_gives_a_certificate_for_exactly_what_was_ordered(house: House) -> None:
    principal, order = await placed(house, NAME, "b.certgate.test")
    key = new_key()
    order = await house.core.ra.finalize(principal, order.id, request(NAME, "b.certgate.test", cn=NAME, key=key))
    certificate = await house.core.ra.certificate_of(order)
    assert order.status is OrderStatus.VALID
    assert {str(name) for name in certificate.stored.names} == {f"dns:{NAME}", "dns:b.certgate.test"}
    status = await house.core.store.one(CERTIFICATE_STATUS, certificate.stored.serial)
    assert status is not None
    assert status.state == "valid"


async def test_twenty_parallel_finalizes_give_one_certificate(house: House) -> None:
    """Trap T-6: the guard on the order's version lets one of them through; the same request gets the same order.

    Rows: T-6.
    """
    principal, order = await placed(house)
    csr = request(NAME)
    outcomes = await asyncio.gather(
        *(house.core.ra.finalize(principal, order.id, csr) for _ in range(20)), return_exceptions=True
    )
    assert all(isinstance(one, Order) for one in outcomes), outcomes
    await asyncio.sleep(0)
    events = [event async for _, event in house.core.inventory.audit()]
    assert sum(event.tag is AuditTag.CERTIFICATE_ISSUED and order.id == event.detail["order"] for event in events) == 1


async def test_parallel_finalizes_with_different_requests_give_one_certificate(house: House) -> None:
    principal, order = await placed(house)
    outcomes = await asyncio.gather(
        *(house.core.ra.finalize(principal, order.id, request(NAME)) for _ in range(8)), return_exceptions=True
    )
    assert sum(isinstance(one, Order) for one in outcomes) == 1
    assert all(isinstance(one, Order | NotReady) for one in outcomes), outcomes


async def test_the_same_reference_gives_the_same_certificate(house: House) -> None:
    """A lost answer is asked for again: the same transaction, the same answer, never a second certificate."""
    principal = await est(house)
    new = NewOrder(request=request(NAME), reference="r1")
    first = await house.core.ra.enroll(principal, new)
    second = await house.core.ra.enroll(principal, new)
    assert (first.id, first.serial) == (second.id, second.serial)


async def test_parallel_enrolments_with_one_reference_give_one_certificate(house: House) -> None:
    principal = await est(house)
    new = NewOrder(request=request(NAME), reference="r1")
    orders = await asyncio.gather(*(house.core.ra.enroll(principal, new) for _ in range(20)))
    assert len({order.id for order in orders}) == 1


async def test_a_request_that_was_read_before_its_twin_was_done_gives_no_second_certificate(house: House) -> None:
    """The twin ended between reading and commit 1: no open order is in the way, but the reference is not free."""
    principal = await est(house)
    new = NewOrder(request=request(NAME), reference="r1")
    decide, gate = house.fulfilment.deciding.decide, asyncio.Event()

    async def slow(*arguments: Any) -> Any:
        decision = await decide(*arguments)
        await gate.wait()
        return decision

    house.fulfilment.deciding.decide = slow  # type: ignore[assignment,method-assign]
    late = asyncio.create_task(house.core.ra.enroll(principal, new))
    await asyncio.sleep(0.05)
    house.fulfilment.deciding.decide = decide  # type: ignore[method-assign]
    first = await house.core.ra.enroll(principal, new)
    gate.set()
    assert (await late).serial == first.serial


async def test_a_reference_is_free_again_after_the_replay_window(house: House) -> None:
    """The same key enrolling anew later is a new order."""
    principal = await est(house)
    new = NewOrder(request=request(NAME), reference="r1")
    first = await house.core.ra.enroll(principal, new)
    house.clock.advance(hours=1)
    assert (await house.core.ra.enroll(principal, new)).id != first.id


async def test_a_use_limit_holds_under_concurrency(house: House) -> None:
    """Thirty requests, three uses: three certificates."""
    principal = await est(house, use_limit=3)
    outcomes = await asyncio.gather(
        *(house.core.ra.enroll(principal, NewOrder(request=request(NAME))) for _ in range(30)), return_exceptions=True
    )
    assert sum(isinstance(one, Order) for one in outcomes) == 3
    assert {type(one) for one in outcomes} == {Order, Forbidden}


# --------------------------------------------------------------------------- who is revoked meanwhile


async def revoke_credential(house: House, principal: Any) -> None:
    await house.core.administration.revoke_credential(principal.credential.id, "test", ACTOR)


async def suspend_product(house: House, principal: Any) -> None:
    await house.core.administration.set_product_state("tls", ProductState.SUSPENDED, ACTOR)


async def deactivate_account(house: House, principal: Any) -> None:
    await house.core.ra.deactivate_account(principal)


async def block_key(house: House, principal: Any) -> None:
    unit = Unit()
    unit.block_key(spki(KEY), "keyCompromise", house.clock())
    await house.core.store.commit(unit)


KEY = new_key()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (revoke_credential, Forbidden),
        (suspend_product, UnknownProduct),
        (deactivate_account, Forbidden),
        (block_key, BadPublicKey),
    ],
)
async def test_what_is_revoked_between_judging_and_commit_1_stops_the_issuance(
    house: House, monkeypatch: pytest.MonkeyPatch, what: Callable[..., Awaitable[None]], said: type[Problem]
) -> None:
    """The guard sits in commit 1: what was read before may be stale, what is written is not."""
    principal, order = await placed(house)
    decide = house.fulfilment.deciding.decide

    async def decide_then_revoke(*arguments: Any) -> Any:
        decision = await decide(*arguments)
        await what(house, principal)
        return decision

    monkeypatch.setattr(house.fulfilment.deciding, "decide", decide_then_revoke)
    with pytest.raises((said, NotReady)):
        await house.core.ra.finalize(principal, order.id, request(NAME, key=KEY))
    assert await house.core.store.one(CERTIFICATE_OF_ORDER, order.id) is None
    assert await house.core.store.many(ISSUANCES_OPEN, 10) == []


async def test_revoking_a_credential_ends_its_open_orders(house: House) -> None:
    principal, order = await placed(house)
    await revoke_credential(house, principal)
    ended = await house.core.store.one(ORDER, order.id)
    assert ended is not None
    assert ended.status is OrderStatus.INVALID
    with pytest.raises(NotReady):
        await house.core.ra.finalize(principal, order.id, request(NAME))


async def test_an_expired_authorization_does_not_suffice_any_more(house: House) -> None:
    """Rows: T-19."""
    principal = await acme(house)
    order = await house.core.ra.place(principal, NewOrder(identifiers=(dns("shop.example.org"),)))
    await house.core.ra.answer(principal, order.authorizations[0], "http-01")
    await house.core.ra.deactivate_authorization(principal, order.authorizations[0])
    with pytest.raises((RejectedIdentifier, NotReady)):
        await house.core.ra.finalize(principal, order.id, request("shop.example.org"))


# --------------------------------------------------------------------------- crashes and failing parts


async def test_what_a_crash_left_between_the_commits_is_finished_with_the_identical_certificate(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signatures are deterministic, so what may have been seen before the crash is what is there after it."""
    principal, order = await placed(house)
    signed: list[IssuedCertificate] = []
    sign = house.core.ca.sign

    async def sign_and_die(token: IssuanceToken, receipt: Receipt) -> IssuedCertificate:
        signed.append(await sign(token, receipt))
        raise asyncio.CancelledError

    with monkeypatch.context() as crash:
        crash.setattr(house.core.ca, "sign", sign_and_die)
        with pytest.raises(asyncio.CancelledError):
            await house.core.ra.finalize(principal, order.id, request(NAME))
    between = await house.core.ra.order(principal, order.id)
    assert between.status is OrderStatus.PROCESSING
    assert await house.core.recovery.finish_open() == 1
    after = await house.core.ra.order(principal, order.id)
    assert after.status is OrderStatus.VALID
    assert (await house.core.ra.certificate_of(after)).der == signed[0].der
    assert await house.core.recovery.finish_open() == 0
    assert (await house.core.sealer.verify()).problems == []


async def test_a_store_that_fails_at_commit_2_leaves_an_order_that_recovery_finishes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    principal, order = await placed(house)
    commit, calls = house.core.store.commit, []

    async def failing(unit: Unit) -> Any:
        calls.append(unit)
        if len(calls) == 2:
            raise StoreUnavailable("disk full")
        return await commit(unit)

    with monkeypatch.context() as failure:
        failure.setattr(house.core.store, "commit", failing)
        said = await house.core.ra.finalize(principal, order.id, request(NAME))
    assert said.status is OrderStatus.PROCESSING
    await house.core.recovery.finish_order(order.id)
    assert (await house.core.ra.order(principal, order.id)).status is OrderStatus.VALID


async def test_a_store_that_fails_at_commit_1_issues_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    principal, order = await placed(house)

    async def failing(unit: Unit) -> Any:
        raise StoreUnavailable("disk full")

    with monkeypatch.context() as failure:
        failure.setattr(house.core.store, "commit", failing)
        with pytest.raises(Unavailable):
            await house.core.ra.finalize(principal, order.id, request(NAME))
    assert (await house.core.ra.order(principal, order.id)).status is OrderStatus.READY


async def test_a_key_that_is_away_leaves_the_order_to_recovery(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    principal, order = await placed(house)

    async def away(token: IssuanceToken, receipt: Receipt) -> IssuedCertificate:
        raise Unavailable("the key is away")

    with monkeypatch.context() as outage:
        outage.setattr(house.core.ca, "sign", away)
        said = await house.core.ra.finalize(principal, order.id, request(NAME))
    assert said.status is OrderStatus.PROCESSING
    assert await house.core.recovery.finish_open() == 1
    assert (await house.core.ra.order(principal, order.id)).status is OrderStatus.VALID


async def test_a_fault_that_nobody_can_mend_voids_the_serial_and_ends_the_order(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    principal, order = await placed(house)

    async def broken(token: IssuanceToken, receipt: Receipt) -> IssuedCertificate:
        raise Internal("it will never be signed")

    monkeypatch.setattr(house.core.ca, "sign", broken)
    ended = await house.core.ra.finalize(principal, order.id, request(NAME))
    assert ended.status is OrderStatus.INVALID
    assert await house.core.store.many(ISSUANCES_OPEN, 10) == []


# --------------------------------------------------------------------------- what the request may say


@pytest.mark.parametrize(
    "csr",
    [
        pytest.param(lambda: request(NAME, "evil.certgate.test"), id="one name more"),
        pytest.param(lambda: request("other.certgate.test"), id="another name"),
        pytest.param(lambda: request(NAME, cn="evil.certgate.test"), id="another common name"),
        pytest.param(lambda: request(), id="no name"),
    ],
)
async def test_a_request_for_other_names_is_refused_and_the_order_stays_ready(
    house: House, csr: Callable[[], Any]
) -> None:
    principal, order = await placed(house)
    with pytest.raises(BadCSR):
        await house.core.ra.finalize(principal, order.id, csr())
    assert (await house.core.ra.order(principal, order.id)).status is OrderStatus.READY


async def test_a_common_name_alone_counts_as_the_name(house: House) -> None:
    principal, order = await placed(house)
    assert (await house.core.ra.finalize(principal, order.id, request(cn=NAME))).status is OrderStatus.VALID


async def test_the_key_of_an_account_is_no_certificate_key(house: House) -> None:
    """RFC 8555 section 11.1: of any account, not only of this one. Rows: R25."""
    from policy.credential import OpenClaim
    from policy.registration import NewAccount

    key = new_key()
    await house.core.ra.register("acme/open", NewAccount(spki(key), {}, "thumb"), [OpenClaim()], "127.0.0.1")
    principal, order = await placed(house)
    with pytest.raises(BadCSR, match="account"):
        await house.core.ra.finalize(principal, order.id, request(NAME, key=key))


async def test_an_expired_order_is_not_finalized(house: House) -> None:
    principal, order = await placed(house)
    house.clock.advance(days=8)
    with pytest.raises(NotReady):
        await house.core.ra.finalize(principal, order.id, request(NAME))


async def test_nobody_sees_or_finalizes_the_order_of_somebody_else(house: House) -> None:
    """Trap T-18: one answer for what does not exist and what is not yours. Rows: T-18."""
    _, order = await placed(house)
    other = await acme(house, "acme/default")
    with pytest.raises(UnknownOrder):
        await house.core.ra.order(other, order.id)
    with pytest.raises(UnknownOrder):
        await house.core.ra.finalize(other, order.id, request(NAME))


async def test_names_that_only_a_challenge_can_prove_are_refused_without_challenges(house: House) -> None:
    principal = await est(house)
    with pytest.raises(Forbidden, match="challenge"):
        await house.core.ra.enroll(principal, NewOrder(request=request("shop.example.org")))


# --------------------------------------------------------------------------- approval


async def test_a_held_order_is_issued_when_somebody_else_approves(house: House) -> None:
    principal = await est(house, "held")
    new = NewOrder(request=request(NAME), product="held", reference="r")
    held = await house.core.ra.enroll(principal, new)
    assert held.status is OrderStatus.HELD
    with pytest.raises(Forbidden, match="own"):
        await house.core.approval.approve(held.id, operator("user:alice"))
    approved = await house.core.approval.approve(held.id, operator("user:bob"))
    assert approved.status is OrderStatus.VALID
    again = await house.core.ra.enroll(principal, new)
    assert again.serial == approved.serial


async def test_a_rejected_order_never_issues(house: House) -> None:
    principal = await est(house, "held")
    new = NewOrder(request=request(NAME), product="held", reference="r")
    held = await house.core.ra.enroll(principal, new)
    await house.core.approval.reject(held.id, operator("user:bob"), "not ours")
    with pytest.raises(Forbidden, match="not ours"):
        await house.core.ra.enroll(principal, new)
    with pytest.raises(NotReady):
        await house.core.approval.approve(held.id, operator("user:bob"))


# --------------------------------------------------------------------------- the record


async def test_every_step_of_an_order_is_in_the_audit_log(house: House) -> None:
    """Rows: A12."""
    principal, order = await placed(house)
    await house.core.ra.finalize(principal, order.id, request(NAME))
    found, events = await house.core.inventory.order(order.id)
    tags = [event.tag for event in events]
    assert tags == [AuditTag.ORDER_PLACED, AuditTag.ORDER_PROCESSING, AuditTag.CERTIFICATE_ISSUED]
    rules = {step.rule for step in found.trace}
    assert {"identifiers", "proof", "key", "content", "lint"} <= rules


async def test_the_certificate_and_the_valid_order_are_written_together(house: House) -> None:
    """Wherever the store is looked at, `valid` and the certificate are both there, or neither."""
    principal, order = await placed(house)
    seen: list[tuple[str, bool]] = []
    commit = house.core.store.commit

    async def looking(unit: Unit) -> Any:
        result = await commit(unit)
        now = await house.core.store.one(ORDER, order.id)
        certificate = await house.core.store.one(CERTIFICATE_OF_ORDER, order.id)
        seen.append((now.status if now else "", certificate is not None))
        return result

    house.core.store.commit = looking  # type: ignore[method-assign]
    await house.core.ra.finalize(principal, order.id, request(NAME))
    assert seen == [("processing", False), ("valid", True)]


async def test_renewal_needs_the_certificate_of_the_same_credential(house: House) -> None:
    from tests.replacing import replace

    principal = await est(house)
    first = await house.core.ra.enroll(principal, NewOrder(request=request(NAME, cn=NAME)))
    assert first.serial is not None
    found = await house.core.store.one(CERTIFICATE, first.serial)
    assert found is not None
    shown = replace(principal, certificate=first.serial, certificate_der=found[1])
    renewed = await house.core.ra.renew(shown, NewOrder(request=request(NAME, cn=NAME)))
    assert (renewed.kind, renewed.status) == (OrderKind.REKEY, OrderStatus.VALID)
    with pytest.raises(BadCSR, match="names"):
        await house.core.ra.renew(shown, NewOrder(request=request("b.certgate.test", cn=NAME)))
    stranger = replace(await est(house), certificate=first.serial)
    with pytest.raises(Forbidden):
        await house.core.ra.renew(stranger, NewOrder(request=request(NAME, cn=NAME)))
    with pytest.raises(Forbidden):
        await house.core.ra.renew(principal, NewOrder(request=request(NAME, cn=NAME)))


async def test_a_validity_that_cannot_be_granted_is_refused(house: House) -> None:
    """RFC 8555 section 7.4: refused, never changed in silence."""
    from policy.problems import BadTime

    principal = await acme(house, "acme/default")
    for new in (
        NewOrder(identifiers=(dns(NAME),), not_after=house.clock() + timedelta(days=400)),
        NewOrder(identifiers=(dns(NAME),), not_after=house.clock() - timedelta(days=1)),
        NewOrder(identifiers=(dns(NAME),), not_before=house.clock() - timedelta(days=30)),
    ):
        with pytest.raises(BadTime):
            await house.core.ra.place(principal, new)
