"""Who speaks: passwords, certificates, bindings, accounts; and every credential refused at every other door."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from policy.account import AccountStatus
from policy.audit import AuditTag
from policy.codes import Codes
from policy.credential import (
    AccountClaim,
    AuthenticationMethod,
    CertificateClaim,
    ChallengeClaim,
    Claim,
    MACClaim,
    OpenClaim,
    PasswordClaim,
)
from policy.mount import Mount
from policy.order import NewOrder
from policy.problems import AccountBindingRequired, Forbidden, OrderConflict, Problem, RateLimited, Unauthenticated
from policy.registration import NewAccount
from policy.sealing import Secret
from tests.conftest import ACTOR, House
from tests.policy.making import ADDRESS, account, binding, est, new_key, request, spki

EST = "est/default"


async def password(house: House, **more: Any) -> tuple[str, PasswordClaim]:
    made = await house.credential("est", "tls", **more)
    return made.credential.id, PasswordClaim(made.credential.identifier, Secret((made.secret or "").encode()))


async def tried(house: House, *claims: Any, mount: str = EST, address: str = ADDRESS) -> Any:
    return await house.core.ra.authenticate(mount, claims, address)


async def test_the_right_password_proves_the_credential(house: House) -> None:
    credential, claim = await password(house)
    assert (await tried(house, claim)).credential.id == credential


async def test_wrong_names_and_passwords_are_told_alike_and_audited(house: House) -> None:
    _, claim = await password(house)
    said = set()
    for wrong in (PasswordClaim(claim.username, Secret(b"no")), PasswordClaim("nobody", claim.password)):
        with pytest.raises(Unauthenticated) as told:
            await tried(house, wrong)
        said.add(told.value.detail)
    assert len(said) == 1
    events = [event async for _, event in house.core.inventory.audit()]
    assert sum(event.tag is AuditTag.AUTHENTICATION_FAILED for event in events) == 2
    assert "no" not in str([event.detail.get("password") for event in events])


async def test_nothing_shown_is_not_enough(house: House) -> None:
    with pytest.raises(Unauthenticated):
        await tried(house)


@pytest.mark.parametrize("what", ["suspend", "revoke", "expire", "early", "address"])
async def test_a_proven_credential_that_may_not_be_used_is_told_plainly(house: House, what: str) -> None:
    now = house.clock()
    options: dict[str, dict[str, Any]] = {
        "expire": {"expires": now + timedelta(hours=1)},
        "early": {"not_before": now + timedelta(hours=1)},
        "address": {"allowed_cidrs": ("10.0.0.0/8",)},
    }
    credential, claim = await password(house, **options.get(what, {}))
    if what == "suspend":
        await house.core.administration.suspend_credential(credential, ACTOR)
    if what == "revoke":
        await house.core.administration.revoke_credential(credential, "gone", ACTOR)
    if what == "expire":
        house.clock.advance(hours=2)
    with pytest.raises(Forbidden):
        await tried(house, claim)


async def test_rotation_has_an_overlap_that_may_be_zero(house: House) -> None:
    credential, old = await password(house)
    rotated = await house.core.administration.rotate_credential(credential, 600, ACTOR)
    new = PasswordClaim(old.username, Secret((rotated.secret or "").encode()))
    await tried(house, old)
    await tried(house, new)
    house.clock.advance(minutes=11)
    with pytest.raises(Unauthenticated):
        await tried(house, old)
    newest = await house.core.administration.rotate_credential(credential, 0, ACTOR)
    with pytest.raises(Unauthenticated):
        await tried(house, new)
    await tried(house, PasswordClaim(old.username, Secret((newest.secret or "").encode())))


async def test_revoked_is_terminal(house: House) -> None:
    credential, claim = await password(house)
    admin = house.core.administration
    await admin.revoke_credential(credential, "gone", ACTOR)
    for attempt in (
        admin.resume_credential(credential, ACTOR),
        admin.suspend_credential(credential, ACTOR),
        admin.rotate_credential(credential, 0, ACTOR),
        admin.revoke_credential(credential, "again", ACTOR),
        house.credential("est", "tls", identifier=claim.username),
    ):
        with pytest.raises(OrderConflict):
            await attempt


async def test_a_certificate_authenticates_the_credential_that_enrolled_it(house: House) -> None:
    principal = await est(house)
    order = await house.core.ra.enroll(principal, NewOrder(request=request("a.certgate.test")))
    der = (await house.core.ra.certificate_of(order)).der
    shown = await tried(house, CertificateClaim(der))
    assert (shown.credential.id, shown.certificate) == (principal.credential.id, order.serial)
    await house.core.administration.revoke_credential(principal.credential.id, "gone", ACTOR)
    with pytest.raises(Forbidden):
        await tried(house, CertificateClaim(der))


async def test_a_revoked_or_expired_certificate_authenticates_nobody(house: House) -> None:
    principal = await est(house)
    orders = [await house.core.ra.enroll(principal, NewOrder(request=request("a.certgate.test"))) for _ in range(2)]
    ders = [(await house.core.ra.certificate_of(order)).der for order in orders]
    await house.core.ra.revoke(principal, ders[0], None)
    with pytest.raises(Forbidden, match="revoked"):
        await tried(house, CertificateClaim(ders[0]))
    house.clock.advance(days=91)
    with pytest.raises(Forbidden, match="expired"):
        await tried(house, CertificateClaim(ders[1]))


async def test_password_and_certificate_must_agree(house: House) -> None:
    """Trap T15: two identities in one request are one too many."""
    principal = await est(house)
    order = await house.core.ra.enroll(principal, NewOrder(request=request("a.certgate.test")))
    der = (await house.core.ra.certificate_of(order)).der
    _, other = await password(house)
    with pytest.raises(Unauthenticated, match="different"):
        await tried(house, other, CertificateClaim(der))


async def test_every_credential_is_refused_at_every_other_door(house: House) -> None:
    """The matrix of credentials and doors passes on its diagonal only."""
    acme = await house.credential("acme", "tls")
    est_id, claim = await password(house)
    assert est_id
    with pytest.raises(Problem):
        await tried(house, claim, mount="acme/default")
    with pytest.raises(Problem):
        await tried(house, binding(acme.credential.identifier), mount=EST)
    with pytest.raises(Problem):
        await tried(house, PasswordClaim(acme.credential.identifier, Secret((acme.secret or "").encode())))
    own = await account(house)
    with pytest.raises(Problem):
        await tried(house, AccountClaim(own), mount=EST)
    with pytest.raises(Problem):
        await tried(house, AccountClaim(own), mount="acme/default")
    with pytest.raises(Problem):
        await tried(house, OpenClaim(), mount=EST)


async def test_a_cmp_credential_is_refused_at_every_other_door(house: House) -> None:
    """The row and the column of CMP in the matrix: its secret and its certificates elsewhere, those of others there."""
    mount = Mount("cmp", "default", ("device", "tls"), "issuing")
    await house.core.administration.apply_mount(mount, ACTOR)
    made = await house.credential("cmp", "tls")
    reference, secret = made.credential.identifier, Secret((made.secret or "").encode())
    mac = MACClaim(reference, _checks(secret))
    principal = await tried(house, mac, mount="cmp/default")
    assert principal.protector is not None
    order = await house.core.ra.enroll(principal, NewOrder(request=request("a.certgate.test")))
    own = CertificateClaim((await house.core.ra.certificate_of(order)).der)
    assert (await tried(house, own, mount="cmp/default")).renewal_only
    mine: list[Claim] = [mac, own, PasswordClaim(reference, secret)]
    for claim in mine:
        for door in (EST, "acme/default"):
            with pytest.raises(Problem):
                await tried(house, claim, mount=door)
    _, other = await password(house)
    acme = await house.credential("acme", "tls")
    theirs = await house.core.ra.enroll(await est(house), NewOrder(request=request("b.certgate.test")))
    shown = CertificateClaim((await house.core.ra.certificate_of(theirs)).der)
    foreign: list[Claim] = [
        *(other, shown, binding(acme.credential.identifier), OpenClaim(), AccountClaim(await account(house))),
        MACClaim(other.username, _checks(other.password)),
        MACClaim(acme.credential.identifier, lambda _: _Mark()),
    ]
    for claim in foreign:
        with pytest.raises(Problem):
            await tried(house, claim, mount="cmp/default")


class _Mark:
    def protect(self, data: bytes) -> bytes:
        return data


def _checks(expected: Secret) -> Callable[[Secret], _Mark]:
    def verify(secret: Secret) -> _Mark:
        if secret.reveal() != expected.reveal():
            raise Unauthenticated("wrong")
        return _Mark()

    return verify


async def test_a_scep_credential_is_refused_at_every_other_door(house: House) -> None:
    """The row and the column of SCEP in the matrix: challenges, one-time codes and certificates."""
    door, csr = "scep/default", request("a.certgate.test")
    made = await house.credential("scep", "tls")
    secret = Secret((made.secret or "").encode())
    once = await house.credential("scep", "tls", method=AuthenticationMethod.ONE_TIME)
    codes = Codes(house.core.store, house.core.sealing, house.clock)
    code, _ = await codes.make(once.credential, timedelta(hours=1), 5, ACTOR.name)
    shown = ChallengeClaim(made.credential.identifier, secret, csr)
    principal = await tried(house, shown, mount=door)
    assert (await tried(house, ChallengeClaim("", code, csr), mount=door)).code is not None
    order = await house.core.ra.enroll(principal, NewOrder(request=csr))
    own = CertificateClaim((await house.core.ra.certificate_of(order)).der)
    assert (await tried(house, own, mount=door)).renewal_only
    password_of_it = PasswordClaim(made.credential.identifier, secret)
    mine: list[Claim] = [shown, ChallengeClaim("", code, csr), own, password_of_it]
    for claim in mine:
        for other in (EST, "acme/default"):
            with pytest.raises(Problem):
                await tried(house, claim, mount=other)
    _, theirs = await password(house)
    acme = await house.credential("acme", "tls")
    issued = await house.core.ra.enroll(await est(house), NewOrder(request=request("b.certgate.test")))
    foreign: list[Claim] = [
        *(theirs, binding(acme.credential.identifier), OpenClaim(), AccountClaim(await account(house))),
        CertificateClaim((await house.core.ra.certificate_of(issued)).der),
        ChallengeClaim(theirs.username, theirs.password, csr),
        ChallengeClaim(acme.credential.identifier, Secret((acme.secret or "").encode()), csr),
    ]
    for claim in foreign:
        with pytest.raises(Problem):
            await tried(house, claim, mount=door)


async def test_a_credential_keeps_to_its_mounts(house: House) -> None:
    _, claim = await password(house, mounts=("est/default",))
    await tried(house, claim)
    made = await house.credential("acme", "tls", mounts=("acme/open",))
    with pytest.raises(Forbidden):
        await tried(house, binding(made.credential.identifier), mount="acme/default")


async def test_a_directory_with_binding_takes_nobody_without(house: House) -> None:
    with pytest.raises(AccountBindingRequired):
        await house.core.ra.register("acme/default", new_account(), [OpenClaim()], ADDRESS)
    with pytest.raises(Unauthenticated):
        await house.core.ra.register("acme/default", new_account(), [binding("nobody", good=False)], ADDRESS)
    with pytest.raises(Unauthenticated):
        await house.core.ra.register("acme/default", new_account(), [binding("nobody")], ADDRESS)


def new_account() -> NewAccount:
    key = spki(new_key())
    return NewAccount(key, {}, key.hex()[-40:])


async def test_a_binding_for_one_account_makes_one_account_however_many_ask(house: House) -> None:
    """Trap T-7. Rows: T-7."""
    made = await house.credential("acme", "tls", use_limit=1)
    claim = binding(made.credential.identifier)
    outcomes = await asyncio.gather(
        *(house.core.ra.register("acme/default", new_account(), [claim], ADDRESS) for _ in range(10)),
        return_exceptions=True,
    )
    assert sum(not isinstance(one, Exception) for one in outcomes) == 1
    assert sum(isinstance(one, Forbidden) for one in outcomes) == 9


async def test_revoking_the_credential_stops_its_accounts(house: House) -> None:
    made = await house.credential("acme", "tls")
    claim = binding(made.credential.identifier)
    registered = await house.core.ra.register("acme/default", new_account(), [claim], ADDRESS)
    await tried(house, AccountClaim(registered), mount="acme/default")
    await house.core.administration.revoke_credential(made.credential.id, "gone", ACTOR)
    with pytest.raises(Forbidden):
        await tried(house, AccountClaim(registered), mount="acme/default")


async def test_a_deactivated_account_is_nobody(house: House) -> None:
    own = await account(house)
    principal = await tried(house, AccountClaim(own), mount="acme/open")
    gone = await house.core.ra.deactivate_account(principal)
    assert gone.status is AccountStatus.DEACTIVATED
    with pytest.raises(Unauthenticated):
        await tried(house, AccountClaim(gone), mount="acme/open")
    with pytest.raises((OrderConflict, Forbidden)):
        new = NewAccount(own.spki, own.jwk, own.thumbprint)
        await house.core.ra.register("acme/open", new, [OpenClaim()], ADDRESS)


async def test_a_rolled_over_key_is_dead_at_once_and_may_not_be_taken_twice(house: House) -> None:
    """Traps T-13: no cache keeps the old key alive. Rows: T-13."""
    own, other = await account(house), await account(house)
    principal = await tried(house, AccountClaim(own), mount="acme/open")
    with pytest.raises(OrderConflict):
        await house.core.ra.rollover(principal, other.spki, {}, other.thumbprint)
    key = spki(new_key())
    await house.core.ra.rollover(principal, key, {}, "new-thumbprint")
    assert (await house.core.ra.account("acme/open", own.id)).spki == key
    assert await house.core.ra.account_by_key("acme/open", own.thumbprint) is None


async def test_failed_authentications_from_one_address_are_limited(house: House) -> None:
    wrong = PasswordClaim("nobody", Secret(b"no"))
    outcomes = []
    for _ in range(310):
        try:
            await tried(house, wrong, address="192.0.2.7")
        except Problem as problem:
            outcomes.append(type(problem))
    assert outcomes[-1] is RateLimited
    assert (await est(house)).address == ADDRESS  # other addresses are served


async def test_a_password_chosen_by_a_person_is_kept_as_argon2id(house: House) -> None:
    import argon2

    from policy.credential import SecretForm, StoredSecret
    from policy.store import CREDENTIAL, Unit

    credential, claim = await password(house)
    stored = await house.core.store.one(CREDENTIAL, credential)
    assert stored is not None
    from tests.replacing import replace

    hashed = argon2.PasswordHasher(time_cost=1, memory_cost=1024).hash("correct horse").encode()
    secret = StoredSecret(SecretForm.ARGON2ID, hashed, house.clock())
    unit = Unit()
    unit.save(replace(stored, secrets=(secret,), version=stored.version + 1))
    await house.core.store.commit(unit)
    await tried(house, PasswordClaim(claim.username, Secret(b"correct horse")))
    with pytest.raises(Unauthenticated):
        await tried(house, PasswordClaim(claim.username, Secret(b"wrong horse")))


async def test_methods_fit_the_type(house: House) -> None:
    from policy.problems import Malformed

    for wrong in (
        {"method": AuthenticationMethod.EAB},
        {"mounts": ("est/nowhere",)},
        {"use_limit": 0},
    ):
        with pytest.raises(Malformed):
            await house.credential("est", "tls", **wrong)
