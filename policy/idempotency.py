"""The same request under the same key has one effect and one answer (draft-ietf-httpapi-idempotency-key-header).

A key belongs to a credential and a resource. The first request claims it; those that come while it is being served
are turned away, those that come later get its answer. What failed is not kept: nothing was done, so it may be tried
again. Answers are sealed, because some of them hold a secret.
"""

from __future__ import annotations

from ca_core.clock import Clock, epoch_seconds
from policy.problems import OrderConflict, Replayed
from policy.sealing import Sealing, Secret
from policy.store import IDEMPOTENT, Conflict, Store, Unit

KEEP_SECONDS = 24 * 3600
LEASE_SECONDS = 120
"""After this long without an answer, whoever began is taken for gone; the request may be sent again."""


class Idempotency:
    """Remembers what was asked under which key, and what was answered."""

    def __init__(self, store: Store, sealing: Sealing, clock: Clock) -> None:
        self._store = store
        self._sealing = sealing
        self._clock = clock

    async def claim(self, scope: str, key: str, digest: str) -> bytes | None:
        """The answer that this request was given before; None for the first one, which `keep` or `release` ends.

        Raises Replayed when the key came with another request, OrderConflict while the first one is being served.
        """
        now = self._clock()
        known = await self._store.one(IDEMPOTENT, scope, key, epoch_seconds(now))
        if known is None or known.answer is None:
            unit = Unit()
            unit.claim(scope, key, digest, now, lease=LEASE_SECONDS, keep=KEEP_SECONDS)
            try:
                await self._store.commit(unit)
                return None
            except Conflict:
                known = await self._store.one(IDEMPOTENT, scope, key, epoch_seconds(now))
        if known is not None and known.digest != digest:
            raise Replayed("this idempotency key was used for another request: take a new one")
        if known is None or known.answer is None:
            raise OrderConflict("the first request with this idempotency key is being served", retry_after=1)
        return self._sealing.open(known.answer, _context(scope, key)).reveal()

    async def keep(self, scope: str, key: str, answer: bytes) -> None:
        """Keep the answer to the request that was claimed."""
        unit = Unit()
        unit.keep_answer(scope, key, self._sealing.seal(Secret(answer), _context(scope, key)))
        await self._store.commit(unit)

    async def release(self, scope: str, key: str) -> None:
        """Nothing came of the request: the key may be used again."""
        unit = Unit()
        unit.release(scope, key)
        await self._store.commit(unit)


def _context(scope: str, key: str) -> str:
    return f"idempotency {scope} {key}"
