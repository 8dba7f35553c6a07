"""Periodic jobs under a lease: finish orders, publish CRLs, expire, seal the audit log, renew service keys.

Every job may be done by any server object on the store, and twice does no harm: what a job writes is guarded like
everything else. A failing job is logged, given back and tried again; it never stops the others. Kinds of jobs have
loops of their own, so that no CRL waits for a challenge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from logging import ERROR, WARNING
from typing import TYPE_CHECKING

import structlog

from policy.audit import AuditEvent, AuditTag
from policy.bulk import BULK_JOB
from policy.credentialing import SECRET_AGE_JOB
from policy.fulfilment import ERASE_KEY_JOB, RENEW_JOB, RETIRE_JOB
from policy.order import OrderEvent, StoredProblem, advance
from policy.problems import NotReady, Problem
from policy.revocation import BLOCKED_KEY_JOB, CASCADE_JOB, CONFIRM_JOB, CRL_JOB
from policy.store import ORDERS_EXPIRED, Conflict, Job, Unit
from policy.validating import VALIDATE_JOB
from policy.waiting import FINISH_JOB

if TYPE_CHECKING:
    from gateway.app import Core

_log = structlog.get_logger("certgate.worker")

TICK_SECONDS = 0.5
"""How late a change of mounts or a revocation's CRL may be, beside the work itself."""
LEASE_SECONDS = 60
JOBS_AT_ONCE = 32
VALIDATIONS_AT_ONCE = 100
"""Looking at a validation costs two reads: it is only started, never waited for."""
RETRY_SECONDS = 30
LONGEST_RETRY_SECONDS = 3600

