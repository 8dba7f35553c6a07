"""Keys: what was shown to be compromised is blocked with all its certificates; a stopped account's key is dead."""

from __future__ import annotations

import asyncio

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ca_core.status import CertificateState, RevocationReason
from policy.audit import AuditTag
from policy.credential import AccountClaim, OpenClaim
from policy.order import NewOrder, OrderStatus
from policy.problems import AlreadyRevoked, BadPublicKey, Forbidden, OrderConflict
from policy.registration import KeyHolder, NewAccount
from policy.revocation import BLOCKED_KEY_JOB
from policy.sealing import fingerprint
from policy.store import CERTIFICATE_STATUS, ISSUANCES_OPEN
from tests.conftest import ACTOR, House
from tests.policy.making import ADDRESS, after_judging, binding, enrolled, est, events, new_key, request, spki

NAME = "a.certgate.test"
COMPROMISED = RevocationReason.KEY_COMPROMISE


def holder(key: ec.EllipticCurvePrivateKey) -> KeyHolder:
    return KeyHolder(spki(key), "acme/open", ADDRESS)


async def state(house: House, serial: str) -> tuple[CertificateState, RevocationReason | None]:
    found = await house.core.store.one(CERTIFICATE_STATUS, serial)
    assert found is not None
    return found.state, found.reason


# --------------------------------------------------------------------------- compromised keys


async def test_a_compromised_key_is_blocked_although_its_certificate_was_revoked_before(house: House) -> None:
    """The client is told that nothing was left to revoke; the key is as compromised as before."""
    key, principal = new_key(), await est(house)
    certificate = await enrolled(house, principal, request(NAME, key=key))
    await house.core.ra.revoke(principal, certificate.der, RevocationReason.SUPERSEDED)
    with pytest.raises(AlreadyRevoked):
        await house.core.ra.revoke(holder(key), certificate.der, COMPROMISED)
    with pytest.raises(BadPublicKey, match="blocked"):
        await house.core.ra.enroll(principal, NewOrder(request=request(NAME, key=key)))
    assert [event.object for event in await events(house, AuditTag.KEY_BLOCKED)] == [f"key:{fingerprint(spki(key))}"]


async def test_the_other_certificates_of_a_compromised_key_are_revoked_by_its_job(house: House) -> None:
    """Whoever has the key can use all of them, of whatever credential they are. Rows: T-23."""
    key, owners = new_key(), [await est(house), await est(house)]
    certificates = [await enrolled(house, one, request(NAME, key=key)) for one in (*owners, owners[0])]
    unconcerned = await enrolled(house, owners[0], request(NAME))
    await house.core.ra.revoke(holder(key), certificates[0].der, COMPROMISED)
    (job,) = await house.core.store.lease_jobs((BLOCKED_KEY_JOB,), house.clock(), 60, 10)
    assert job.object == fingerprint(spki(key))
    assert await house.core.revocation.revoke_siblings(job.object) == 2
    for one in certificates:
        assert await state(house, one.stored.serial) == (CertificateState.REVOKED, COMPROMISED)
    assert (await state(house, unconcerned.stored.serial))[0] is CertificateState.VALID
    assert await house.core.revocation.revoke_siblings(job.object) == 0


async def test_another_reason_blocks_no_key(house: House) -> None:
    """A key that is merely not needed any more may be certified again."""
    key, principal = new_key(), await est(house)
    certificate = await enrolled(house, principal, request(NAME, key=key))
    await house.core.ra.revoke(holder(key), certificate.der, RevocationReason.CESSATION_OF_OPERATION)
    again = await house.core.ra.enroll(principal, NewOrder(request=request(NAME, key=key)))
    assert again.status is OrderStatus.VALID


async def test_the_word_of_an_account_blocks_no_key(house: House) -> None:
    """Only a signature with the key shows that somebody has it: a word may be about the key of somebody else."""
    key, principal = new_key(), await est(house)
    certificate = await enrolled(house, principal, request(NAME, key=key))
    await house.core.ra.revoke(principal, certificate.der, COMPROMISED)
    again = await house.core.ra.enroll(principal, NewOrder(request=request(NAME, key=key)))
    assert again.status is OrderStatus.VALID


async def test_a_key_blocked_after_judging_is_not_certified(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard of commit 1 looks at the list of blocked keys again."""
    key, principal = new_key(), await est(house)
    certificate = await enrolled(house, principal, request(NAME, key=key))
    after_judging(house, monkeypatch, lambda: house.core.ra.revoke(holder(key), certificate.der, COMPROMISED))
    with pytest.raises(BadPublicKey, match="blocked"):
        await house.core.ra.enroll(principal, NewOrder(request=request(NAME, key=key)))
    assert await house.core.store.many(ISSUANCES_OPEN, 10) == []


async def test_parallel_reports_of_one_compromised_key_block_it_once_and_for_all(house: House) -> None:
    """Reporting twice is no fault of the client's: the second is told that the certificate is revoked already."""
    key, principal = new_key(), await est(house)
    certificate = await enrolled(house, principal, request(NAME, key=key))
    outcomes = await asyncio.gather(
        *(house.core.ra.revoke(holder(key), certificate.der, COMPROMISED) for _ in range(5)), return_exceptions=True
    )
    assert sum(one is None for one in outcomes) == 1
    assert sum(isinstance(one, AlreadyRevoked) for one in outcomes) == 4


# --------------------------------------------------------------------------- account keys


async def stopped(house: House, how: str, new: NewAccount) -> None:
    """Register an account behind a binding, and stop it."""
    made = await house.credential("acme")
    account = await house.core.ra.register("acme/default", new, [binding(made.credential.identifier)], ADDRESS)
    if how == "deactivated":
        principal = await house.core.ra.authenticate("acme/default", [AccountClaim(account)], ADDRESS)
        await house.core.ra.deactivate_account(principal)
    else:
        await house.core.administration.revoke_credential(made.credential.id, "stolen", ACTOR)


@pytest.mark.parametrize("how", ["deactivated", "revoked"])
async def test_the_key_of_a_stopped_account_registers_nowhere(house: House, how: str) -> None:
    """Neither at its own directory nor at one that is open to everybody. Rows: T-20."""
    new = NewAccount(spki(new_key()), {"kty": "EC"}, "thumbprint")
    await stopped(house, how, new)
    other = await house.credential("acme")
    with pytest.raises((Forbidden, OrderConflict)):
        await house.core.ra.register("acme/default", new, [binding(other.credential.identifier)], ADDRESS)
    with pytest.raises(Forbidden, match="new account key"):
        await house.core.ra.register("acme/open", new, [OpenClaim()], ADDRESS)


async def test_the_key_of_a_live_account_may_have_one_account_per_directory(house: House) -> None:
    """Clients may keep one key for several directories; only a stopped one is dead everywhere."""
    new = NewAccount(spki(new_key()), {"kty": "EC"}, "thumbprint")
    made = await house.credential("acme")
    await house.core.ra.register("acme/default", new, [binding(made.credential.identifier)], ADDRESS)
    account = await house.core.ra.register("acme/open", new, [OpenClaim()], ADDRESS)
    assert account.mount == "acme/open"
