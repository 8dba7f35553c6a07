"""A unit as bytes, and the queue in front of a writer that fails."""

from __future__ import annotations

import asyncio
from enum import Enum

import msgspec
import pytest

from gateway.store.units import BatchLost, GroupCommit, read_unit, write_unit
from policy.store import Committed, Row, Step, StoreUnavailable, Unit
from tests.stores.test_statements import everything


def _plain(value: object) -> object:
    """What an enum is on the wire."""
    return value.value if isinstance(value, Enum) else value


def test_unit_survives_the_way_to_another_process() -> None:
    """Written and read: statements, parameters with their types, intents, and whether it changes configuration."""
    unit = everything()
    found = read_unit(write_unit(unit))
    assert [(s.statement, list(s.parameters), s.must) for s in found.steps] == [
        (s.statement, [_plain(v) for v in s.parameters], s.must) for s in unit.steps
    ]
    assert all(type(s.parameters) is tuple for s in found.steps)
    assert found.intents == unit.intents
    assert found.configuration is True


@pytest.mark.parametrize("data", [b"", b"\x93\x90\x90", b"\x90", b"\x93\x91\x93\x01\x90\xc3\x90\xc3"])
def test_bytes_that_are_no_unit_are_refused(data: bytes) -> None:
    """Anything else is a decoding error."""
    with pytest.raises(msgspec.DecodeError):
        read_unit(data)


class FailingWriter:
    """A writer that loses transactions: at BEGIN, in a statement named "bad", or at the first `lost` COMMITs."""

    def __init__(self, *, begin: bool = False, lost: int = 0) -> None:
        self.fail_begin = begin
        self.lost = lost
        self.open: list[str] = []
        self.written: list[str] = []
        self.attempts = 0

    def begin(self) -> None:
        self.attempts += 1
        assert self.open == []
        if self.fail_begin:
            raise BatchLost("locked")

    def run(self, steps: list[Step], *, savepoint: bool) -> list[Row]:
        for step in steps:
            if step.statement == "bad":
                raise BatchLost("disk I/O error")
            self.open.append(step.statement)
        return []

    def raise_epoch(self, epoch: int) -> None:
        raise AssertionError("no unit here changes the configuration")

    def commit(self) -> None:
        if self.lost:
            self.lost -= 1
            raise BatchLost("disk full")
        self.written += self.open
        self.open = []

    def rollback(self) -> None:
        self.open = []


def units(*statements: str) -> list[Unit]:
    made = []
    for statement in statements:
        unit = Unit()
        unit.write(statement)
        made.append(unit)
    return made


async def submit(writer: FailingWriter, *statements: str) -> list[type]:
    commits = GroupCommit(writer, None, 0)
    found = await asyncio.gather(*(commits.submit(unit) for unit in units(*statements)), return_exceptions=True)
    await commits.close()
    return [type(one[0]) if isinstance(one, tuple) else type(one) for one in found]


async def test_lost_batch_is_tried_again_one_by_one() -> None:
    """A COMMIT that fails is not an answer yet: each unit gets one more try of its own."""
    writer = FailingWriter(lost=1)
    assert await submit(writer, "a", "b", "c") == [Committed] * 3
    assert writer.written == ["a", "b", "c"]


async def test_unit_that_breaks_the_batch_fails_alone() -> None:
    """What one unit causes hits that one; its neighbours are written once."""
    writer = FailingWriter()
    assert await submit(writer, "a", "bad", "c") == [Committed, StoreUnavailable, Committed]
    assert writer.written == ["a", "c"]


async def test_store_that_stays_broken_is_not_tried_for_every_unit() -> None:
    """After a few failures in a row the rest is refused without another try, and nothing was written."""
    writer = FailingWriter(lost=1000)
    assert await submit(writer, *"abcdefgh") == [StoreUnavailable] * 8
    assert writer.attempts == 4
    assert writer.written == []


async def test_transaction_that_cannot_begin_refuses_all_who_wait() -> None:
    """A lock of somebody else is not waited for once per unit."""
    writer = FailingWriter(begin=True)
    assert await submit(writer, *"abcdefgh") == [StoreUnavailable] * 8
    assert writer.attempts == 4


async def test_stopped_loop_leaves_nobody_waiting() -> None:
    """When the task that writes is cancelled, whoever waits hears that the store was stopped."""
    release = asyncio.Event()

    class Stuck(GroupCommit):
        async def _commit(self, epoch: int) -> None:
            await release.wait()

    commits = Stuck(FailingWriter(), None, 0)
    waiting = [asyncio.create_task(commits.submit(unit)) for unit in units("a", "b")]
    await asyncio.sleep(0.01)
    late = asyncio.create_task(commits.submit(Unit()))
    await asyncio.sleep(0.01)
    assert commits._task is not None
    commits._task.cancel()
    found = await asyncio.gather(*waiting, late, return_exceptions=True)
    assert [type(one) for one in found] == [StoreUnavailable] * 3
    await commits.close()