Doing = Callable[[str], Awaitable[int | None]]
"""Does the job of one object; the seconds after which it has to be looked at again, None when it is done."""


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
        self._periodic: tuple[tuple[str, float, Callable[[], Awaitable[object]]], ...] = (
            ("refresh", TICK_SECONDS, refresh),
            ("due-crls", TICK_SECONDS, self.do_crls),
            ("revocations", TICK_SECONDS, self.do_revocations),
            ("validations", TICK_SECONDS, self.do_validations),
            ("orders", TICK_SECONDS, self.do_orders),
            ("successions", TICK_SECONDS, self.do_successions),
            ("unfetched-keys", 60.0, self.do_keys),
            ("confirmations", TICK_SECONDS, self.do_confirmations),
            ("secret-ages", 60.0, self.do_secret_ages),
            ("seal", 10.0, core.sealer.seal),
            ("recover", 5.0, core.recovery.finish_stuck),
            ("expire", 30.0, self.expire),
            ("waiting-orders", 60.0, core.validating.waiting.repair),
            ("crls", 60.0, core.publication.publish_due),
            ("certificate", 60.0, replace_certificate),
            ("responders", 60.0, core.publication.renew_responders),
        )
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        self._tasks = [
            asyncio.create_task(self._repeat(name, seconds, work), name=f"worker-{name}")
            for name, seconds, work in self._periodic
        ]

    async def stop(self) -> None:
        """End; what is half done is undone by its guards or done again by the next one. The log is sealed last.

        Never raises: whoever stops a server has more to close than this.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self._core.sealer.seal()
        except Exception as fault:  # noqa: BLE001 - the next start seals what is there now
            _log.error("the audit log could not be sealed at the end", fault=_said(fault))

    async def _repeat(self, name: str, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
        """Do one thing again and again. A fault costs a round, never the worker."""
        while True:
            try:
                await work()
            except (Problem, Conflict, OSError) as fault:
                _log.warning("background work failed", work=name, fault=_said(fault))
                await asyncio.sleep(RETRY_SECONDS if seconds >= TICK_SECONDS * 2 else seconds)
            except Exception as fault:  # noqa: BLE001 - the supervisor of background work
                _log.error("background work failed", work=name, exc_info=fault)
                await asyncio.sleep(RETRY_SECONDS)
            await asyncio.sleep(seconds)

    # ----------------------------------------------------------------- jobs of the store

    async def do_crls(self) -> None:
        """Publish the CRLs that are due because something was revoked."""
        await self._do_jobs({CRL_JOB: self._publish}, JOBS_AT_ONCE)

    async def do_revocations(self) -> None:
        """Revoke what goes with a key or credential that was revoked: many certificates, perhaps."""
        kinds: dict[str, Doing] = {BLOCKED_KEY_JOB: self._revoke_siblings, CASCADE_JOB: self._finish_revocation}
        await self._do_jobs(kinds, JOBS_AT_ONCE)

    async def do_validations(self) -> None:
        """Go on with validations that wait for their turn, or whose process has ended."""
        await self._do_jobs({VALIDATE_JOB: self._validate}, VALIDATIONS_AT_ONCE)

    async def do_orders(self) -> None:
        """Issue what became ready while its client was not looking."""
        await self._do_jobs({FINISH_JOB: self._core.lifecycle.ordering.finish_later}, JOBS_AT_ONCE)

    async def do_successions(self) -> None:
        """Renew what renews itself, revoke what was replaced, and go on with changes of many certificates."""
        kinds: dict[str, Doing] = {
            RENEW_JOB: self._core.lifecycle.succession.renew,
            RETIRE_JOB: self._retire,
            BULK_JOB: self._core.lifecycle.bulks.go_on,
        }
        await self._do_jobs(kinds, JOBS_AT_ONCE)

    async def do_keys(self) -> None:
        """Erase keys that were made for clients who did not come for them."""
        await self._do_jobs({ERASE_KEY_JOB: self._core.ra.erase_key}, JOBS_AT_ONCE)

    async def do_secret_ages(self) -> None:
        """Tell of secrets that end soon."""
        await self._do_jobs({SECRET_AGE_JOB: self._core.administration.warn_of_age}, JOBS_AT_ONCE)

    async def _retire(self, order: str) -> None:
        await self._core.lifecycle.succession.retire(order)

    async def do_confirmations(self) -> None:
        """Revoke what its CMP client did not accept in time."""
        await self._do_jobs({CONFIRM_JOB: self._core.ra.transactions.sweep}, JOBS_AT_ONCE)

    async def _publish(self, crl: str) -> None:
        issuer, _, shard = crl.partition("/")
        await self._core.publication.publish(issuer, int(shard))

    async def _revoke_siblings(self, key: str) -> None:
        await self._core.revocation.revoke_siblings(key)

    async def _finish_revocation(self, credential: str) -> None:
        await self._core.administration.finish_revocation(credential, "system:revocation")

    async def _validate(self, challenge: str) -> int | None:
        authorization, _, method = challenge.partition("/")
        return await self._core.validating.resume(authorization, method)

    async def _do_jobs(self, kinds: Mapping[str, Doing], limit: int) -> None:
        """Do what is due of these kinds, all at once: a job that hangs keeps none of the others waiting."""
        jobs = await self._core.store.lease_jobs(tuple(kinds), self._core.clock(), LEASE_SECONDS, limit)
        if jobs:
            await asyncio.gather(*(self._do(job, kinds[job.kind]) for job in jobs))

    async def _do(self, job: Job, doing: Doing) -> None:
        """One job, and what comes of it; it is done, or given back."""
        try:
            async with asyncio.timeout(LEASE_SECONDS):
                pause = await doing(job.object)
        except Exception as fault:  # noqa: BLE001 - the supervisor of jobs: a poisonous one is given back like any other
            expected = isinstance(fault, Problem | Conflict | TimeoutError | OSError)
            _log.log(
                WARNING if expected else ERROR,
                "job failed",
                job=job.kind,
                object=job.object,
                attempts=job.attempts,
                fault=_said(fault),
                exc_info=None if expected else fault,
            )
            pause = min(RETRY_SECONDS * 2 ** min(job.attempts - 1, 20), LONGEST_RETRY_SECONDS)
        unit = Unit()
        if pause is None:
            unit.job_done(job)
        else:
            unit.job_again(job, self._core.clock() + timedelta(seconds=pause))
        try:
            await self._core.store.commit(unit)
        except Conflict:
            return  # somebody else has the lease by now
        except Problem as problem:
            _log.warning("a job is still leased", job=job.kind, object=job.object, fault=_said(problem))

    # ----------------------------------------------------------------- orders

    async def expire(self) -> None:
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


def _said(fault: Exception) -> str:
    return f"{type(fault).__name__}: {fault}"
