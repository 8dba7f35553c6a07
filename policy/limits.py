"""Rate limits as data: so many of one thing in so much time, by generic cell rate (GCRA).

A limit is written "300/3h". The state of one key is one number, the theoretical arrival time, so nothing has to be
swept but what lies in the past. Limits of this kind live in the process that owns the store.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address
from math import ceil

from policy.problems import RateLimited

_FORM = re.compile(r"(\d+)/(\d*)([smhd])")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
MAX_KEYS = 100_000
"""Keys kept per server; beyond, those whose time has passed are dropped, then those that are nearest to it."""
PAUSE_LIMIT = "failed_validations_until_pause"
"""The limit beyond which an account is paused for a name."""
ROOM = MAX_KEYS // 10
"""How many keys are dropped at least when there are too many, so that it costs one take in so many."""
NETWORK_PREFIX = 64
"""Whoever has one IPv6 address has the 2**64 of its subnet (RFC 4291 section 2.5.1): they count as one."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `count` within `seconds`, all at once or spread."""

    count: int
    seconds: int

    @classmethod
    def read(cls, text: str) -> Limit:
        """Read "300/3h", "10/m". Raises ValueError with the form wanted."""
        match = _FORM.fullmatch(text)
        if match is None or int(match[1]) == 0:
            raise ValueError(f'"{text}" is not a limit: write a count and a time, as in "300/3h" (units s, m, h, d)')
        return cls(int(match[1]), int(match[2] or 1) * _UNIT_SECONDS[match[3]])


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a limit: how many may happen at once now, and in how many seconds all of them may again."""

    limit: Limit
    remaining: int
    reset_seconds: int


class Limits:
    """All limits of a server. `now` gives monotonic seconds."""

    def __init__(self, limits: Mapping[str, Limit], now: Callable[[], float]) -> None:
        """`limits` by what they count: "new_accounts_per_address", "new_orders_per_account", …"""
        self._limits = dict(limits)
        self._now = now
        self._arrival: dict[tuple[str, str], float] = {}

    def take(self, name: str, key: str, what: str, *, count: bool = True) -> None:
        """Count one. Raises RateLimited, with the seconds to wait, when it is one too many; unknown names pass.

        Without `count` it only looks: for what is counted later, when it failed.
        """
        limit = self._limits.get(name)
        if limit is None:
            return
        if name.endswith("_per_address"):
            key = _network(key)
        now = self._now()
        step = limit.seconds / limit.count
        arrival = max(self._arrival.get((name, key), now), now)
        wait = arrival + step - limit.seconds - now
        if wait > 0:
            seconds = int(wait) + 1
            raise RateLimited(
                f"too many {what}: {limit.count} per {limit.seconds} seconds are allowed; "
                f"try again in {seconds} seconds",
                retry_after=seconds,
                limit=name,
            )
        if not count:
            return
        if len(self._arrival) >= MAX_KEYS:
            self._drop(now)
        self._arrival[(name, key)] = arrival + step

    def left(self, name: str, key: str) -> Allowance | None:
        """What is left of a limit for this key; None when there is no such limit."""
        limit = self._limits.get(name)
        if limit is None:
            return None
        used = max(self._arrival.get((name, key), 0.0) - self._now(), 0.0)
        return Allowance(limit, int((limit.seconds - used) * limit.count / limit.seconds), ceil(used))

    def has(self, name: str) -> bool:
        """Whether there is a limit of this name, so that nobody prepares keys in vain."""
        return name in self._limits

    def take_all(self, name: str, keys: Iterable[str], what: str, *, count: bool = True) -> None:
        """Count one of each key, or of none. Raises RateLimited for the first one that is too many."""
        keys = tuple(keys)
        for key in keys:
            self.take(name, key, f"{what} {key}", count=False)
        for key in keys if count else ():
            self.take(name, key, f"{what} {key}")

    def forget(self, name: str, key: str) -> None:
        """Begin to count anew."""
        self._arrival.pop((name, key), None)

    def _drop(self, now: float) -> None:
        kept = {key: arrival for key, arrival in self._arrival.items() if arrival > now}
        excess = len(kept) - (MAX_KEYS - ROOM)
        if excess > 0:
            # Not the oldest: a flood of new keys would free exactly those that have used up most.
            nearest = sorted(kept.values())[excess - 1]
            for key in [key for key, arrival in kept.items() if arrival <= nearest][:excess]:
                del kept[key]
        self._arrival = kept


def _network(address: str) -> str:
    """What an address counts as: itself, or the subnet of an IPv6 address."""
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address)
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{int(parsed) >> (128 - NETWORK_PREFIX):016x}/{NETWORK_PREFIX}"
