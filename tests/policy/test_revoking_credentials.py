"""Revoking a credential: what ends with it, also what was being signed; whose it is; by which name it is found."""

from __future__ import annotations

from typing import Any

import pytest

import policy.authorizing
from ca_core.status import CertificateState, RevocationReason
from policy.account import Group, User
from policy.acting import operator
from policy.credential import PasswordClaim
from policy.order import NewOrder, OrderStatus
from policy.problems import Forbidden, Malformed, NotReady, Unavailable
from policy.revocation import CASCADE_JOB
from policy.sealing import Secret
from policy.store import CERTIFICATE_STATUS, CREDENTIAL, ORDER, StoreUnavailable
from tests.conftest import ACTOR, House, dns
from tests.policy.making import ADDRESS, acme, crash_while_signing, enrolled, est, request

NAME = "a.certgate.test"
STOLEN = RevocationReason.KEY_COMPROMISE


async def states(house: House, credential: str) -> list[CertificateState]:
    page = await house.core.inventory.certificate_page(credential=credential)
    return [one.status.state for one in page if one.status is not None]


async def do_cascades(house: House) -> int:
    """Do the jobs that are due as the worker does them; how many there were."""
    jobs = await house.core.store.lease_jobs((CASCADE_JOB,), house.clock(), 60, 10)
    for job in jobs:
        await house.core.administration.finish_revocation(job.object, "system:revocation")
    return len(jobs)


# --------------------------------------------------------------------------- what ends with it


