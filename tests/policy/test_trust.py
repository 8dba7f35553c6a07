"""Trust and proof: a credential that is trusted with a name has not proven it, and proofs serve what they were for."""

from __future__ import annotations

from typing import Any

import pytest

from ca_core.status import RevocationReason
from policy.order import NewOrder, Order, OrderStatus
from policy.problems import Forbidden, NotReady
from tests.conftest import House, dns
from tests.policy.making import acme, change_validation, enrolled, est, proven, request

NAME = "a.certgate.test"
SHOP = "shop.example.org"


async def placed(house: House, principal: Any, name: str) -> Order:
    return await house.core.ra.place(principal, NewOrder(identifiers=(dns(name),)))


# --------------------------------------------------------------------------- what may serve again


async def test_what_a_credential_is_trusted_with_is_no_proof_once_the_trust_is_withdrawn(house: House) -> None:
    """The authorization of a trusted name says "valid" to the client and is never reused."""
    await change_validation(house, reuse_seconds=3 * 86400)
    principal = await acme(house)
    assert (await placed(house, principal, NAME)).status is OrderStatus.READY
    await change_validation(house, trusted=())
    order = await placed(house, principal, NAME)
    assert order.status is OrderStatus.PENDING
    with pytest.raises(NotReady, match="owed"):
        await house.core.ra.finalize(principal, order.id, request(NAME))


async def test_a_proof_from_before_serves_where_trust_was_withdrawn(house: House) -> None:
    """What was proven by a challenge stays proven, whatever the product trusted in between."""
    await change_validation(house, reuse_seconds=3 * 86400, trusted=())
    principal = await acme(house)
    first = await proven(house, principal, NAME)
    await change_validation(house, trusted=("dns:*.certgate.test",))
    assert (await placed(house, principal, NAME)).authorizations != first.authorizations
    await change_validation(house, trusted=())
    assert (await placed(house, principal, NAME)).authorizations == first.authorizations


async def test_a_method_that_the_product_dropped_proves_nothing_any_more(house: House) -> None:
    """A proof is reused only where the product would still take it."""
    await change_validation(house, reuse_seconds=3 * 86400)
    principal = await acme(house)
    await proven(house, principal, SHOP)
    await change_validation(house, methods=("dns-01",))
    order = await placed(house, principal, SHOP)
    assert order.status is OrderStatus.PENDING
    (authorization,) = await house.core.ra.authorizations(order)
    assert [one.type for one in authorization.challenges] == ["dns-01"]


async def test_the_trace_tells_a_proof_from_trust(house: House) -> None:
    """An auditor sees by what each name was granted."""
    principal = await acme(house)
    order = await house.core.ra.place(principal, NewOrder(identifiers=(dns(SHOP), dns(NAME))))
    await house.core.ra.answer(principal, order.authorizations[0], "http-01")
    order = await house.core.ra.finalize(principal, order.id, request(SHOP, NAME))
    assert [step.outcome for step in order.trace if step.rule == "proof"] == ["authorized", "trusted"]


# --------------------------------------------------------------------------- the third way of RFC 8555 section 7.6


async def test_trust_revokes_nobody_elses_certificate(house: House) -> None:
    """An open directory trusts everybody with these names; that is no control of them."""
    certificate = await enrolled(house, await est(house), request(NAME))
    stranger = await acme(house)
    await placed(house, stranger, NAME)
    with pytest.raises(Forbidden, match="authorizations"):
        await house.core.ra.revoke(stranger, certificate.der, RevocationReason.KEY_COMPROMISE)


@pytest.mark.parametrize("names", [(SHOP,), (SHOP, NAME)])
async def test_every_name_has_to_be_proven_by_a_challenge_to_revoke(house: House, names: tuple[str, ...]) -> None:
    """One name that is not proven, or only trusted, is one too few."""
    owner = await acme(house)
    order = await house.core.ra.place(owner, NewOrder(identifiers=(dns(SHOP), dns(NAME))))
    await house.core.ra.answer(owner, order.authorizations[0], "http-01")
    order = await house.core.ra.finalize(owner, order.id, request(SHOP, NAME))
    certificate = await house.core.ra.certificate_of(order)
    other = await acme(house)
    await proven(house, other, SHOP)
    for name in names[1:]:
        await placed(house, other, name)
    with pytest.raises(Forbidden):
        await house.core.ra.revoke(other, certificate.der, None)


async def test_a_proof_that_was_given_up_revokes_nothing(house: House) -> None:
    """RFC 8555 section 7.5.2: deactivated is never again sufficient. Rows: R20."""
    owner, other = await acme(house), await acme(house)
    order = await proven(house, owner, SHOP)
    order = await house.core.ra.finalize(owner, order.id, request(SHOP))
    proof = await proven(house, other, SHOP)
    await house.core.ra.deactivate_authorization(other, proof.authorizations[0])
    with pytest.raises(Forbidden):
        await house.core.ra.revoke(other, (await house.core.ra.certificate_of(order)).der, None)


async def test_nobody_revokes_the_certificate_of_the_service_itself(house: House) -> None:
    """Who controls the gateway's name, as anybody on its machine may, does not shut its doors with it."""
    key = await house.core.service_keys.get("tls", "issuing", names=(dns("gate.example.org"),))
    principal = await acme(house)
    await proven(house, principal, "gate.example.org")
    with pytest.raises(Forbidden):
        await house.core.ra.revoke(principal, key.key.certificate, RevocationReason.KEY_COMPROMISE)
