"""Finishing what a crash, or a store that could not write, left between the two commits of an issuance."""

from __future__ import annotations

from ca_core.authority import CertificateAuthority
from ca_core.clock import Clock
from ca_core.ledger import Issuance, IssuanceStage
from policy.audit import AuditEvent, AuditTag
from policy.fulfilment import Fulfilment
from policy.order import OrderStatus
from policy.problems import Problem
from policy.store import ISSUANCE_OF_ORDER, ISSUANCES_OPEN, ORDER, Store, Unit


class Recovery:
    """Signs recorded to-be-signed bytes again, or voids what cannot be finished."""

    def __init__(self, store: Store, ca: CertificateAuthority, fulfilment: Fulfilment, clock: Clock) -> None:
        self._store = store
        self._ca = ca
        self._fulfilment = fulfilment
        self._clock = clock

    async def _void_orphan(self, issuance: Issuance) -> None:
        unit = Unit()
        unit.finish_issuance(issuance.id, IssuanceStage.VOID)
        tag, actor = AuditTag.ISSUANCE_VOIDED, "system:recovery"
        unit.audit(AuditEvent(tag, self._clock(), actor, f"issuance:{issuance.id}", {"order": issuance.order}))
        await self._store.commit(unit)

    async def finish_open(self, limit: int = 1000) -> int:
        """Finish issuances that a crash left between its two commits; how many there were.

        Called at start, before a port opens, and by the worker for what a failing store left. The decision was
        recorded in commit 1, so what was decided is what is signed.
        """
        finished = 0
        for issuance in await self._store.many(ISSUANCES_OPEN, limit):
            if await self._finish(issuance):
                finished += 1
        return finished

    async def finish_order(self, order_id: str) -> None:
        """As finish_open, for one order."""
        issuance = await self._store.one(ISSUANCE_OF_ORDER, order_id)
        if issuance is not None:
            await self._finish(issuance)

    async def _finish(self, issuance: Issuance) -> bool:
        order = await self._store.one(ORDER, issuance.order)
        if order is None or order.status is not OrderStatus.PROCESSING or order.request is None:
            # A key of the service's own (it makes a new one), never an order: those are reserved with their status.
            await self._void_orphan(issuance)
            return True
        try:
            issued = await self._ca.resume(issuance)
        except Problem as problem:
            await self._fulfilment.void(order, issuance.id, problem, "system:recovery")
            return True
        unit = Unit()
        tag, now = AuditTag.ISSUANCE_RESUMED, self._clock()
        unit.audit(AuditEvent(tag, now, "system:recovery", f"issuance:{issuance.id}", {"order": order.id}))
        await self._store.commit(unit)
        await self._fulfilment.record(order, issued, order.request.key_type, "system:recovery")
        return True
