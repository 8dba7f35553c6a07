"""Refusals in the audit log: who was turned away, where, and why. A flood is counted, not written one by one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ca_core.clock import Clock
from policy.audit import AuditEvent, AuditTag
from policy.credential import Principal
from policy.limits import Limits
from policy.problems import Internal, Problem, RateLimited, Unavailable
from policy.store import Store, StoreUnavailable, Unit


class Refusals:
    """Writes refusals down; never changes what the client is told."""

    def __init__(self, store: Store, limits: Limits, clock: Clock) -> None:
        self._store = store
        self._limits = limits
        self._clock = clock

    @asynccontextmanager
    async def noted(self, principal: Principal) -> AsyncIterator[None]:
        """Within this, a Problem is written down as the refusal of a proven client."""
        try:
            yield
        except (Unavailable, Internal, RateLimited):
            raise  # trouble of ours, or a flood: nobody was judged
        except Problem as problem:
            detail = {"problem": problem.kind, "detail": problem.detail, "address": principal.address}
            actor, of = str(principal.requester), f"credential:{principal.credential.id}"
            await self._note(AuditEvent(AuditTag.REQUEST_REFUSED, self._clock(), actor, of, detail))
            raise

    async def authentication(self, mount: str, problem: Problem, address: str) -> None:
        """Count and write down that somebody did not prove who they are, or may not be who they are here."""
        try:
            self._limits.take("failed_authentications_per_address", address, "failed authentications")
        except RateLimited:
            return
        detail = {"mount": mount, "address": address, "problem": problem.kind}
        detail |= {key: str(value) for key, value in problem.context.items() if value is not None}
        tag = AuditTag.AUTHENTICATION_FAILED
        await self._note(AuditEvent(tag, self._clock(), f"address:{address}", f"mount:{mount}", detail))

    async def _note(self, event: AuditEvent) -> None:
        try:
            self._limits.take("audited_refusals", "", "refusals")
        except RateLimited:
            return
        unit = Unit()
        unit.audit(event)
        try:
            await self._store.commit(unit)
        except StoreUnavailable:
            return  # nothing was let in: the refusal stands without its record
