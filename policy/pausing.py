"""Failed validations, counted: so many an hour, and so many in a row before the account is paused for the name.

A client that fails for weeks (a name that was moved, a machine that nobody looks after) is better told once than
validated for ever. Only a person ends a pause (`Registering.unpause`). Counts live in this process, pauses in the
store.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from policy.audit import AuditEvent, AuditTag
from policy.limits import PAUSE_LIMIT, Limits
from policy.order import Authorization
from policy.problems import Problem, RateLimited
from policy.store import Pause, Unit

FAILED_LIMIT = "failed_validations_per_account"


class Pausing:
    """Counts failures of one account for one name."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def failed(self, authorization: Authorization, problem: Problem, now: datetime, unit: Unit) -> None:
        """Count one; a pause, in this unit, when it was one too many."""
        key = _key(authorization)
        with suppress(RateLimited):  # the next answer is told
            self._limits.take(FAILED_LIMIT, key, "failed validations")
        try:
            self._limits.take(PAUSE_LIMIT, key, "failed validations")
        except RateLimited:
            detail = f"paused since {now:%Y-%m-%d}; it failed last with: {problem.detail}"
            unit.pause(Pause(authorization.owner, authorization.identifier, now, detail))
            what = {"identifier": str(authorization.identifier), "problem": problem.kind, "detail": problem.detail}
            of = f"account:{authorization.owner}"
            unit.audit(AuditEvent(AuditTag.ACCOUNT_PAUSED, now, "system:validation", of, what))

    def proven(self, authorization: Authorization) -> None:
        """It works: failures of before do not count for a pause."""
        self._limits.forget(PAUSE_LIMIT, _key(authorization))


def _key(authorization: Authorization) -> str:
    return f"{authorization.owner}/{authorization.identifier.value}"