async def test_what_was_being_signed_is_revoked_once_it_is_recorded(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing leaves `processing` but the outcome of signing; a cascade gets it all the same."""
    principal = await est(house)
    with crash_while_signing(house, monkeypatch):
        await house.core.ra.enroll(principal, NewOrder(request=request(NAME)))
    admin = house.core.administration
    _, ended, revoked = await admin.revoke_credential(principal.credential.id, "stolen", ACTOR, cascade=STOLEN)
    assert (ended, revoked) == (0, 0)
    assert await house.core.recovery.finish_open() == 1
    assert await do_cascades(house) == 1
    (found,) = await house.core.inventory.certificate_page(credential=principal.credential.id)
    assert found.status is not None
    assert (found.status.state, found.status.reason) == (CertificateState.REVOKED, STOLEN)


async def test_what_was_being_signed_stays_valid_where_no_cascade_was_wanted(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Revoking a credential alone says nothing about its certificates."""
    principal = await est(house)
    with crash_while_signing(house, monkeypatch):
        await house.core.ra.enroll(principal, NewOrder(request=request(NAME)))
    await house.core.administration.revoke_credential(principal.credential.id, "left", ACTOR)
    await house.core.recovery.finish_open()
    house.clock.advance(minutes=2)
    await do_cascades(house)
    assert await states(house, principal.credential.id) == [CertificateState.VALID]


async def test_a_cascade_that_was_interrupted_is_finished_by_its_job(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The credential is dead at once; what follows is written down as owed in the same commit."""
    principal = await est(house)
    for _ in range(2):
        await enrolled(house, principal, request(NAME))
    credential = principal.credential.id

    async def fail(*_: Any) -> int:
        raise StoreUnavailable("disk full")

    with monkeypatch.context() as failure:
        failure.setattr(house.core.revocation, "cascade", fail)
        with pytest.raises(Unavailable):
            await house.core.administration.revoke_credential(credential, "stolen", ACTOR, cascade=STOLEN)
    with pytest.raises(Forbidden):
        await house.core.ra.enroll(principal, NewOrder(request=request(NAME)))
    house.clock.advance(minutes=2)
    assert await do_cascades(house) == 1
    assert await states(house, credential) == [CertificateState.REVOKED] * 2


async def test_finishing_a_revocation_twice_changes_nothing(house: House) -> None:
    """What is done is not there any more."""
    principal = await est(house)
    certificate = await enrolled(house, principal, request(NAME))
    admin = house.core.administration
    await admin.revoke_credential(principal.credential.id, "stolen", ACTOR, cascade=STOLEN)
    before = await house.core.store.one(CERTIFICATE_STATUS, certificate.stored.serial)
    house.clock.advance(minutes=2)
    assert await admin.finish_revocation(principal.credential.id, ACTOR.name) == (0, 0)
    assert await house.core.store.one(CERTIFICATE_STATUS, certificate.stored.serial) == before


async def test_open_orders_end_however_many_are_being_signed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders in `processing`, which cannot be ended, do not hide those that can."""
    monkeypatch.setattr(policy.authorizing, "ORDERS_AT_ONCE", 2)
    principal = await acme(house, "acme/default")
    new = NewOrder(identifiers=(dns(NAME),))
    for _ in range(3):
        signing = await house.core.ra.place(principal, new)
        with crash_while_signing(house, monkeypatch):
            await house.core.ra.finalize(principal, signing.id, request(NAME))
    waiting = [await house.core.ra.place(principal, new) for _ in range(3)]
    _, ended, _ = await house.core.administration.revoke_credential(principal.credential.id, "left", ACTOR)
    assert ended == 3
    for order in waiting:
        found = await house.core.store.one(ORDER, order.id)
        assert found is not None
        assert found.status is OrderStatus.INVALID


async def test_a_held_order_of_a_revoked_credential_cannot_be_approved(house: House) -> None:
    """It ended with its credential."""
    principal = await est(house, "held")
    held = await house.core.ra.enroll(principal, NewOrder(request=request(NAME), product="held"))
    await house.core.administration.revoke_credential(principal.credential.id, "left", ACTOR)
    with pytest.raises(NotReady):
        await house.core.approval.approve(held.id, operator("user:bob"))


# --------------------------------------------------------------------------- by which name


async def test_a_name_of_several_credentials_is_refused_with_their_ids(house: House) -> None:
    """An identifier is unique per type only, and the wrong one must not be revoked."""
    ids = [(await house.credential(kind, identifier="same")).credential.id for kind in ("acme", "est")]
    with pytest.raises(Malformed) as told:
        await house.core.administration.revoke_credential("same", "left", ACTOR)
    assert all(one in told.value.detail for one in ids)
    revoked, *_ = await house.core.administration.revoke_credential(ids[1], "left", ACTOR)
    assert revoked.id == ids[1]


async def test_an_id_is_never_taken_for_the_identifier_of_another_credential(house: House) -> None:
    """Nobody can call a credential by the id of another one and be revoked in its place."""
    victim = (await house.credential("est")).credential
    await house.credential("acme", identifier=victim.id)
    assert (await house.core.administration.credential(victim.id)).id == victim.id


# --------------------------------------------------------------------------- whose it is


async def set_active(house: House, whose: str, active: bool) -> None:
    if whose == "user":
        await house.core.people.apply_user(User("alice", ("ops",), active=active), ACTOR)
    else:
        await house.core.people.apply_group(Group("ops", active=active), ACTOR)


@pytest.mark.parametrize("whose", ["user", "group"])
async def test_a_credential_rests_with_its_user_and_group(house: House, whose: str) -> None:
    """Deactivated, nobody logs in or orders with it; active again, it goes on as before."""
    made = await house.credential("est")
    claim = PasswordClaim(made.credential.identifier, Secret((made.secret or "").encode()))
    principal = await house.core.ra.authenticate("est/default", [claim], ADDRESS)
    account = await acme(house)
    await set_active(house, whose, False)
    with pytest.raises(Forbidden, match="deactivated"):
        await house.core.ra.authenticate("est/default", [claim], ADDRESS)
    with pytest.raises(Forbidden):
        await house.core.ra.enroll(principal, NewOrder(request=request(NAME)))
    with pytest.raises(Forbidden):
        await house.core.ra.place(account, NewOrder(identifiers=(dns(NAME),)))
    await set_active(house, whose, True)
    again = await house.core.ra.authenticate("est/default", [claim], ADDRESS)
    assert (await house.core.ra.enroll(again, NewOrder(request=request(NAME)))).status is OrderStatus.VALID


async def test_the_cascade_of_a_credential_is_part_of_it(house: House) -> None:
    """Whoever finishes the revocation later, on whatever server, finds what was wanted."""
    principal = await est(house)
    await house.core.administration.revoke_credential(principal.credential.id, "stolen", ACTOR, cascade=STOLEN)
    stored = await house.core.store.one(CREDENTIAL, principal.credential.id)
    assert stored is not None
    assert stored.cascade is STOLEN
