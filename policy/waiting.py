"""Orders that wait for authorizations: they move on when all are valid, and end when one has failed.

Two authorizations of one order may be proven at the same moment, each commit before it sees the other one. So
whoever has written a proof looks again after the commit: the later of the two sees both.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from ca_core.clock import Clock
from policy.audit import AuditEvent, AuditTag
from policy.ids import AuthorizationId
from policy.order import Authorization, AuthorizationStatus, Order, OrderEvent, StoredProblem, advance
from policy.problems import UnknownOrder
from policy.store import AUTHORIZATIONS, ORDERS_OF_AUTHORIZATION, ORDERS_PROVEN, Conflict, Store, Unit

ORDERS_AT_ONCE = 100

FINISH_JOB = "finish-order"
"""The job of an order that became ready with its request kept: nobody asks for it again, so the worker issues it."""


class WaitingOrders:
    """Moves pending orders when their authorizations change."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def read(self, ids: tuple[AuthorizationId, ...]) -> tuple[Authorization, ...]:
        """The authorizations with these ids, in this order. Raises UnknownOrder when one is gone."""
        if not ids:
            return ()
        found = {one.id: one for one in await self._store.many(AUTHORIZATIONS, msgspec.json.encode(ids).decode())}
        try:
            return tuple(found[one] for one in ids)
        except KeyError as missing:
            raise UnknownOrder("an authorization of the order is gone", authorization=str(missing)) from missing

    async def move(self, changed: Authorization, unit: Unit) -> bool:
        """Write into the unit what a changed authorization means for orders; whether one still waits for others."""
        now = self._clock()
        waits = False
        for order in await self._store.many(ORDERS_OF_AUTHORIZATION, changed.id, ORDERS_AT_ONCE):
            if changed.status is not AuthorizationStatus.VALID:
                self._end(order, changed, now, unit)
                continue
            others = tuple(one for one in order.authorizations if one != changed.id)
            if not order.complete:
                continue  # whoever accepts the last document, or agrees, moves it on
            if all(one.at(now) is AuthorizationStatus.VALID for one in await self.read(others)):
                self._authorize(order, now, unit)
            else:
                waits = True
        return waits

    async def look_again(self, authorization_id: str) -> None:
        """After a proof was committed: orders whose other authorizations were proven meanwhile move on."""
        for order in await self._store.many(ORDERS_OF_AUTHORIZATION, authorization_id, ORDERS_AT_ONCE):
            await self.look_at(order)

    async def look_at(self, order: Order) -> None:
        """Move a pending order on when neither proofs nor papers are owed."""
        now = self._clock()
        authorizations = await self.read(order.authorizations)
        if order.complete and all(one.at(now) is AuthorizationStatus.VALID for one in authorizations):
            await self._move_on(order, now)

    async def repair(self, limit: int = 100) -> int:
        """Move on what a server that ended between commit and second look left behind; how many there were."""
        now = self._clock()
        found = await self._store.many(ORDERS_PROVEN, int(now.timestamp()), limit)
        return sum([await self._move_on(order, now) for order in found])

    async def _move_on(self, order: Order, now: datetime) -> bool:
        unit = Unit()
        unit.authorizations_valid(order.authorizations, now)
        self._authorize(order, now, unit)
        try:
            await self._store.commit(unit)
        except Conflict:
            return False  # it moved on already, or has ended: whoever did that saw the same authorizations
        return True

    def _authorize(self, order: Order, now: datetime, unit: Unit) -> None:
        unit.save(advance(order, OrderEvent.AUTHORIZE, now))
        unit.audit(AuditEvent(AuditTag.ORDER_AUTHORIZED, now, order.requester, f"order:{order.id}"))
        if order.csr is not None:
            unit.schedule(FINISH_JOB, order.id, now)

    def _end(self, order: Order, changed: Authorization, now: datetime, unit: Unit) -> None:
        error = next((one.error for one in changed.challenges if one.error), None)
        detail = f"{changed.identifier}: {error.detail if error else changed.status}"
        problem = StoredProblem(error.kind if error else "validation-failed", detail, (), changed.identifier)
        unit.save(advance(order, OrderEvent.FAIL, now, problem=problem))
        what = {"problem": problem.kind}
        unit.audit(AuditEvent(AuditTag.ORDER_FAILED, now, order.requester, f"order:{order.id}", what))
