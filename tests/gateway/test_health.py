"""gateway.health: live, started, ready, over the management listener and inside."""

from __future__ import annotations

import asyncio

from gateway.health import Health, Management
from gateway.metrics import Metrics
from gateway.routing import Door
from policy.problems import Unavailable
from tests.gateway.conftest import Gate, Reply, Start


async def get(gate: Gate, path: str) -> Reply:
    return await gate.ask(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode(), "management")


async def test_management_listener(start: Start) -> None:
    """Starting, ready, failing, draining: as a probe sees it."""
    health, metrics = Health(fresh_seconds=0), Metrics()
    management = Management(health, metrics)
    gate = await start(Door("management", management.say, management.routes(), frozenset({"management"})))
    failing = False

    async def store() -> None:
        if failing:
            raise Unavailable("the disk is full", path="/secret")

    health.register("store", store)
    assert (await get(gate, "/health/live")).status == 200
    assert (await get(gate, "/health/started")).status == 503
    assert (await get(gate, "/health/ready")).json["status"] == "starting"
    health.started = True
    ready = await get(gate, "/health/ready")
    assert (ready.status, ready.json["status"], ready.json["checks"]["store"]["status"]) == (200, "ok", "ok")
    assert ready.field("Cache-Control") == "no-store"
    failing = True
    failed = await get(gate, "/health")
    assert (failed.status, failed.json["status"]) == (503, "failed")
    assert failed.json["checks"]["store"]["detail"] == "the disk is full"
    assert (await get(gate, "/health/live")).status == 200
    failing, health.draining = False, True
    assert (await get(gate, "/health/ready")).json["status"] == "draining"
    assert b"certgate_build_info" in (await get(gate, "/metrics")).body
    assert (await get(gate, "/nothing")).status == 404


async def test_hung_check_is_reported_and_not_repeated() -> None:
    """A hung disk: 503 within the deadline, one waiting probe, however often it is asked (F8)."""
    health = Health(deadline_seconds=0.05, fresh_seconds=0)
    health.started = True
    calls, release = 0, asyncio.Event()

    async def hung() -> None:
        nonlocal calls
        calls += 1
        await release.wait()

    health.register("store", hung)
    for _ in range(3):
        well, results = await health.ready()
        assert not well
        assert results["store"].detail == "no answer within 0.05 s"
    assert calls == 1
    release.set()
    await asyncio.sleep(0)
    assert (await health.ready())[0]


async def test_probes_share_a_round() -> None:
    """Checks cost a commit and a signature, so many probes ask once."""
    health, calls = Health(), 0
    health.started = True

    async def check() -> None:
        nonlocal calls
        calls += 1

    health.register("signer", check)
    await asyncio.gather(*(health.ready() for _ in range(50)))
    await health.ready()
    assert calls == 1


async def test_fault_of_a_check_shows_no_text() -> None:
    """A library's message may quote an address with its password."""
    health = Health()
    health.started = True

    async def check() -> None:
        raise OSError("postgresql://user:hunter2@host")

    health.register("store", check)
    well, results = await health.ready()
    assert (well, results["store"].detail) == (False, "OSError")
