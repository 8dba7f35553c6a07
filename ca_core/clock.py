"""Time as a value that is passed in: UTC, whole seconds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import time

Clock = Callable[[], datetime]
"""Says what time it is: aware, UTC, without microseconds (RFC 5280 section 4.1.2.5 knows whole seconds only)."""


def system_clock() -> datetime:
    """The time of this machine."""
    # A third of what now(UTC).replace(microsecond=0) takes, and every request asks several times.
    return datetime.fromtimestamp(int(time()), UTC)


class FixedClock:
    """A clock for tests: it moves only when told to."""

    def __init__(self, at: datetime) -> None:
        self.at = at.astimezone(UTC).replace(microsecond=0)

    def __call__(self) -> datetime:
        """The moment at which it stands."""
        return self.at

    def advance(self, **duration: float) -> None:
        """Move forward by a duration in the words of `timedelta` (`hours=8`)."""
        self.at += timedelta(**duration)


def epoch_seconds(at: datetime) -> int:
    """Seconds since 1970-01-01 UTC, the form in which the store keeps and compares moments."""
    return int(at.timestamp())
