"""Time as a value that is passed in: UTC, whole seconds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import time

Clock = Callable[[], datetime]
"""Says what time it is: aware, UTC, without microseconds (RFC 5280 section 4.1.2.5 knows whole seconds only)."""


_latest = 0, datetime.fromtimestamp(0, UTC)


def system_clock() -> datetime:
    """The time of this machine."""
    # One value a second, however often it is asked for: an enrolment asks a dozen times.
    global _latest
    second, moment = _latest
    if (now := int(time())) != second:
        moment = datetime.fromtimestamp(now, UTC)
        _latest = now, moment
    return moment


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
