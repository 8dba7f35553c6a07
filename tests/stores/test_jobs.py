"""Background jobs: leases, fences, and what is asked for while somebody is at it."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from gateway.store import SQLiteStore
from policy.store import Conflict, Job, Unit
from tests.replacing import replace
from tests.stores.values import NOW, at


async def schedule(store: SQLiteStore, due: datetime, kind: str = "crl", of: str = "i1") -> None:
    unit = Unit()
    unit.schedule(kind, of, due)
    await store.commit(unit)


async def lease(store: SQLiteStore, now: datetime, *kinds: str) -> list[Job]:
    return await store.lease_jobs(kinds or ("crl",), now, 60, 10)


async def done(store: SQLiteStore, job: Job) -> None:
    unit = Unit()
    unit.job_done(job)
    await store.commit(unit)


async def again(store: SQLiteStore, job: Job, due: datetime) -> None:
    unit = Unit()
    unit.job_again(job, due)
    await store.commit(unit)


async def test_job_is_leased_when_due_and_gone_when_done(store: SQLiteStore) -> None:
    """Not before it is due, to one worker only, and never again once done."""
    await schedule(store, at(minutes=1))
    assert await lease(store, NOW) == []
    assert await lease(store, at(minutes=1), "other") == []
    (job,) = await lease(store, at(minutes=1), "other", "crl")
    assert (job.kind, job.object, job.due, job.attempts) == ("crl", "i1", at(minutes=1), 1)
    assert await lease(store, at(minutes=1)) == []
    await done(store, job)
    assert await lease(store, at(days=1)) == []


async def test_earlier_due_wins(store: SQLiteStore) -> None:
    """A job that is scheduled twice is due at the earlier moment."""
    for minutes in (5, 3, 4):
        await schedule(store, at(minutes=minutes))
    assert await lease(store, at(minutes=2)) == []
    (job,) = await lease(store, at(minutes=3))
    assert job.due == at(minutes=3)


async def test_late_worker_is_fenced_off(store: SQLiteStore) -> None:
    """When a lease has run out and the job was taken anew, the first worker's writes fail."""
    await schedule(store, NOW)
    (late,) = await lease(store, NOW)
    assert await lease(store, at(seconds=59)) == []
    (job,) = await lease(store, at(seconds=60))
    assert job.fence > late.fence
    assert job.attempts == 2
    for write in (done(store, late), again(store, late, NOW)):
        with pytest.raises(Conflict, match="job_"):
            await write
    await done(store, job)
    with pytest.raises(Conflict, match="job_done"):
        await done(store, job)


async def test_fence_grows_though_the_job_was_gone(store: SQLiteStore) -> None:
    """A job that comes back does not accept the worker of its former life."""
    await schedule(store, NOW)
    (first,) = await lease(store, NOW)
    await done(store, first)
    await schedule(store, NOW)
    (second,) = await lease(store, NOW)
    assert second.fence > first.fence
    with pytest.raises(Conflict):
        await done(store, first)


async def test_job_scheduled_under_a_lease_is_not_lost(store: SQLiteStore) -> None:
    """What is asked for while a worker is at it is done afterwards: the worker may have begun before it."""
    await schedule(store, NOW)
    (job,) = await lease(store, NOW)
    await schedule(store, at(minutes=2))
    await schedule(store, at(minutes=1))
    assert await lease(store, at(seconds=59)) == []
    await done(store, job)
    assert await lease(store, at(seconds=59)) == []
    (second,) = await lease(store, at(minutes=1))
    assert second.attempts == 1
    await done(store, second)
    assert await lease(store, at(days=1)) == []


async def test_new_lease_includes_what_was_asked_for_by_then(store: SQLiteStore) -> None:
    """A lease that runs out is taken anew together with what came in between."""
    await schedule(store, NOW)
    await lease(store, NOW)
    await schedule(store, at(seconds=30))
    (job,) = await lease(store, at(minutes=2))
    await done(store, job)
    assert await lease(store, at(days=1)) == []


async def test_job_given_back_is_due_then_or_earlier(store: SQLiteStore) -> None:
    """A worker that failed says when to try again; an earlier wish of somebody else wins."""
    await schedule(store, NOW)
    (job,) = await lease(store, NOW)
    await again(store, job, at(minutes=10))
    assert await lease(store, at(minutes=9)) == []
    (job,) = await lease(store, at(minutes=10))
    assert job.attempts == 2
    await schedule(store, at(minutes=12))
    await again(store, job, at(minutes=20))
    (job,) = await lease(store, at(minutes=12))
    assert job.due == at(minutes=12)


async def test_done_and_next_in_one_unit(store: SQLiteStore) -> None:
    """A periodic job ends and schedules its next run in one transaction."""
    await schedule(store, NOW)
    (job,) = await lease(store, NOW)
    unit = Unit()
    unit.job_done(job)
    unit.schedule(job.kind, job.object, at(hours=1))
    await store.commit(unit)
    (following,) = await lease(store, at(hours=1))
    assert following == replace(job, due=at(hours=1), fence=following.fence)


async def test_jobs_are_shared_out(store: SQLiteStore) -> None:
    """Several workers at once: each job goes to one of them, the longest due first, no more than asked for."""
    for n in range(10):
        await schedule(store, at(minutes=-n), of=f"i{n}")
    found = await asyncio.gather(*(store.lease_jobs(("crl",), NOW, 60, 4) for _ in range(4)))
    assert sorted(len(jobs) for jobs in found) == [0, 2, 4, 4]
    assert [job.object for job in max(found, key=len)][:1] == ["i9"]
    assert len({job.object for jobs in found for job in jobs}) == 10
