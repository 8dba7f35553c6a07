"""What administrators do about certificates: revoke, put on hold, release. Whose one is, its credential says."""

from __future__ import annotations

from ca_core.status import RevocationReason
from policy.access import Actor
from policy.people import owned_through
from policy.problems import UnknownCertificate
from policy.revocation import Revocation
from policy.store import CERTIFICATE, Store, StoredCertificate


class Supervision:
    """Changes the state of certificates for those who may."""

    def __init__(self, store: Store, revocation: Revocation) -> None:
        self._store = store
        self._revocation = revocation

    async def revoke(self, serial: str, reason: RevocationReason | None, actor: Actor) -> None:
        """Revoke for good. Raises UnknownCertificate, Forbidden, AlreadyRevoked, BadRevocationReason."""
        await self._revocation.revoke(await self._find("certificate:revoke", serial, actor), reason, actor.name)

    async def hold(self, serial: str, actor: Actor) -> None:
        """Suspend until it is released or revoked. Raises UnknownCertificate, Forbidden, OrderConflict."""
        await self._revocation.hold(await self._find("certificate:hold", serial, actor), actor.name)

    async def release(self, serial: str, actor: Actor) -> None:
        """Reinstate. Raises UnknownCertificate, Forbidden, OrderConflict."""
        await self._revocation.release(await self._find("certificate:hold", serial, actor), actor.name)

    async def _find(self, permission: str, serial: str, actor: Actor) -> StoredCertificate:
        actor.check(permission)
        found = await self._store.one(CERTIFICATE, serial)
        owned = await owned_through(self._store, None if found is None else found[0].credential)
        missing = UnknownCertificate(f"there is no certificate with serial {serial}")
        return actor.find(permission, found, owned, missing)[0]
