"""Certificates that take the place of others: renewed, rekeyed, renamed, by hand or by the server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ca_core import der, oids
from ca_core.crmf import read_recorded
from ca_core.csr import read_csr
from ca_core.names import write_general_names, write_subject
from ca_core.status import RevocationReason
from policy.acting import operator
from policy.audit import AuditTag
from policy.dossier import Dossier
from policy.fulfilment import RENEW_JOB
from policy.order import NewOrder, Order, OrderKind, OrderStatus
from policy.problems import AlreadyReplaced, Forbidden, Malformed
from policy.succession import Successor
from tests.conftest import ACTOR, House, dns
from tests.policy.making import change_product, est, events, new_key, request
from tests.protocols.est.small import CHANGE_SUBJECT_NAME, change_subject_name, make_csr

NAME, OTHER = "a.certgate.test", "b.certgate.test"


async def first(house: House, principal: Any, *, automatic: bool = False, key: Any = None) -> Any:
    """The certificate of an order with its request."""
    dossier = Dossier(automatic=automatic) if automatic else None
    new = NewOrder(identifiers=(dns(NAME),), request=request(NAME, key=key), dossier=dossier)
    order = await house.core.lifecycle.ordering.place(principal, new)
    return (await house.core.ra.certificate_of(order)).stored


async def followed(house: House, principal: Any, stored: Any, **wanted: Any) -> Order:
    return await house.core.lifecycle.succession.follow(principal, stored, Successor(**wanted))


async def said(house: House, serial: str) -> str:
    return (await house.core.inventory.certificate(serial)).said(house.clock())


async def test_the_kept_request_renews(house: House) -> None:
    """Same key, same names, no further word from the client; the new one names the old one."""
    principal = await est(house)
    old = await first(house, principal)
    order = await followed(house, principal, old)
    new = (await house.core.ra.certificate_of(order)).stored
    assert (order.kind, new.names, new.spki_sha256) == (OrderKind.RENEW, old.names, old.spki_sha256)
    assert new.replaces == old.serial


async def test_a_kept_request_of_cmp_renews(house: House) -> None:
    """RFC 4211: what a client asked for by CMP is kept as a CertRequest, and is read as one."""
    principal = await est(house)
    spki = request(NAME).spki
    names = der.sequence(der.extension(oids.SUBJECT_ALT_NAME, write_general_names((dns(NAME),))))
    subject = der.tlv(0xA5, write_subject((("CN", NAME),)))
    key, extensions = (b"".join(der.elements(one)) for one in (spki, names))
    template = der.sequence(subject, der.tlv(0xA6, key), der.tlv(0xA9, extensions))
    asked = read_recorded(der.sequence(der.integer(0), template))
    order = await house.core.ra.enroll(principal, NewOrder(request=asked))
    old = (await house.core.ra.certificate_of(order)).stored
    following = await followed(house, principal, old)
    assert (await house.core.ra.certificate_of(following)).stored.spki_sha256 == old.spki_sha256


async def test_a_certificate_has_one_successor(house: House) -> None:
    """Of renewals at the same moment one is taken."""
    principal = await est(house)
    old = await first(house, principal)
    outcomes = await asyncio.gather(*(followed(house, principal, old) for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(one, Order) for one in outcomes) == 1
    assert sum(isinstance(one, AlreadyReplaced) for one in outcomes) == 3


async def test_another_key_is_asked_for_or_handed_in(house: House) -> None:
    """Rekey waits for a request; the old key is refused."""
    principal, key = await est(house), new_key()
    old = await first(house, principal, key=key)
    with pytest.raises(Malformed, match="another one"):
        await followed(house, principal, old, new_key=True, request=request(NAME, key=key))
    order = await followed(house, principal, old, new_key=True)
    assert (order.kind, order.status) == (OrderKind.REKEY, OrderStatus.READY)
    done = await house.core.lifecycle.ordering.hand_in(principal, order, request(NAME))
    assert done.status is OrderStatus.VALID


async def test_names_are_changed_and_the_old_one_is_revoked(house: House) -> None:
    """The old certificate is revoked by the job that is written with the new one, for the reason that was given."""
    principal = await est(house)
    old = await first(house, principal)
    order = await followed(
        house,
        principal,
        old,
        identifiers=(dns(NAME), dns(OTHER)),
        request=request(NAME, OTHER),
        retire=RevocationReason.SUPERSEDED,
    )
    assert (order.kind, order.status) == (OrderKind.CHANGE_NAMES, OrderStatus.VALID)
    assert await said(house, old.serial) == "valid"
    (job,) = await house.core.store.lease_jobs(("retire",), house.clock(), 60, 10)
    await house.core.lifecycle.succession.retire(job.object)
    await house.core.lifecycle.succession.retire(job.object)
    assert await said(house, old.serial) == "revoked"


async def test_names_that_have_nothing_in_common_are_another_order(house: House) -> None:
    """A successor shares a name with what it succeeds."""
    principal = await est(house)
    old = await first(house, principal)
    with pytest.raises(Forbidden, match="shares no name"):
        await followed(house, principal, old, identifiers=(dns(OTHER),), request=request(OTHER))


@pytest.mark.parametrize("how", ["hold", "revoke"])
async def test_what_is_not_valid_has_no_successor(house: House, how: str) -> None:
    """A revoked certificate does not come back by being renewed."""
    principal = await est(house)
    old = await first(house, principal)
    if how == "hold":
        await house.core.revocation.hold(old, ACTOR.name)
    else:
        await house.core.revocation.revoke(old, None, ACTOR.name)
    with pytest.raises(Forbidden, match="no successor"):
        await followed(house, principal, old)


# --------------------------------------------------------------------------- by the server


async def due(house: House) -> list[str]:
    """The certificates whose renewal is due."""
    return [job.object for job in await house.core.store.lease_jobs((RENEW_JOB,), house.clock(), 1, 10)]


async def test_the_server_renews_when_the_window_opens(house: House) -> None:
    """With the request that was kept; the new one renews itself as well."""
    old = await first(house, await est(house), automatic=True)
    assert await due(house) == []
    house.clock.advance(days=61)
    assert await due(house) == [old.serial]
    assert await house.core.lifecycle.succession.renew(old.serial) is None
    (begun,) = await events(house, AuditTag.RENEWAL_BEGUN)
    order = await house.core.lifecycle.ordering.current(str(begun.detail["order"]))
    assert (order.status, order.requester, order.replaces) == (OrderStatus.VALID, "system:renewal", old.serial)
    house.clock.advance(days=61)
    assert order.serial in await due(house)


async def test_the_server_asks_for_a_request_where_the_key_has_to_change(house: House) -> None:
    """Once, by a message of the outbox that names the order; the order takes the request; half way it escalates."""
    principal = await est(house)
    old = await first(house, principal, automatic=True)
    await change_product(house, renew_same_key=False)
    house.clock.advance(days=61)
    assert await house.core.lifecycle.succession.renew(old.serial) is not None
    (asked,) = await events(house, AuditTag.RENEWAL_WANTS_REQUEST)
    assert asked.object == f"certificate:{old.serial}"
    house.clock.advance(days=1)
    await house.core.lifecycle.succession.renew(old.serial)
    assert await events(house, AuditTag.RENEWAL_ESCALATED) == []
    house.clock.advance(days=5)
    order = await house.core.lifecycle.ordering.current(str(asked.detail["order"]))
    done = await house.core.lifecycle.ordering.hand_in(principal, order, request(NAME))
    assert done.status is OrderStatus.VALID
    assert await house.core.lifecycle.succession.renew(old.serial) is None
    assert len(await events(house, AuditTag.RENEWAL_WANTS_REQUEST)) == 1


async def test_a_renewal_that_is_not_done_is_escalated(house: House) -> None:
    """When half of the time between window and end is gone, every look says so."""
    old = await first(house, await est(house), automatic=True)
    await change_product(house, renew_same_key=False)
    house.clock.advance(days=61)
    await house.core.lifecycle.succession.renew(old.serial)
    house.clock.advance(days=16)
    await house.core.lifecycle.succession.renew(old.serial)
    (escalated,) = await events(house, AuditTag.RENEWAL_ESCALATED)
    assert escalated.detail["names"] == [f"dns:{NAME}"]


async def test_a_renewal_that_the_rules_refuse_is_told(house: House) -> None:
    """The product does not grant the name any more: failed, with the problem, and looked at again."""
    old = await first(house, await est(house), automatic=True)
    await change_product(house, names=type((await house.core.inventory.product("tls")).names)(allowed=("dns:x.test",)))
    house.clock.advance(days=61)
    assert await house.core.lifecycle.succession.renew(old.serial) is not None
    (failed,) = await events(house, AuditTag.RENEWAL_FAILED)
    assert failed.detail["problem"] == "rejected-identifier"


@pytest.mark.parametrize("how", ["credential", "certificate"])
async def test_nothing_renews_itself_after_a_revocation(house: House, how: str) -> None:
    """Neither for a revoked credential nor for a revoked certificate."""
    principal = await est(house)
    old = await first(house, principal, automatic=True)
    if how == "credential":
        await house.core.administration.revoke_credential(principal.credential.id, "stolen", ACTOR)
    else:
        await house.core.revocation.revoke(old, None, ACTOR.name)
    house.clock.advance(days=61)
    await house.core.lifecycle.succession.renew(old.serial)
    assert len(await events(house, AuditTag.CERTIFICATE_ISSUED)) == 1


async def test_what_is_approved_is_what_was_held(house: House) -> None:
    """A ChangeSubjectName is an attribute of EST's renewals: in a request for a successor it changes nothing later."""
    await change_product(house, "held", approval=False)
    principal = await est(house, "held")
    old = await first(house, principal)
    await change_product(house, "held", approval=True)
    other = change_subject_name(OTHER)
    wanted = read_csr(make_csr(NAME, der_attributes=[(CHANGE_SUBJECT_NAME, other)]))
    order = await followed(house, principal, old, request=wanted)
    assert order.status is OrderStatus.HELD
    issued = await house.core.approval.approve(order.id, operator("user:bob"))
    stored = (await house.core.ra.certificate_of(issued)).stored
    assert (stored.subject, stored.names) == ((("CN", NAME),), (dns(NAME),))
