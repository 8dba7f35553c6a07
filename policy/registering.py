"""ACME accounts: register, change, roll over the key, deactivate (RFC 8555 section 7.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

from ca_core.algorithms import key_type
from ca_core.clock import Clock
from ca_core.keycheck import check_key
from policy.access import Actor
from policy.account import Account, AccountStatus
from policy.audit import AuditEvent, AuditTag
from policy.authorizing import cancel_open_orders
from policy.credential import Principal
from policy.ids import AccountId, new_id
from policy.limits import PAUSE_LIMIT, Limits
from policy.people import owned_through
from policy.problems import AccountUnknown, BadPublicKey, Forbidden, Malformed, OrderConflict, Unauthenticated
from policy.sealing import fingerprint
from policy.store import (
    ACCOUNT,
    ACCOUNT_BY_KEY,
    KEY_CERTIFIED,
    PAUSES,
    Conflict,
    Pause,
    Store,
    Unit,
    translate_conflict,
)


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What an ACME client hands in to register (RFC 8555 section 7.3). `jwk` is the key as sent, `spki` its DER.

    `binding` is the external account binding as sent, to be echoed.
    """

    spki: bytes
    jwk: dict[str, str]
    thumbprint: str
    contact: tuple[str, ...] = ()
    agreed: str | None = None
    binding: dict[str, Any] | None = None


