"""Live, started, ready, and what is wrong: for probes, load balancers and people.

Live says only that the event loop turns; it needs no store, no key and no thread, so that a hung disk does
not get the process killed. Ready asks the checks that were registered: a store that writes, a key that
signs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from gateway.metrics import CONTENT_TYPE, Metrics
from policy.problems import Problem
from protocols.http import HTTPRequest, HTTPResponse, Route, Transport

Check = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check said."""

    status: str
    ms: float
    detail: str = ""


class Health:
    """The checks of one server and their last results.

    Results are kept for `fresh_seconds`, so that probes, however many, cost one round of checks. A check
    that is still running when it is asked again is reported as such and not started twice: a hung disk must
    not gather threads.
    """

    def __init__(self, *, deadline_seconds: float = 0.8, fresh_seconds: float = 1.0) -> None:
        self._checks: dict[str, Check] = {}
        self._running: dict[str, asyncio.Task[object]] = {}
        self._deadline = deadline_seconds
        self._fresh = fresh_seconds
        self._asked = -1e9
        self._results: dict[str, CheckResult] = {}
        self._round: asyncio.Task[None] | None = None
        self.started = False
        self.draining = False

    def register(self, name: str, check: Check) -> None:
        """Add a check: an async callable that returns when all is well and raises when it is not."""
        self._checks[name] = check

    async def ready(self) -> tuple[bool, dict[str, CheckResult]]:
        """Whether requests should be sent here, and what each check says."""
        if time.monotonic() - self._asked >= self._fresh:
            if self._round is None or self._round.done():
                self._round = asyncio.create_task(self._ask(), name="health")
            await asyncio.shield(self._round)
        well = all(result.status == "ok" for result in self._results.values())
        return well and self.started and not self.draining, dict(self._results)

    async def _ask(self) -> None:
        names = list(self._checks)
        results = await asyncio.gather(*(self._one(name) for name in names))
        self._results = dict(zip(names, results, strict=True))
        self._asked = time.monotonic()

    async def _one(self, name: str) -> CheckResult:
        begun = time.perf_counter()
        task = self._running.get(name)
        if task is None:
            task = asyncio.ensure_future(self._run(name))
            self._running[name] = task
        finished, _ = await asyncio.wait((task,), timeout=self._deadline)
        ms = round((time.perf_counter() - begun) * 1000, 1)
        if not finished:
            return CheckResult("failed", ms, f"no answer within {self._deadline} s")
        del self._running[name]
        fault = task.exception()
        if fault is None:
            return CheckResult("ok", ms)
        # A library's message may quote an address with its password, so only our own sentences are shown.
        return CheckResult("failed", ms, fault.detail if isinstance(fault, Problem) else type(fault).__name__)

    async def _run(self, name: str) -> object:
        return await self._checks[name]()

    @property
    def status(self) -> str:
        """starting, draining or ok: the server's own part of the answer."""
        if self.draining:
            return "draining"
        return "ok" if self.started else "starting"


class Management:
    """The door of the management listener: /health, its parts live, ready and started, and /metrics."""

    def __init__(self, health: Health, metrics: Metrics) -> None:
        self._health = health
        self._metrics = metrics

    def routes(self) -> tuple[Route, ...]:
        """What the management listener serves; over plain HTTP, since it is bound to loopback."""
        table = (
            ("/health", "health", self.health),
            ("/health/live", "live", self.live),
            ("/health/ready", "ready", self.ready),
            ("/health/started", "started", self.started),
            ("/metrics", "metrics", self.metrics),
        )
        return tuple(Route(("GET",), path, name, operation, Transport.ANY) for path, name, operation in table)

    def say(self, problem: Problem, request: HTTPRequest) -> HTTPResponse:
        """A problem, as JSON."""
        return _json(500, {"status": problem.kind, "detail": problem.detail, "request": request.request_id})

    async def live(self, _: HTTPRequest) -> HTTPResponse:
        """200 as long as the event loop turns."""
        return _json(200, {"status": "ok"})

    async def started(self, _: HTTPRequest) -> HTTPResponse:
        """200 once every listener answers."""
        return _json(200 if self._health.started else 503, {"status": self._health.status})

    async def ready(self, request: HTTPRequest) -> HTTPResponse:
        """200 when requests should be sent here, 503 when not."""
        return await self.health(request)

    async def health(self, _: HTTPRequest) -> HTTPResponse:
        """The same as ready: the state of every check, 200 only when all are well."""
        well, results = await self._health.ready()
        status = self._health.status if self._health.status != "ok" or well else "failed"
        checks = {name: msgspec.to_builtins(result) for name, result in results.items()}
        return _json(200 if well else 503, {"status": status, "checks": checks})

    async def metrics(self, _: HTTPRequest) -> HTTPResponse:
        """The Prometheus text form."""
        return HTTPResponse(200, self._metrics.render(), CONTENT_TYPE)


def _json(status: int, value: object) -> HTTPResponse:
    return HTTPResponse(status, msgspec.json.encode(value), "application/json", (("Cache-Control", "no-store"),))
