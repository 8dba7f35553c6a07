"""Multi-perspective validation: the primary check and the remote ones at once, and a quorum that decides.

Baseline Requirements section 3.2.2.9. What was found by whom goes with the evidence or the problem, for the audit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from msgspec.structs import replace

from policy.problems import Unavailable, ValidationFailed, kind_of
from policy.validation import Attempt, CAAResolver, Evidence, Validator
from policy.validation.caa import CAAQuery, CAASet
from policy.validation.perspectives import (
    PRIMARY,
    Decision,
    PerspectiveRequest,
    PerspectiveResult,
    Quorum,
    decide,
    is_certain,
)

_Found = TypeVar("_Found")

GRACE_SECONDS = 0.5
"""How long the others are waited for once the decision cannot change any more: long enough that the audit log has
nearly every result, short enough that a perspective which hangs does not slow down every validation."""


class Remote(Protocol):
    """A perspective elsewhere."""

    @property
    def name(self) -> str:
        """What it is called, in settings and audit."""

    @property
    def region(self) -> str:
        """Where it is."""

    async def ask(self, request: PerspectiveRequest) -> PerspectiveResult:
        """What it found. Never raises; ends within the request's deadline."""
        ...


@dataclass(frozen=True, slots=True)
class Panel:
    """The remote perspectives, how many of them have to agree, and how long each may take."""

    remotes: Sequence[Remote]
    quorum: Quorum
    deadline_seconds: float
    grace_seconds: float = GRACE_SECONDS


class MPICValidator:
    """A validator whose success counts when enough perspectives see the same."""

    def __init__(self, primary: Validator, panel: Panel) -> None:
        self.method: str = primary.method
        self._primary = primary
        self._panel = panel

    async def validate(self, attempt: Attempt) -> Evidence:
        """Ask here and elsewhere. Raises what the primary validator raises, and the kind of problem that the
        others met where too few of them agree; both with the decision under `corroboration` of the context."""
        request = PerspectiveRequest(self._panel.deadline_seconds, attempt=attempt)
        round_ = _Round(self._panel, request)
        evidence = await round_.run(lambda: self._primary.validate(attempt), _shown, "corroboration")
        return replace(evidence, corroboration=round_.record)


class MPICCAAChecker:
    """The decision about CAA, with the eyes of all perspectives: each judges the records that it sees."""

    def __init__(self, primary: CAAResolver, panel: Panel) -> None:
        self._primary = primary
        self._panel = panel

    async def check(self, query: CAAQuery) -> Mapping[str, Any]:
        """See policy.validation.CAAChecker."""
        round_ = _Round(self._panel, PerspectiveRequest(self._panel.deadline_seconds, caa=query))
        await round_.run(lambda: self._look(query), _shown_caa, "caa")
        return round_.record

    async def _look(self, query: CAAQuery) -> CAASet:
        found = await self._primary.caa(query.domain)
        query.judge(found)
        return found


class _Round:
    """One question to all perspectives."""

    def __init__(self, panel: Panel, request: PerspectiveRequest) -> None:
        self._panel = panel
        self._request = request
        self._results: dict[str, PerspectiveResult] = {}
        self.record: dict[str, Any] = {}

    async def run(self, primary: Callable[[], Awaitable[_Found]], shown: Callable[[_Found], str], key: str) -> _Found:
        """What the primary check gave, when enough others agree. Raises a kind of ValidationFailed."""
        found: list[_Found] = []
        problems: list[ValidationFailed] = []

        async def look() -> PerspectiveResult:
            try:
                found.append(await primary())
            except ValidationFailed as exc:
                problems.append(exc)
                return PerspectiveResult(PRIMARY, "", False, exc.kind, exc.detail)
            return PerspectiveResult(PRIMARY, "", True, evidence=shown(found[0]))

        decision = await self._decision(asyncio.ensure_future(look()))
        self.record = decision.record()
        if problems:
            problems[0].context[key] = self.record
            raise problems[0]
        if not decision.passed:
            raise _refusal(decision, key)
        return found[0]

    async def _decision(self, here: asyncio.Future[PerspectiveResult]) -> Decision:
        panel = self._panel
        others = [asyncio.ensure_future(remote.ask(self._request)) for remote in panel.remotes]
        try:
            primary = await self._collect(here, others)
        finally:
            late = {task for task in (here, *others) if not task.done()}
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        results = [
            _not_waited_for(remote) if task in late else task.result()
            for task, remote in zip(others, panel.remotes, strict=True)
        ]
        return decide(primary, results, panel.quorum)

    async def _collect(
        self, here: asyncio.Future[PerspectiveResult], others: Sequence[asyncio.Future[PerspectiveResult]]
    ) -> PerspectiveResult:
        """Wait for the primary check, and then until the decision is certain and the grace is over."""
        # Raises what the primary check raised, if that was no ValidationFailed: a fault of ours.
        primary = await here
        while not is_certain(primary, [task.result() for task in others if task.done()], self._panel.quorum):
            waiting = [task for task in others if not task.done()]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if waiting := [task for task in others if not task.done()]:
            await asyncio.wait(waiting, timeout=self._panel.grace_seconds)
        return primary


def _not_waited_for(remote: Remote) -> PerspectiveResult:
    detail = "not waited for: the others had decided already"
    return PerspectiveResult(remote.name, remote.region, False, Unavailable.kind, detail, answered=False)


def _refusal(decision: Decision, key: str) -> ValidationFailed:
    """The problem of a primary success that others do not share. It names no perspective: where they are is
    nothing that somebody who tries to deceive them should learn here."""
    failed = [result for result in decision.remotes if not result.success]
    said = next((result for result in failed if result.answered), None)
    kind = kind_of(said.problem) if said is not None else ValidationFailed
    if not issubclass(kind, ValidationFailed):
        kind = ValidationFailed
    seen = f": {said.detail}" if said is not None else ""
    detail = f"validation from other places on the network does not agree ({decision.reason}){seen}"
    problem = kind(detail)
    problem.context[key] = decision.record()
    return problem


def _shown(found: Evidence) -> str:
    return f"{found.target}: {found.detail}"


def _shown_caa(found: CAASet) -> str:
    return f"{len(found.records)} CAA records at {found.found_at}" if found.found_at else "no CAA records"
