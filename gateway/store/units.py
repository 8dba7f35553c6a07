"""Group commit: units that wait share one transaction; nobody gets an answer before it is on disk.

No timers: a batch is what has queued while the batch before was being written. Statements run on the event
loop's thread, COMMIT in a thread of its own (it waits for the disk, not for Python). This module knows no SQL
and no database; `BatchWriter` is what it needs of one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from time import monotonic
from typing import Any, Protocol

import msgspec

from policy.store import Committed, Row, Step, StoreUnavailable, Unit

MAX_WAITING = 10_000
"""Units in the queue before new ones are refused: about half a second of work, and some ten megabytes."""

BATCH_SECONDS = 0.02
"""How long the statements of one batch may keep the event loop; the units left over are the next batch."""

STALLED_SECONDS = 10.0
"""A COMMIT that takes longer waits for a disk that does not answer: new units are refused, not piled up."""

LOST_IN_A_ROW = 3
"""So many units that fail one after the other, each alone, say that the reason is the store, not a unit."""

_NO_INTENTS: frozenset[str] = frozenset()


class BatchLost(Exception):
    """The database cannot go on with this transaction (disk full, I/O error, locked): all of it is undone."""


class Soiled(Exception):
    """A unit failed after it had written, and without a savepoint: the batch runs again, with savepoints."""


class BatchWriter(Protocol):
    """One writing connection. All but `commit` are called on the event loop's thread."""

    def begin(self) -> None:
        """Begin a transaction. Raises BatchLost."""
        ...

    def run(self, steps: list[Step], *, savepoint: bool) -> list[Row]:
        """Run a unit; the rows of statements that return what they wrote.

        Raises Conflict or the unit's own fault, with nothing of the unit left; Soiled where only a savepoint
        could have seen to that; BatchLost when the whole batch is gone.
        """
        ...

    def raise_epoch(self, epoch: int) -> None:
        """Write the configuration epoch. Raises BatchLost."""
        ...

    def commit(self) -> None:
        """Wait until all of it is on disk. Raises BatchLost: then nothing counts as written."""
        ...

    def rollback(self) -> None:
        """Undo what is there, if anything. Never raises."""
        ...


class _Waiting(msgspec.Struct):
    unit: Unit
    future: asyncio.Future[tuple[Committed, list[Row]]]
    rows: list[Row] | None = None
    fault: Exception | None = None

    def fail(self, fault: Exception) -> None:
        # Whoever waited may have been cancelled; the unit counts all the same.
        if not self.future.done():
            self.future.set_exception(fault)


