"""What was acknowledged is there: after SIGKILL at any moment, and when the disk is full."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

import gateway
from ca_core.clock import FixedClock
from gateway.store import SQLiteStore, open_store
from policy import store as interface
from policy.store import StoreUnavailable
from tests.stores import values, writing
from tests.stores.values import inserting

ROOT = Path(gateway.__file__).parent.parent


def start(*arguments: str) -> subprocess.Popen[str]:
    """Run the writing program; the project's folder is where its imports begin."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.stores.writing", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


async def test_acknowledged_units_survive_sigkill(url: str, clock: FixedClock) -> None:
    """Killed during commits, several times over one file: every acknowledged unit is there, whole, and all is sound."""
    moments = random.Random(2026)
    acknowledged: list[str] = []
    for _ in range(4):
        process = start("crash", url)
        assert process.stdout is not None
        wanted = moments.randrange(50, 800)
        lines = [line for line, _ in zip(process.stdout, range(wanted), strict=False)]
        process.kill()
        # What had reached the pipe by then was acknowledged as well; the last line may be cut.
        rest = process.stdout.read()
        lines += [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]
        process.communicate()
        acknowledged += [line.strip() for line in lines]
    store = await open_store(url, clock=clock)
    assert await store.integrity() == []
    for name in acknowledged:
        assert await store.one(interface.ORDER, name) is not None, name
        assert len(await store.many(interface.AUDIT_OF_OBJECT, f"order:{name}", "", 5)) == 1
    rows = await store.many(interface.AUDIT, "", 1_000_000)
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    assert len(rows) == len(await store.many(interface.ORDERS, "", "", "", 1_000_000))
    assert len(rows) >= len(acknowledged) >= 200
    await store.close()


def test_full_disk_refuses_and_recovers(url: str) -> None:
    """A file that cannot grow: nothing false is acknowledged, reads go on, and it writes again when there is space."""
    process = start("full", url, str(3 << 20))
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "refused while full" in output
    assert "acknowledged" in output


async def test_store_that_may_not_grow_refuses_and_recovers(store: SQLiteStore) -> None:
    """SQLITE_FULL in a statement: the same by the limit of pages."""
    connection = store._writer
    pages = int(str(connection.pragma("page_count")))
    connection.pragma("max_page_count", pages + 20)
    acknowledged = []
    with pytest.raises(StoreUnavailable, match="full"):
        for number in range(1000):
            await store.commit(writing.writing(f"o{number}", 3000))
            acknowledged.append(f"o{number}")
    assert acknowledged
    for name in acknowledged:
        assert await store.one(interface.ORDER, name) is not None
    connection.pragma("max_page_count", 1 << 30)
    await store.commit(inserting(values.order()))
    assert await store.integrity() == []


async def test_commit_that_fails_is_not_acknowledged(file_store: SQLiteStore) -> None:
    """An I/O error at COMMIT: a second try, then StoreUnavailable; nothing of it is there, and the next works."""
    broken = [True]

    def refuse() -> bool:
        return broken[0]

    # A commit hook that refuses is how SQLite itself lets a COMMIT fail with everything else in place.
    file_store._writer.set_commit_hook(refuse)
    order = values.order()
    with pytest.raises(StoreUnavailable):
        await file_store.commit(inserting(order))
    assert await file_store.one(interface.ORDER, order.id) is None
    broken[0] = False
    await file_store.commit(inserting(order))
    assert await file_store.one(interface.ORDER, order.id) == order


async def test_wal_stays_small(file_store: SQLiteStore, tmp_path: Path) -> None:
    """Checkpoints keep the WAL near their interval, however much is written."""
    for _ in range(24):
        await file_store.commit(inserting(*(values.order(requester="x" * 100_000) for _ in range(25))))
    assert (tmp_path / "certgate.db").stat().st_size > 30 << 20
    assert (tmp_path / "certgate.db-wal").stat().st_size < 48 << 20
