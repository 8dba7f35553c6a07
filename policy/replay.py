"""ReplayGuard: this value once. ACME nonces are redeemed here; the store implements it.

Nonces are numbers under a seal (protocols/acme/nonce.py). The guard gives the numbers out and marks each as used
in a window of fixed size, so memory stays flat whatever clients do. It lives as long as the store is open: the
seal's key depends on `epoch`, which is new at every opening, so that after a restart every old nonce is refused
and none is accepted twice, without a write to disk per request.
"""

from __future__ import annotations

from typing import Protocol

WINDOW = 1 << 22
"""How many of the newest numbers can still be redeemed: 4 million nonces are half a megabyte of bits."""


class ReplayGuard(Protocol):
    """Single use of numbered nonces, shared by every server object on one store."""

    @property
    def epoch(self) -> bytes:
        """Sixteen random bytes, new each time the store is opened."""
        ...

    def number(self) -> int:
        """A number never given out before in this epoch."""
        ...

    async def redeem(self, number: int) -> bool:
        """True exactly once per number given out; false when it was used or fell out of the window."""
        ...


class NonceWindow:
    """The ReplayGuard of one process: a ring of bits, one per number."""

    def __init__(self, epoch: bytes, window: int = WINDOW) -> None:
        self.epoch = epoch
        self._window = window
        self._used = bytearray(window // 8)
        self._next = 0

    def number(self) -> int:
        """A number never given out before in this epoch."""
        number = self._next
        self._next += 1
        if number >= self._window:
            # The bit is taken over from the number that falls out of the window with this step.
            place = number % self._window
            self._used[place >> 3] &= 0xFF ^ (1 << (place & 7))
        return number

    async def redeem(self, number: int) -> bool:
        """True exactly once per number given out."""
        if not self._next - self._window <= number < self._next or number < 0:
            return False
        place = number % self._window
        bit = 1 << (place & 7)
        if self._used[place >> 3] & bit:
            return False
        self._used[place >> 3] |= bit
        return True