class Registering:
    """Makes and changes ACME accounts."""

    def __init__(self, store: Store, limits: Limits, clock: Clock) -> None:
        self._store = store
        self._limits = limits
        self._clock = clock

    async def register(self, principal: Principal, new: NewAccount) -> Account:
        """An account for this key, bound to the principal's credential. Raises OrderConflict when the key has one.

        One use of the credential's limit is taken in the same transaction, so that a binding for one account makes
        one account, however many ask at the same moment (trap T-7).
        """
        self._limits.take("new_accounts_per_address", principal.address, "new accounts from this address")
        await self._check_key(new.spki)
        now = self._clock()
        account = Account(
            id=AccountId(new_id()),
            mount=principal.mount,
            credential=principal.credential.id,
            status=AccountStatus.VALID,
            spki=new.spki,
            jwk=new.jwk,
            thumbprint=new.thumbprint,
            contact=new.contact,
            created=now,
            agreed=new.agreed,
            binding=new.binding,
        )
        unit = Unit()
        unit.mount_active(principal.mount)
        unit.account_key_fresh(new.spki)
        unit.key_not_blocked(new.spki)
        unit.credential_spend(principal.credential.id, now)
        unit.insert(account)
        detail = {"credential": account.credential, "mount": account.mount, "thumbprint": account.thumbprint}
        unit.audit(
            AuditEvent(
                AuditTag.ACCOUNT_REGISTERED,
                now,
                str(principal.requester),
                f"account:{account.id}",
                detail | {"address": principal.address},
            )
        )
        await self._commit(unit)
        return account

    async def update(self, principal: Principal, contact: tuple[str, ...] | None, agreed: str | None) -> Account:
        """The account with other contacts, or having agreed to the terms."""
        account = _own(principal)
        changed = replace(
            account,
            contact=account.contact if contact is None else contact,
            agreed=agreed or account.agreed,
            version=account.version + 1,
        )
        detail = {"contacts": len(changed.contact), "agreed": changed.agreed}
        return await self._save(str(principal.requester), changed, AuditTag.ACCOUNT_UPDATED, detail)

    async def rollover(self, principal: Principal, spki: bytes, jwk: dict[str, str], thumbprint: str) -> Account:
        """The account with another key; the old one is dead with the same commit (traps T-13, T-27)."""
        account = _own(principal)
        if await self._store.one(ACCOUNT_BY_KEY, account.mount, thumbprint) is not None:
            raise OrderConflict("this key belongs to an account already")
        await self._check_key(spki)
        changed = replace(account, spki=spki, jwk=jwk, thumbprint=thumbprint, version=account.version + 1)
        detail = {"from": fingerprint(account.spki), "to": fingerprint(spki)}
        actor = str(principal.requester)
        return await self._save(actor, changed, AuditTag.ACCOUNT_REKEYED, detail, fresh=spki)

    async def deactivate(self, principal: Principal) -> Account:
        """The account, deactivated for good; its open orders end with it (RFC 8555 section 7.3.6)."""
        actor = str(principal.requester)
        return await self._end(_own(principal), AccountStatus.DEACTIVATED, AuditTag.ACCOUNT_DEACTIVATED, {}, actor)

    async def _end(
        self, account: Account, status: AccountStatus, tag: AuditTag, detail: dict[str, Any], actor: str
    ) -> Account:
        changed = replace(account, status=status, version=account.version + 1)
        saved = await self._save(actor, changed, tag, detail)
        why = Forbidden("the account was deactivated")
        await cancel_open_orders(self._store, self._clock(), owner=account.id, why=why, actor=actor)
        return saved

    # ----------------------------------------------------------------- what an administrator does

    async def suspend(self, account_id: str, why: str, actor: Actor) -> Account:
        """Stop an account until it is resumed; its open orders stay, and cannot be finalized meanwhile."""
        account = await self._stored(account_id, actor)
        if account.status is not AccountStatus.VALID:
            raise OrderConflict(f"the account is {account.status}: only a valid one can be suspended")
        changed = replace(account, status=AccountStatus.SUSPENDED, version=account.version + 1)
        return await self._save(actor.name, changed, AuditTag.ACCOUNT_SUSPENDED, {"why": why})

    async def resume(self, account_id: str, actor: Actor) -> Account:
        """Let a suspended account go on. One that has ended never does."""
        account = await self._stored(account_id, actor)
        if account.status is not AccountStatus.SUSPENDED:
            raise OrderConflict(f"the account is {account.status}: only a suspended one can be resumed")
        changed = replace(account, status=AccountStatus.VALID, version=account.version + 1)
        return await self._save(actor.name, changed, AuditTag.ACCOUNT_RESUMED, {})

    async def revoke(self, account_id: str, why: str, actor: Actor) -> Account:
        """End an account for good, which RFC 8555 section 7.1.6 calls "revoked" when the server does it."""
        account = await self._stored(account_id, actor)
        if account.status in (AccountStatus.DEACTIVATED, AccountStatus.REVOKED):
            raise OrderConflict(f"the account is {account.status} already; that is final")
        return await self._end(account, AccountStatus.REVOKED, AuditTag.ACCOUNT_REVOKED, {"why": why}, actor.name)

    async def unpause(self, account_id: str, names: Sequence[str], actor: Actor) -> list[Pause]:
        """Let an account order names again that it was paused for; without names, all of them. Raises Malformed."""
        account = await self._stored(account_id, actor)
        found = [
            one
            for one in await self._store.many(PAUSES, account.id)
            if not names or one.identifier.value in names or str(one.identifier) in names
        ]
        if not found:
            raise Malformed("the account is not paused for this")
        unit = Unit()
        for one in found:
            unit.unpause(one)
        what = {"identifiers": [str(one.identifier) for one in found]}
        unit.audit(AuditEvent(AuditTag.ACCOUNT_UNPAUSED, self._clock(), actor.name, f"account:{account.id}", what))
        await self._commit(unit)
        for one in found:
            self._limits.forget(PAUSE_LIMIT, f"{account.id}/{one.identifier.value}")
        return found

    async def _stored(self, account_id: str, actor: Actor) -> Account:
        actor.check("account:change")
        account = await self._store.one(ACCOUNT, account_id)
        owned = await owned_through(self._store, None if account is None else account.credential)
        return actor.find("account:change", account, owned, AccountUnknown(f"there is no account {account_id}"))

    # ----------------------------------------------------------------- shared

    async def _check_key(self, spki: bytes) -> None:
        """That an account may have this key: no weak one, and not that of a certificate (RFC 8555 section 11.1).

        Raises BadPublicKey. Whether it is blocked, or an account's, the guards of the transaction say.
        """
        try:
            public_key = load_der_public_key(spki)
        except (ValueError, UnsupportedAlgorithm) as exc:
            raise BadPublicKey("the account key cannot be read") from exc
        check_key(spki, key_type(public_key))
        if await self._store.one(KEY_CERTIFIED, fingerprint(spki)):
            raise BadPublicKey("this is the key of a certificate: an account needs a key of its own")

    async def _save(
        self, actor: str, account: Account, tag: AuditTag, detail: dict[str, Any], fresh: bytes | None = None
    ) -> Account:
        unit = Unit()
        if fresh is not None:
            unit.account_key_fresh(fresh)
            unit.key_not_blocked(fresh)
        unit.save(account)
        unit.audit(AuditEvent(tag, self._clock(), actor, f"account:{account.id}", detail))
        await self._commit(unit)
        return account

    async def _commit(self, unit: Unit) -> None:
        try:
            await self._store.commit(unit)
        except Conflict as conflict:
            raise translate_conflict(
                conflict,
                {
                    "mount_active": (Forbidden, "this directory is closed"),
                    "key_not_blocked": (BadPublicKey, "this public key is blocked as compromised: make a new one"),
                    "account_key_fresh": (Forbidden, "an account with this key was stopped: make a new account key"),
                    "pause_remove": (OrderConflict, "somebody else unpaused it at the same time"),
                    "credential_spend": (Forbidden, "the credential is not active, or used up"),
                    "account_thumbprint": (OrderConflict, "this key belongs to an account already"),
                    "account_save": (OrderConflict, "the account was changed at the same time: try again"),
                },
            ) from conflict


def _own(principal: Principal) -> Account:
    if principal.account is None:
        raise Unauthenticated("this needs an account")
    return principal.account
