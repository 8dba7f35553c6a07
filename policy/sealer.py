"""The sealer of the audit tree: signs checkpoints, and verifies that the whole log is what was signed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from ca_core.algorithms import verify
from ca_core.clock import Clock
from ca_core.keys import Signer
from policy.audit import Checkpoint, Frontier, note
from policy.sealing import fingerprint
from policy.store import AUDIT, CHECKPOINT, CHECKPOINTS, UNAUDITED, Conflict, Store, Unit

PAGE = 2000
ORIGIN = "certgate/audit"


@dataclass(frozen=True, slots=True)
class Verification:
    """What verifying found. `problems` is empty when the log is whole."""

    events: int
    checkpoints: int
    sealed: int
    problems: list[str] = field(default_factory=list)


class Sealer:
    """Extends the signed tree by what was committed since, and checks it."""

    def __init__(self, store: Store, signer: Signer, clock: Clock) -> None:
        """`signer` is a key of its own, never a CA's."""
        self._store = store
        self._signer = signer
        self._clock = clock

    async def seal(self) -> Checkpoint | None:
        """Sign the tree as it stands; None when nothing was added since the last checkpoint, or ever."""
        last = await self._store.one(CHECKPOINT)
        frontier = Frontier(last.size, last.roots) if last is not None else Frontier()
        while page := await self._store.many(AUDIT, frontier.size, PAGE):
            frontier = frontier.extend(row.leaf for row in page)
        if frontier.size == (last.size if last is not None else 0):
            return None
        now = self._clock()
        signature = await self._signer.sign(note(ORIGIN, frontier, now))
        key_id = fingerprint(self._signer.spki)
        checkpoint = Checkpoint(frontier.size, frontier.root(), frontier.roots, now, key_id, signature)
        unit = Unit()
        unit.checkpoint(checkpoint)
        try:
            await self._store.commit(unit)
        except Conflict:
            return None  # another sealer signed the same tree
        return checkpoint

    async def verify(self, progress: Callable[[int], None] = lambda _: None) -> Verification:
        """Read the log from its first event and compare it with every checkpoint, and certificates with their events.

        Finds changed, removed, reordered and inserted events up to the newest checkpoint, gaps behind it, and
        certificates without an "issued" event. A log cut back together with its checkpoints shows only against a
        checkpoint that was kept elsewhere.
        """
        checkpoints = await self._all_checkpoints()
        problems: list[str] = []
        # A checkpoint of an empty log says nothing of any event.
        frontier, waiting = Frontier(), [one for one in checkpoints if one.size]
        while page := await self._store.many(AUDIT, frontier.size, PAGE):
            for row in page:
                if row.seq != frontier.size + 1:
                    problems.append(f"event {frontier.size + 1} is missing")
                    return Verification(frontier.size, len(checkpoints), 0, problems)
                frontier = frontier.extend((row.leaf,))
                while waiting and waiting[0].size == frontier.size:
                    problems += self._compare(waiting.pop(0), frontier)
            progress(frontier.size)
            # A log of millions takes a while, and a server that verifies itself has others to serve.
            await asyncio.sleep(0)
        problems += [f"checkpoint {one.size} is beyond the end of the log ({frontier.size})" for one in waiting]
        for serial in await self._store.many(UNAUDITED, 100):
            problems.append(f'certificate {serial} has no "issued" event')
        sealed = checkpoints[-1].size if checkpoints else 0
        return Verification(frontier.size, len(checkpoints), sealed, problems)

    async def _all_checkpoints(self) -> list[Checkpoint]:
        found: list[Checkpoint] = []
        while page := await self._store.many(CHECKPOINTS, found[-1].size if found else -1, PAGE):
            found += page
        return found

    def _compare(self, checkpoint: Checkpoint, frontier: Frontier) -> list[str]:
        if frontier.root() != checkpoint.root:
            return [f"the first {checkpoint.size} events are not those that were sealed {checkpoint.at.isoformat()}"]
        if checkpoint.key_id != fingerprint(self._signer.spki):
            return [f"checkpoint {checkpoint.size} is signed by another key than this installation's"]
        return self._check_signature(checkpoint, frontier)

    def _check_signature(self, checkpoint: Checkpoint, frontier: Frontier) -> list[str]:
        key = load_der_public_key(self._signer.spki)
        try:
            verify(key, self._signer.algorithm, checkpoint.signature, note(ORIGIN, frontier, checkpoint.at))
        except InvalidSignature:
            return [f"the signature of checkpoint {checkpoint.size} is not good"]
        return []
