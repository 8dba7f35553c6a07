"""ACME accounts: register, change, roll over the key, deactivate (RFC 8555 section 7.3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ca_core.clock import Clock
from policy.account import Account, AccountStatus
from policy.audit import AuditEvent, AuditTag
from policy.authorizing import cancel_open_orders
from policy.credential import Principal
from policy.ids import AccountId, new_id
from policy.limits import Limits
from policy.problems import BadPublicKey, Forbidden, OrderConflict, Unauthenticated
from policy.sealing import fingerprint
from policy.store import ACCOUNT_BY_KEY, Conflict, Store, Unit, translate_conflict


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
        return await self._save(principal, changed, AuditTag.ACCOUNT_UPDATED, {"contacts": len(changed.contact)})

    async def rollover(self, principal: Principal, spki: bytes, jwk: dict[str, str], thumbprint: str) -> Account:
        """The account with another key; the old one is dead with the same commit (traps T-13, T-27)."""
        account = _own(principal)
        if await self._store.one(ACCOUNT_BY_KEY, account.mount, thumbprint) is not None:
            raise OrderConflict("this key belongs to an account already")
        changed = replace(account, spki=spki, jwk=jwk, thumbprint=thumbprint, version=account.version + 1)
        detail = {"from": fingerprint(account.spki), "to": fingerprint(spki)}
        return await self._save(principal, changed, AuditTag.ACCOUNT_REKEYED, detail, fresh=spki)

    async def deactivate(self, principal: Principal) -> Account:
        """The account, deactivated for good; its open orders end with it (RFC 8555 section 7.3.6)."""
        account = _own(principal)
        changed = replace(account, status=AccountStatus.DEACTIVATED, version=account.version + 1)
        saved = await self._save(principal, changed, AuditTag.ACCOUNT_DEACTIVATED, {})
        await cancel_open_orders(
            self._store,
            self._clock(),
            owner=account.id,
            why=Forbidden("the account was deactivated"),
            actor=str(principal.requester),
        )
        return saved

    async def _save(
        self, principal: Principal, account: Account, tag: AuditTag, detail: dict[str, Any], fresh: bytes | None = None
    ) -> Account:
        unit = Unit()
        if fresh is not None:
            unit.account_key_fresh(fresh)
            unit.key_not_blocked(fresh)
        unit.save(account)
        unit.audit(AuditEvent(tag, self._clock(), str(principal.requester), f"account:{account.id}", detail))
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
                    "credential_spend": (Forbidden, "the credential is not active, or used up"),
                    "account_thumbprint": (OrderConflict, "this key belongs to an account already"),
                    "account_save": (OrderConflict, "the account was changed at the same time: try again"),
                },
            ) from conflict


def _own(principal: Principal) -> Account:
    if principal.account is None:
        raise Unauthenticated("this needs an account")
    return principal.account
