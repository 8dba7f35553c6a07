"""What administrators do about certificates: revoke, put on hold, release. Whose one is, its credential says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ca_core.status import RevocationReason
from policy.access import Actor
from policy.blocking import BlockKind
from policy.people import owned_through
from policy.problems import BadRevocationReason, UnknownCertificate
from policy.revocation import SUBSCRIBER_REASONS, Revocation
from policy.roles import Scope
from policy.store import CERTIFICATE, Store, StoredCertificate


class Supervision:
    """Changes the state of certificates for those who may."""

    def __init__(self, store: Store, revocation: Revocation) -> None:
        self._store = store
        self._revocation = revocation

    async def revoke(
        self,
        serial: str,
        reason: RevocationReason | None,
        actor: Actor,
        *,
        block: Sequence[BlockKind] = (),
        invalidity_date: datetime | None = None,
    ) -> None:
        """Revoke for good; `block` and `invalidity_date` as in Revocation.revoke. Whoever may not revoke everybody's
        gives the reasons of a subscriber.

        Raises UnknownCertificate, Forbidden, AlreadyRevoked, BadRevocationReason.
        """
        stored = await self.revocable(serial, reason, actor)
        if BlockKind.DOMAIN in block:
            actor.check("block:change")  # it stops the names of others, too
        await self._revocation.revoke(stored, reason, actor.name, block=block, invalidity_date=invalidity_date)

    async def revocable(self, serial: str, reason: RevocationReason | None, actor: Actor) -> StoredCertificate:
        """A certificate that the actor may revoke for this reason, now or later. Raises as `revoke`."""
        stored = await self._find("certificate:revoke", serial, actor)
        everybodys = actor.scope("certificate:revoke") is Scope.ALL
        if reason is not None and reason not in SUBSCRIBER_REASONS and not everybodys:
            raise BadRevocationReason(
                f'the reason "{reason}" is not yours to give; allowed are {", ".join(SUBSCRIBER_REASONS)}',
                nearest=RevocationReason.UNSPECIFIED.value,
            )
        return stored

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
        missing = UnknownCertificate("there is no such certificate")
        return actor.find(permission, found, owned, missing)[0]