class GroupCommit:
    """The queue in front of one BatchWriter. `executor` runs COMMIT; without one it happens inline."""

    def __init__(self, writer: BatchWriter, executor: Executor | None, epoch: int) -> None:
        self._writer = writer
        self._executor = executor
        self._queue: deque[_Waiting] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._committing_since: float | None = None
        self.epoch = epoch

    async def submit(self, unit: Unit) -> tuple[Committed, list[Row]]:
        """Write a unit; returns after its COMMIT. Raises Conflict or StoreUnavailable."""
        self._refuse_when_unable()
        future: asyncio.Future[tuple[Committed, list[Row]]] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(unit, future))
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        return await future

    async def close(self) -> None:
        """Write what is waiting and take nothing more."""
        self._closed = True
        if self._task is not None:
            await asyncio.wait([self._task])

    def _refuse_when_unable(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if len(self._queue) >= MAX_WAITING:
            raise StoreUnavailable(f"{MAX_WAITING} units are waiting to be written")
        since = self._committing_since
        if since is not None and monotonic() - since > STALLED_SECONDS:
            raise StoreUnavailable("the disk of the store does not answer")

    async def _work(self) -> None:
        batch: list[_Waiting] = []
        try:
            while self._queue:
                batch = []
                try:
                    await self._write(self._queue, batch)
                except BatchLost:
                    await self._singly(batch)
                if self._executor is None:
                    await asyncio.sleep(0)
            self._task = None
        except BaseException:
            # Only a cancelled loop or a fault of this module gets here; whoever waits must hear of it.
            self._closed = True
            for one in (*batch, *self._queue):
                one.fail(StoreUnavailable("the store was stopped"))
            raise

    async def _write(self, queue: deque[_Waiting], batch: list[_Waiting]) -> None:
        """Move units from the queue to the batch and write them as one. Raises BatchLost: nothing written."""
        epoch = self.epoch + self._run(queue, batch)
        await self._commit(epoch)
        self.epoch = epoch
        for one in batch:
            _answer(one, epoch)

    def _run(self, queue: deque[_Waiting], batch: list[_Waiting]) -> bool:
        """Run the statements; whether any unit that holds changes the configuration.

        A savepoint for every unit would be a third of all the work, for what hardly ever has to be undone:
        guards come first in a unit, and when one fails, nothing was written yet. Savepoints are for the rest.
        """
        try:
            self._writer.begin()
            ends = monotonic() + BATCH_SECONDS
            try:
                while queue:
                    batch.append(queue.popleft())
                    self._apply(batch[-1], savepoint=False)
                    if monotonic() > ends:
                        break
            except Soiled:
                self._writer.rollback()
                self._writer.begin()
                for one in batch:
                    self._apply(one, savepoint=True)
        except BatchLost:
            self._writer.rollback()
            if not batch:
                # Nothing could even begin: everybody who waits is told, not one unit after the other.
                batch.extend(queue)
                queue.clear()
            raise
        return any(one.unit.configuration for one in batch if one.fault is None)

    def _apply(self, one: _Waiting, *, savepoint: bool) -> None:
        one.fault = None
        try:
            one.rows = self._writer.run(one.unit.steps, savepoint=savepoint)
        except (BatchLost, Soiled):
            raise
        except Exception as fault:  # noqa: BLE001 - a Conflict or a mistake in the unit: its own, and told to it
            one.fault = fault

    async def _commit(self, epoch: int) -> None:
        try:
            if epoch != self.epoch:
                self._writer.raise_epoch(epoch)
            if self._executor is None:
                self._writer.commit()
            else:
                self._committing_since = monotonic()
                await asyncio.get_running_loop().run_in_executor(self._executor, self._writer.commit)
        except BatchLost:
            self._writer.rollback()
            raise
        finally:
            self._committing_since = None

    async def _singly(self, batch: list[_Waiting]) -> None:
        """Write the units of a lost batch one by one, once: what one of them caused hits that one alone."""
        lost = 0
        cause: BatchLost | None = None
        for one in batch:
            if lost < LOST_IN_A_ROW:
                try:
                    await self._write(deque([one]), [])
                    lost = 0
                    continue
                except BatchLost as fault:
                    lost, cause = lost + 1, fault
            fault_seen = StoreUnavailable(f"the store cannot write: {cause}")
            fault_seen.__cause__ = cause
            one.fail(fault_seen)


def _answer(one: _Waiting, epoch: int) -> None:
    # Told only after the COMMIT: a conflict with a unit that then was not written would be none.
    if one.fault is not None:
        one.fail(one.fault)
    elif not one.future.done():
        intents = frozenset(one.unit.intents) if one.unit.intents else _NO_INTENTS
        one.future.set_result((Committed(intents, epoch), one.rows or []))


# --------------------------------------------------------------------------- a unit as bytes

# Parameters need no type here: text and bytes differ in MessagePack, so what comes out is what went in.
_Wire = tuple[list[tuple[str, tuple[Any, ...], bool]], list[str], bool]
_pack: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(_Wire).decode


def write_unit(unit: Unit) -> bytes:
    """The unit as MessagePack, for a store in another process."""
    steps = [(step.statement, step.parameters, step.must) for step in unit.steps]
    return _pack((steps, unit.intents, unit.configuration))


def read_unit(data: bytes) -> Unit:
    """The unit of these bytes. Raises msgspec.ValidationError or DecodeError for anything else."""
    steps, intents, configuration = _unpack(data)
    unit = Unit()
    unit.steps = [Step(statement, parameters, must) for statement, parameters, must in steps]
    unit.intents = intents
    unit.configuration = configuration
    return unit
