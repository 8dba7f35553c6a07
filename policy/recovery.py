"""Finishing what a crash, a busy key, or a store that could not write, left between the two commits of an issuance.

What can be mended outside (a key that is away, or the wrong one) leaves the order in `processing`: it is tried again,
ever more seldom, and told to the log each time. What can never be finished is void.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from ca_core.authority import CertificateAuthority
from ca_core.clock import Clock
from ca_core.ledger import Issuance, IssuanceStage
from policy.audit import AuditEvent, AuditTag
from policy.fulfilment import Fulfilment
from policy.order import TERMINAL, OrderStatus
from policy.problems import Problem, Unavailable
from policy.store import ISSUANCE_OF_ORDER, ISSUANCES_OPEN_AFTER, ORDER, Conflict, Store, Unit

ACTOR = "system:recovery"
PAGE = 500
IN_FLIGHT = timedelta(seconds=10)
"""So long an issuance may be under way by itself; the slowest key that signs here takes a tenth of that."""
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(hours=1)

_log = structlog.get_logger("certgate.recovery")


class Recovery:
    """Signs recorded to-be-signed bytes again, or voids what cannot be finished."""

    def __init__(self, store: Store, ca: CertificateAuthority, fulfilment: Fulfilment, clock: Clock) -> None:
        self._store = store
        self._ca = ca
        self._fulfilment = fulfilment
        self._clock = clock
        self._failed: dict[str, tuple[int, datetime]] = {}

    async def finish_open(self) -> int:
        """Finish issuances that a crash left between its two commits; how many there were.

        Called at start, before a port opens. The decision was recorded in commit 1, so what was decided is what is
        signed. One that cannot be finished now does not keep the others, or the server, waiting.
        """
        return await self._finish_all(self._clock())

    async def finish_stuck(self) -> int:
        """As finish_open, while the server runs: what is not under way any more, and not to be left alone for now."""
        now = self._clock()
        return await self._finish_all(now - IN_FLIGHT, now)

    async def finish_order(self, order_id: str) -> None:
        """As finish_open, for one order."""
        issuance = await self._store.one(ISSUANCE_OF_ORDER, order_id)
        if issuance is not None:
            await self._finish(issuance)

    async def _finish_all(self, reserved_until: datetime, now: datetime | None = None) -> int:
        finished, after, met = 0, "", set()
        while page := await self._store.many(ISSUANCES_OPEN_AFTER, after, PAGE):
            after = page[-1].id
            met |= {issuance.id for issuance in page}
            for issuance in page:
                if issuance.reserved <= reserved_until and not (now and self._pauses(issuance.id, now)):
                    finished += await self._try(issuance)
        # What somebody else has finished needs no count of failures any more.
        self._failed = {one: failed for one, failed in self._failed.items() if one in met}
        return finished

    def _pauses(self, issuance: str, now: datetime) -> bool:
        return issuance in self._failed and now < self._failed[issuance][1]

    async def _try(self, issuance: Issuance) -> bool:
        """Finish one, or say in the log why not; whether it is finished."""
        try:
            done = await self._finish(issuance)
        except Exception as fault:  # noqa: BLE001 - one issuance that cannot be finished must not stop those behind it
            attempts = self._failed.get(issuance.id, (0, None))[0] + 1
            pause = min(FIRST_PAUSE * 2 ** min(attempts, 20), LONGEST_PAUSE)
            self._failed[issuance.id] = (attempts, self._clock() + pause)
            _log.error(
                "an issuance cannot be finished",
                issuance=issuance.id,
                order=issuance.order,
                attempts=attempts,
                fault=f"{type(fault).__name__}: {fault}",
            )
            return False
        self._failed.pop(issuance.id, None)
        return done

    async def _finish(self, issuance: Issuance) -> bool:
        order = await self._store.one(ORDER, issuance.order)
        if order is None or order.status is not OrderStatus.PROCESSING or order.key_type is None:
            # A key of the service's own (it makes a new one), never an order: those are reserved with their status.
            return await self._void_orphan(issuance)
        try:
            issued = await self._ca.resume(issuance)
        except Unavailable:
            raise
        except Problem as problem:
            ended = await self._fulfilment.void(order, issuance.id, problem, ACTOR)
        else:
            detail = {"order": order.id}
            note = AuditEvent(AuditTag.ISSUANCE_RESUMED, self._clock(), ACTOR, f"issuance:{issuance.id}", detail)
            ended = await self._fulfilment.record(order, issued, order.key_type, ACTOR, note)
        return ended.status in TERMINAL

    async def _void_orphan(self, issuance: Issuance) -> bool:
        unit = Unit()
        unit.finish_issuance(issuance.id, IssuanceStage.VOID)
        tag, detail = AuditTag.ISSUANCE_VOIDED, {"order": issuance.order}
        unit.audit(AuditEvent(tag, self._clock(), ACTOR, f"issuance:{issuance.id}", detail))
        try:
            await self._store.commit(unit)
        except Conflict:
            return False  # whoever was at it finished it meanwhile
        return True
