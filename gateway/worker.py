"""Periodic jobs under a lease: finish orders, publish CRLs, expire, seal the audit log, renew service keys.

Every job may be done by any server object on the store, and twice does no harm: what a job writes is guarded like
everything else. A failing job is logged, given back and tried again; it never stops the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from policy.audit import AuditEvent, AuditTag
from policy.order import OrderEvent, StoredProblem, advance
from policy.problems import NotReady, Problem
from policy.revocation import CRL_JOB
from policy.store import ORDERS_EXPIRED, ORDERS_STUCK, Conflict, Job, StoreUnavailable, Unit
from policy.validating import VALIDATE_JOB

if TYPE_CHECKING:
    from gateway.app import Core

_log = structlog.get_logger("certgate.worker")

TICK_SECONDS = 0.5
"""How late a change of mounts or a revocation's CRL may be, beside the work itself."""
LEASE_SECONDS = 60
JOBS_AT_ONCE = 32
STUCK_SECONDS = 30
"""After this long in `processing` an order's second commit failed, and is done here."""
RETRY_SECONDS = 30


class Worker:
    """The background of one server."""

    def __init__(
        self,
        core: Core,
        refresh: Callable[[], Awaitable[None]],
        replace_certificate: Callable[[], Awaitable[None]],
    ) -> None:
        """`refresh` serves changed mounts, `replace_certificate` renews the server's own certificate when it is due."""
        self._core = core
        self._refresh = refresh
        self._periodic: tuple[tuple[str, float, Callable[[], Awaitable[object]]], ...] = (
            ("refresh", TICK_SECONDS, refresh),
            ("jobs", TICK_SECONDS, self._do_jobs),
            ("seal", 10.0, core.sealer.seal),
            ("recover", 10.0, self._recover),
            ("expire", 30.0, self._expire),
            ("crls", 60.0, core.publication.publish_due),
            ("certificate", 600.0, replace_certificate),
        )
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        self._tasks = [
            asyncio.create_task(self._repeat(name, seconds, work), name=f"worker-{name}")
            for name, seconds, work in self._periodic
        ]

    async def stop(self) -> None:
        """End; what is half done is undone by its guards or done again by the next one. The log is sealed last."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._core.sealer.seal()

    async def _repeat(self, name: str, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
        """Do one thing again and again. A fault costs a round, never the worker."""
        while True:
            try:
                await work()
            except (Problem, Conflict, StoreUnavailable, OSError) as fault:
                _log.warning("background work failed", work=name, fault=f"{type(fault).__name__}: {fault}")
                await asyncio.sleep(RETRY_SECONDS if seconds >= TICK_SECONDS * 2 else seconds)
            except Exception as fault:  # noqa: BLE001 - the supervisor of background work
                _log.error("background work failed", work=name, exc_info=fault)
                await asyncio.sleep(RETRY_SECONDS)
            await asyncio.sleep(seconds)

    # ----------------------------------------------------------------- jobs of the store

    async def _do_jobs(self) -> None:
        now = self._core.clock()
        kinds = (CRL_JOB, VALIDATE_JOB)
        for job in await self._core.store.lease_jobs(kinds, now, LEASE_SECONDS, JOBS_AT_ONCE):
            unit = Unit()
            try:
                await self._do(job)
                unit.job_done(job)
            except Problem as problem:
                _log.warning("job failed", job=job.kind, object=job.object, problem=problem.detail)
                pause = min(RETRY_SECONDS * 2**job.attempts, 3600)
                unit.job_again(job, self._core.clock() + timedelta(seconds=pause))
            try:
                await self._core.store.commit(unit)
            except Conflict:
                continue  # somebody else has the lease by now

    async def _do(self, job: Job) -> None:
        one, _, other = job.object.partition("/")
        if job.kind == CRL_JOB:
            await self._core.publication.publish(one, int(other))
        else:
            await self._core.validating.resume(one, other)

    # ----------------------------------------------------------------- orders

    async def _recover(self) -> None:
        """Finish orders whose second commit failed while the store could not write."""
        before = self._core.clock() - timedelta(seconds=STUCK_SECONDS)
        for order in await self._core.store.many(ORDERS_STUCK, int(before.timestamp()), 100):
            await self._core.recovery.finish_order(order.id)

    async def _expire(self) -> None:
        """Write down that open orders whose time is over have ended."""
        now = self._core.clock()
        for order in await self._core.store.many(ORDERS_EXPIRED, int(now.timestamp()), 500):
            problem = StoredProblem.of(NotReady("the order expired before it was finished"))
            unit = Unit()
            unit.save(advance(order, OrderEvent.FAIL, now, problem=problem))
            detail = {"problem": problem.kind, "detail": problem.detail}
            unit.audit(AuditEvent(AuditTag.ORDER_FAILED, now, "system:expiry", f"order:{order.id}", detail))
            try:
                await self._core.store.commit(unit)
            except Conflict:
                continue
