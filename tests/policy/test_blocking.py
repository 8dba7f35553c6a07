"""Blocks: what was revoked is not issued again, on any door, until the block is lifted or over."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ca_core.status import RevocationReason
from policy.audit import AuditTag
from policy.blocking import BlockKind, read_subject
from policy.order import NewOrder
from policy.problems import AlreadyRevoked, Forbidden, Malformed, OrderConflict
from policy.registration import Certificate
from tests.conftest import ACTOR, House, dns
from tests.policy.making import acme, after_judging, change_product, enrolled, est, events, new_key, request

NAME, BELOW = "a.certgate.test", "x.a.certgate.test"


async def revoked(house: House, *kinds: BlockKind, **more: object) -> Certificate:
    """A certificate that was revoked with blocks of these kinds."""
    certificate = await enrolled(house, await est(house), request(NAME, **more))  # type: ignore[arg-type]
    await house.core.revocation.revoke(certificate.stored, RevocationReason.SUPERSEDED, ACTOR.name, block=kinds)
    return certificate


async def test_a_blocked_name_is_issued_on_no_door(house: House) -> None:
    """W4: the client whose certificate was revoked does not get the next one the same night."""
    await revoked(house, BlockKind.IDENTITY)
    with pytest.raises(Forbidden, match=f"blocked: identity:dns:{NAME}"):
        await enrolled(house, await est(house), request(NAME))
    with pytest.raises(Forbidden, match="blocked"):
        await house.core.ra.place(await acme(house, "acme/default"), NewOrder(identifiers=(dns(NAME),)))
    await enrolled(house, await est(house), request("b.certgate.test"))


async def test_a_block_is_listed_and_lifted(house: House) -> None:
    """Who lifts it stands in the log; a lifted one stays in the list."""
    await revoked(house, BlockKind.IDENTITY)
    (block,) = await house.core.lifecycle.blocking.page(status="active")
    await house.core.lifecycle.blocking.lift(block.id, ACTOR, "it was a mistake")
    await enrolled(house, await est(house), request(NAME))
    assert [one.id for one in await house.core.lifecycle.blocking.page(status="lifted")] == [block.id]
    assert [event.object for event in await events(house, AuditTag.BLOCK_LIFTED)] == [f"block:{block.id}"]
    with pytest.raises(OrderConflict):
        await house.core.lifecycle.blocking.lift(block.id, ACTOR, "again")


async def test_a_domain_is_blocked_with_all_below_it(house: House) -> None:
    """And with nothing that only ends alike."""
    await revoked(house, BlockKind.DOMAIN)
    with pytest.raises(Forbidden):
        await enrolled(house, await est(house), request(BELOW))
    await enrolled(house, await est(house), request("not-a.certgate.test"))


async def test_a_key_is_blocked_under_every_name(house: House) -> None:
    """Another key is not."""
    key = new_key()
    await revoked(house, BlockKind.KEY, key=key)
    with pytest.raises(Forbidden, match="blocked: key:"):
        await enrolled(house, await est(house), request("b.certgate.test", key=key))
    await enrolled(house, await est(house), request(NAME))


async def test_a_block_made_while_a_request_is_judged_stops_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard of commit 1 sees what the look before it could not."""

    async def block() -> None:
        await house.core.lifecycle.blocking.block(read_subject("identity", f"dns:{NAME}"), "incident", ACTOR)

    after_judging(house, monkeypatch, block)
    with pytest.raises(Forbidden, match="blocked just now"):
        await enrolled(house, await est(house), request(NAME))
    assert await events(house, AuditTag.CERTIFICATE_ISSUED) == []


async def test_a_block_ends_with_its_time(house: House) -> None:
    """Until then it counts."""
    until = house.clock() + timedelta(days=1)
    await house.core.lifecycle.blocking.block(read_subject("domain", "certgate.test"), "audit", ACTOR, until)
    with pytest.raises(Forbidden):
        await enrolled(house, await est(house), request(NAME))
    house.clock.advance(days=2)
    await enrolled(house, await est(house), request(NAME))


async def test_revocation_and_block_are_one_transaction(house: House) -> None:
    """A certificate that cannot be revoked leaves no block behind."""
    certificate = await revoked(house)
    with pytest.raises(AlreadyRevoked):
        await house.core.revocation.revoke(
            certificate.stored, RevocationReason.SUPERSEDED, ACTOR.name, block=(BlockKind.IDENTITY,)
        )
    assert await house.core.lifecycle.blocking.page() == []


@pytest.mark.parametrize(("kind", "value"), [("name", "dns:a.example"), ("key", "abc"), ("identity", "a.example")])
def test_what_cannot_be_blocked_is_told(kind: str, value: str) -> None:
    """With what would be right."""
    with pytest.raises(Malformed):
        read_subject(kind, value)


async def test_a_product_without_suspension_refuses_to_hold(house: House) -> None:
    """Public TLS knows no suspension: the refusal says so, and nothing changes."""
    certificate = await enrolled(house, await est(house), request(NAME))
    await change_product(house, suspension=False)
    with pytest.raises(Forbidden, match="cannot be suspended"):
        await house.core.revocation.hold(certificate.stored, ACTOR.name)
    assert (await house.core.inventory.certificate(certificate.stored.serial)).said(house.clock()) == "valid"
