"""Units that are committed together: who wins, who loses, who does not notice; and what can be seen meanwhile."""

from __future__ import annotations

import asyncio
import threading

import apsw
import pytest

from gateway.store import SQLiteStore, units, writer
from policy import store as interface
from policy.credential import CredentialState
from policy.order import OrderStatus
from policy.store import Committed, Conflict, StoreUnavailable, Unit
from tests.replacing import replace
from tests.stores import values
from tests.stores.values import NOW, inserting, saving


async def outcomes(store: SQLiteStore, *them: Unit) -> list[Committed | BaseException]:
    """What becomes of units that are committed at the same time."""
    return await asyncio.gather(*(store.commit(unit) for unit in them), return_exceptions=True)


async def test_one_of_fifty_spends_the_last_use(store: SQLiteStore) -> None:
    """A credential with one use left serves exactly one of many at the same moment."""
    await store.commit(inserting(values.credential(use_limit=1), *values.holders()))
    spending = []
    for _ in range(50):
        unit = Unit()
        unit.credential_spend("c1", NOW)
        unit.audit(values.audited())
        spending.append(unit)
    found = await outcomes(store, *spending)
    assert sum(isinstance(one, Committed) for one in found) == 1
    assert sum(isinstance(one, Conflict) for one in found) == 49
    assert len(await store.many(interface.AUDIT, "", 100)) == 1


async def test_one_of_fifty_saves_the_version(store: SQLiteStore) -> None:
    """All read version 1; one writes version 2, and that one's value is what is there."""
    order = values.order()
    await store.commit(inserting(order))
    versions = [replace(order, version=2, requester=f"user:{n}") for n in range(50)]
    found = await outcomes(store, *(saving(one) for one in versions))
    (winner,) = [n for n, one in enumerate(found) if isinstance(one, Committed)]
    assert await store.one(interface.ORDER, order.id) == versions[winner]


async def test_racing_tasks_that_read_before_they_write(store: SQLiteStore) -> None:
    """Fifty tasks add one each to a value by reading and saving until it works: none is lost."""
    await store.commit(inserting(values.order(id="o", product_version=0)))

    async def add() -> None:
        while True:
            order = await store.one(interface.ORDER, "o")
            assert order is not None
            following = replace(order, product_version=order.product_version + 1, version=order.version + 1)
            try:
                await store.commit(saving(following))
            except Conflict:
                await asyncio.sleep(0)
            else:
                return

    await asyncio.gather(*(add() for _ in range(50)))
    order = await store.one(interface.ORDER, "o")
    assert order is not None
    assert (order.product_version, order.version) == (50, 51)


@pytest.mark.parametrize("failing", ["guard first", "guard last", "unique", "foreign key"])
async def test_neighbours_of_a_failing_unit_are_written(store: SQLiteStore, failing: str) -> None:
    """A unit that fails takes nothing along, whether it had written something by then or not."""
    orders = [values.order() for _ in range(4)]
    bad = Unit()
    if failing == "guard first":
        bad.account_valid("nobody")
    bad.audit(values.audited("order:bad"))
    if failing == "guard last":
        bad.account_valid("nobody")
    elif failing == "unique":
        bad.insert(orders[0])
    elif failing == "foreign key":
        bad.insert(values.account())
    good = [inserting(order) for order in orders]
    found = await outcomes(store, *good[:2], bad, *good[2:])
    assert [isinstance(one, Committed) for one in found] == [True, True, False, True, True]
    assert isinstance(found[2], Conflict)
    assert len(await store.many(interface.ORDERS, "", "", "", 10)) == 4
    assert await store.many(interface.AUDIT, "", 10) == []


async def test_mistaken_unit_fails_alone_and_with_its_own_error(store: SQLiteStore) -> None:
    """What is a fault of the program is neither a Conflict nor the store's state."""
    mistakes = []
    for statement, parameters in (
        ("no_such_statement", ()),
        ("audit_append", ("too few",)),
        ("key_block", ("spki", None, 1)),
        ("key_block", ("spki", "reason", "no number")),
    ):
        unit = Unit()
        unit.audit(values.audited())
        unit.write(statement, *parameters)
        mistakes.append(unit)
    order = values.order()
    found = await outcomes(store, *mistakes, inserting(order))
    kinds = [type(one) for one in found]
    assert kinds == [KeyError, apsw.BindingsError, apsw.ConstraintError, apsw.ConstraintError, Committed]
    assert await store.one(interface.ORDER, order.id) == order
    assert await store.many(interface.AUDIT, "", 10) == []


async def test_conflict_with_a_unit_of_the_same_batch(store: SQLiteStore) -> None:
    """Units of a batch see one another in the order in which they came."""
    order = values.order()
    found = await outcomes(store, inserting(order), saving(replace(order, version=2)), inserting(order))
    assert [type(one) for one in found] == [Committed, Committed, Conflict]


