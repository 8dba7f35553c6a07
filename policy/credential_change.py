"""Changing a credential, and telling in time that its secret gets old."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from policy.access import Actor
from policy.audit import AuditEvent, AuditTag
from policy.codes import Codes
from policy.credential import Credential, CredentialState, CredentialType
from policy.credentialing import CredentialAdministration, NewCredential
from policy.problems import Malformed
from policy.sealing import Secret
from policy.store import CREDENTIAL, Unit

ACTOR = "system:credentials"
_WRITTEN = frozenset({"options"})
"""What the audit names without its value: it may hold a client's keys."""


@dataclass(frozen=True, slots=True)
class CredentialChange:
    """What is to be different. None leaves a field as it is; what may be absent is cleared by `clear`, by name."""

    label: str | None = None
    products: tuple[str, ...] | None = None
    mounts: tuple[str, ...] | None = None
    allowed_cidrs: tuple[str, ...] | None = None
    use_limit: int | None = None
    not_before: datetime | None = None
    expires: datetime | None = None
    options: dict[str, Any] | None = None
    clear: frozenset[str] = frozenset()


class CredentialChanges(CredentialAdministration):
    """Use cases around a credential that is there."""

    async def change_credential(self, name: str, change: CredentialChange, actor: Actor) -> Credential:
        """Change a credential; its type, identifier, user, group and secret stay.

        Raises what creating one like this would raise; OrderConflict for a revoked one.
        """
        credential = await self._live(name, "credential:change", actor)
        given = {
            each: getattr(change, each)
            for each in CredentialChange.__slots__
            if each != "clear" and getattr(change, each) is not None
        }
        given |= dict.fromkeys(change.clear)
        changed = replace(credential, **given, version=credential.version + 1)
        if replace(changed, version=credential.version) == credential:
            return credential
        await self._check(_as_new(changed), actor)
        detail = {each: None if each in _WRITTEN else value for each, value in given.items()}
        await self._save(changed, AuditTag.CREDENTIAL_CHANGED, f"credential:{credential.id}", detail, actor)
        return changed

    async def make_code(
        self, name: str, actor: Actor, names: Sequence[str] = (), lifetime: timedelta | None = None
    ) -> tuple[Secret, datetime]:
        """A one-time code of a credential, and when it expires; for these names only, if any are given.

        Raises Malformed for a credential of another method, RateLimited when too many wait to be used.
        """
        one = await self._live(name, "credential:rotate", actor)
        lifetime = self.settings.code_lifetime if lifetime is None else lifetime
        if lifetime <= timedelta():
            raise Malformed("a one-time code is good for a second at least")
        codes = Codes(self._store, self._sealing, self._clock)
        return await codes.make(one, lifetime, self.settings.codes_open, actor.name, names)

    async def warn_of_age(self, credential_id: str) -> int | None:
        """Write down that the secret of a credential ends soon, unless it was given a new one: a job of the worker."""
        credential = await self._store.one(CREDENTIAL, credential_id)
        now = self._clock()
        if credential is None or credential.at(now) is not CredentialState.ACTIVE or not credential.secrets:
            return None
        ends = credential.secrets[0].expires
        if ends is None or (ends - now).days > self.settings.warning_days:
            return None
        detail = {"type": credential.type.value, "user": credential.user, "group": credential.group, "ends": ends}
        unit = Unit()
        tag = AuditTag.CREDENTIAL_SECRET_EXPIRING
        unit.audit(AuditEvent(tag, now, ACTOR, f"credential:{credential.id}", detail))
        await self._store.commit(unit)
        return None


def _as_new(one: Credential) -> NewCredential:
    """A credential as if it were to be made now, to be judged like one."""
    return NewCredential(
        type=CredentialType(one.type),
        user=one.user,
        group=one.group,
        products=one.products,
        method=one.method,
        identifier=one.identifier,
        mounts=one.mounts,
        expires=one.expires,
        not_before=one.not_before,
        use_limit=one.use_limit,
        allowed_cidrs=one.allowed_cidrs,
        label=one.label,
        options=one.options,
    )
