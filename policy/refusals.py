"""Refusals in the audit log: who was turned away, where, and why. A flood is counted, not written one by one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from ca_core.clock import Clock
from policy.audit import AuditEvent, AuditTag
from policy.credential import Claim, MACClaim, Principal
from policy.limits import Limits
from policy.problems import Internal, Problem, RateLimited, Unauthenticated, Unavailable
from policy.store import Store, StoreUnavailable, Unit

PER_ADDRESS = "failed_authentications_per_address"
PER_REFERENCE = "failed_authentications_per_reference"
WRONG_MAC = "the MAC of the message is not valid"
"""What an unknown reference, a wrong secret and a reference that is locked out are told, all alike."""


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
            await self._note(self.event(principal, problem))
            raise

    def event(self, principal: Principal, problem: Problem) -> AuditEvent:
        """The event of a proven client's refusal."""
        detail = {"problem": problem.kind, "detail": problem.detail, "address": principal.address}
        actor, of = str(principal.requester), f"credential:{principal.credential.id}"
        return AuditEvent(AuditTag.REQUEST_REFUSED, self._clock(), actor, of, detail)

    def check_locked_out(self, mount: str, claims: Sequence[Claim], address: str) -> None:
        """Raises RateLimited for an address that failed too often.

        For a reference that did, Unauthenticated, like any wrong MAC: who guesses does not learn that he is right.
        """
        self._limits.take(PER_ADDRESS, address, "failed authentications", count=False)
        for claim in claims:
            if isinstance(claim, MACClaim):
                try:
                    self._limits.take(PER_REFERENCE, f"{mount}/{claim.reference}", "failed MACs", count=False)
                except RateLimited as problem:
                    raise Unauthenticated(WRONG_MAC, locked_out=claim.reference) from problem

    async def authentication(self, mount: str, problem: Problem, address: str, claims: Sequence[Claim] = ()) -> None:
        """Count and write down that somebody did not prove who they are, or may not be who they are here."""
        for claim in claims:
            if isinstance(claim, MACClaim) and isinstance(problem, Unauthenticated):
                with suppress(RateLimited):
                    self._limits.take(PER_REFERENCE, f"{mount}/{claim.reference}", "failed MACs")
        try:
            self._limits.take(PER_ADDRESS, address, "failed authentications")
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