async def test_epoch_follows_the_commit(store: SQLiteStore) -> None:
    """Units that change the configuration raise the epoch, once per batch; others and failed ones do not."""
    before = store.configuration_epoch
    found = await outcomes(store, inserting(values.mount()), inserting(values.product()))
    assert store.configuration_epoch == before + 1
    assert all(isinstance(one, Committed) and one.epoch == before + 1 for one in found)
    committed = await store.commit(inserting(values.credential(), values.order()))
    assert committed.epoch == store.configuration_epoch == before + 1
    with pytest.raises(Conflict):
        await store.commit(inserting(values.mount()))
    assert store.configuration_epoch == before + 1
    await store.commit(saving(values.credential(state=CredentialState.REVOKED, version=2)))
    assert store.configuration_epoch == before + 2


async def test_huge_batch_does_not_block_the_loop(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The statements of a batch end in time; the rest of the queue is the next batch."""
    monkeypatch.setattr(units, "BATCH_SECONDS", 0.0)
    begun = []
    begin = writer.SQLiteWriter.begin

    def counted(self: writer.SQLiteWriter) -> None:
        begun.append(1)
        begin(self)

    monkeypatch.setattr(writer.SQLiteWriter, "begin", counted)
    found = await outcomes(store, *(inserting(values.order()) for _ in range(20)))
    assert all(isinstance(one, Committed) for one in found)
    assert len(begun) == 20


async def test_full_queue_refuses(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """More units than the queue holds are refused at once; those in the queue are written."""
    monkeypatch.setattr(units, "MAX_WAITING", 10)
    found = await outcomes(store, *(inserting(values.order()) for _ in range(15)))
    assert [type(one) for one in found] == [Committed] * 10 + [StoreUnavailable] * 5


async def test_waiter_that_gave_up_harms_nobody(store: SQLiteStore) -> None:
    """A cancelled waiter does not disturb the batch; its unit may be written all the same."""
    given_up = asyncio.create_task(store.commit(inserting(values.order())))
    await asyncio.sleep(0)
    given_up.cancel()
    await store.commit(inserting(values.order()))
    assert given_up.cancelled()


class HeldCommit:
    """Holds the COMMITs of a store until they are let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached = threading.Event()
        self.go = threading.Event()
        commit = writer.SQLiteWriter.commit

        def held(self_: writer.SQLiteWriter) -> None:
            self.reached.set()
            assert self.go.wait(10)
            commit(self_)

        monkeypatch.setattr(writer.SQLiteWriter, "commit", held)

    async def wait(self) -> None:
        while not self.reached.is_set():
            await asyncio.sleep(0.001)


async def test_reads_do_not_see_what_is_not_committed(file_store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """While COMMIT waits for the disk, a read shows the state before; the loop goes on; nothing is acknowledged."""
    order = values.order()
    await file_store.commit(inserting(order))
    held = HeldCommit(monkeypatch)
    ended = replace(order, status=OrderStatus.VALID, version=2)
    saved = asyncio.create_task(file_store.commit(saving(ended)))
    await held.wait()
    assert await file_store.one(interface.ORDER, order.id) == order
    assert await file_store.many(interface.ORDERS, "valid", "", "", 5) == []
    following = asyncio.create_task(file_store.commit(inserting(values.order())))
    await asyncio.sleep(0.01)
    assert not saved.done()
    assert not following.done()
    held.go.set()
    await asyncio.gather(saved, following)
    assert await file_store.one(interface.ORDER, order.id) == ended


async def test_disk_that_hangs_refuses_new_units(file_store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a COMMIT does not come back, new units are refused instead of piling up; later all is well."""
    held = HeldCommit(monkeypatch)
    first = asyncio.create_task(file_store.commit(inserting(values.order())))
    await held.wait()
    monkeypatch.setattr(units, "STALLED_SECONDS", 0.0)
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await file_store.commit(inserting(values.order()))
    held.go.set()
    await first
    await file_store.commit(inserting(values.order()))


async def test_close_writes_what_waits_and_refuses_the_rest(file_store: SQLiteStore) -> None:
    """A unit that was handed in before the end is written; one after it is refused."""
    waiting = asyncio.create_task(file_store.commit(inserting(values.order())))
    await asyncio.sleep(0)
    await file_store.close()
    assert isinstance(await waiting, Committed)
    with pytest.raises(StoreUnavailable, match="closed"):
        await file_store.commit(Unit())


async def test_replay_guard_redeems_once(store: SQLiteStore) -> None:
    """Each opening has an epoch of its own; a number is redeemed once."""
    assert len(store.replay.epoch) == 16
    number = store.replay.number()
    assert await store.replay.redeem(number)
    assert not await store.replay.redeem(number)
