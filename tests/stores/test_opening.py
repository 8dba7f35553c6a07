"""Opening, locking, backing up and checking a store file."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from ca_core.clock import FixedClock
from gateway.store import StoreRefused, open_store, opening
from gateway.store.opening import check_library, read_url
from gateway.store.sqlite import SQLiteStore
from policy import store as interface
from policy.store import StoreUnavailable
from tests.stores import values
from tests.stores.values import inserting


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("sqlite:///state/a.db", "state/a.db"),
        ("sqlite:////var/lib/certgate/a.db", "/var/lib/certgate/a.db"),
    ],
)
def test_url_names_a_file_or_memory(url: str, path: str | None) -> None:
    """Three slashes are followed by a relative path, four begin an absolute one."""
    assert read_url(url) == path


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql://host/certgate", "comes later"),
        ("sqlite://host/a.db", "names no file"),
        ("sqlite:///", "names no file"),
        ("mysql://host/a", "is none"),
        ("/var/lib/a.db", "is none"),
    ],
)
async def test_url_that_is_none_is_refused(url: str, sentence: str, clock: FixedClock) -> None:
    """The sentence says what would be right."""
    with pytest.raises(StoreRefused, match=sentence):
        await open_store(url, clock=clock)


@pytest.mark.parametrize(
    ("version", "fine"),
    [("3.6.23", True), ("3.7.0", False), ("3.40.1", False), ("3.51.2", False), ("3.51.3", True), ("3.54.1", True)],
)
def test_library_that_may_lose_a_wal_is_refused(version: str, fine: bool) -> None:
    """3.7.0 to 3.51.2 can corrupt a database in WAL mode."""
    if fine:
        check_library(version)
    else:
        with pytest.raises(StoreRefused, match=r"3\.51\.3"):
            check_library(version)


async def test_what_was_written_is_there_at_the_next_opening(url: str, clock: FixedClock) -> None:
    """Close and open: the same rows and epoch, another epoch of nonces."""
    store = await open_store(url, clock=clock)
    order = values.order()
    await store.commit(inserting(order, values.mount()))
    epoch, nonces = store.configuration_epoch, store.replay.epoch
    await store.close()
    store = await open_store(url, clock=clock)
    assert await store.one(interface.ORDER, order.id) == order
    assert store.configuration_epoch == epoch == 1
    assert store.replay.epoch != nonces
    await store.close()


async def test_connections_are_set_up_for_durability(file_store: SQLiteStore) -> None:
    """WAL, synchronous=FULL, no mapped memory, a bounded WAL file; readers cannot write."""
    writer, reader = file_store._writer, file_store._reader
    assert writer.pragma("journal_mode") == "wal"
    assert writer.pragma("synchronous") == 2
    assert writer.pragma("mmap_size") == reader.pragma("mmap_size") == 0
    assert writer.pragma("journal_size_limit") == opening.WAL_BYTES
    assert opening.CHECKPOINT_PAGES * 4096 < opening.WAL_BYTES
    assert writer.pragma("foreign_keys") == 1
    with pytest.raises(apsw.ReadOnlyError):
        reader.execute("DELETE FROM meta")


async def test_second_process_is_refused(url: str, file_store: SQLiteStore) -> None:
    """One process writes a file; another one is told which has it, and what to do instead."""
    program = (
        "import asyncio, sys\n"
        "from ca_core.clock import system_clock\n"
        "from gateway.store import StoreRefused, open_store\n"
        "try:\n    asyncio.run(open_store(sys.argv[1], clock=system_clock))\n"
        "except StoreRefused as refused:\n    print(refused)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, url], capture_output=True, text=True, timeout=60)
    assert "open in another process (pid " in done.stdout, done.stderr
    assert "admin socket" in done.stdout


async def test_second_opening_in_one_process_is_refused(url: str, file_store: SQLiteStore, clock: FixedClock) -> None:
    """The lock is the store's, not the process's; a refused opening leaves the first one as it was."""
    with pytest.raises(StoreRefused, match="only one may write"):
        await open_store(url, clock=clock)
    await file_store.commit(inserting(values.order()))
    assert await file_store.integrity() == []


async def test_folder_that_is_not_there_is_refused(tmp_path: Path, clock: FixedClock) -> None:
    """A sentence, not a traceback of the library."""
    with pytest.raises(StoreRefused, match="cannot open the store"):
        await open_store(f"sqlite:///{tmp_path}/none/a.db", clock=clock)


async def test_file_that_is_no_database_is_refused(tmp_path: Path, clock: FixedClock) -> None:
    """What is in the file stays in it, and the lock is given back."""
    path = tmp_path / "a.db"
    path.write_bytes(b"something else entirely, and long enough for a header of SQLite" * 30)
    for _ in range(2):
        with pytest.raises(StoreRefused, match="not a database"):
            await open_store(f"sqlite:///{path}", clock=clock)
    assert path.read_bytes().startswith(b"something else")


async def test_store_files_are_the_owners_alone(url: str, file_store: SQLiteStore, tmp_path: Path) -> None:
    """Hashes of secrets are in there: nobody else reads them, not in the WAL either."""
    await file_store.commit(inserting(values.order()))
    names = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert {"certgate.db", "certgate.db-wal", "certgate.db-shm", "certgate.db.lock"} <= set(names)
    assert set(names.values()) == {0o600}


async def test_backup_is_a_store_of_that_moment(store: SQLiteStore, tmp_path: Path, clock: FixedClock) -> None:
    """A backup of a serving store can be opened by itself and has all that was committed before it."""
    order = values.order()
    await store.commit(inserting(order))
    target = tmp_path / "backup.db"
    for _ in range(2):
        await store.backup(str(target))
    await store.commit(inserting(values.order()))
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.glob("backup.db*")] == ["backup.db"]
    copy = await open_store(f"sqlite:///{target}", clock=clock)
    assert await copy.integrity() == []
    assert await copy.many(interface.ORDERS, "", "", "", 10) == [order]
    await copy.close()


async def test_backup_that_fails_says_so(store: SQLiteStore, tmp_path: Path) -> None:
    """A folder that is not there is an answer, not a broken store."""
    with pytest.raises(StoreUnavailable, match="backup"):
        await store.backup(str(tmp_path / "none" / "backup.db"))
    await store.commit(inserting(values.order()))


async def test_integrity_finds_what_is_wrong(store: SQLiteStore) -> None:
    """A sound store has no findings; a row that refers to nothing is one."""
    await store.commit(inserting(values.credential(), values.account()))
    assert await store.integrity() == []
    store._writer.pragma("foreign_keys", False)
    store._writer.execute("DELETE FROM credentials")
    (finding,) = await store.integrity()
    assert "accounts" in finding
    assert "credentials" in finding


async def test_foreign_lock_is_told_and_passes(url: str, file_store: SQLiteStore, tmp_path: Path) -> None:
    """A program that locks the database makes commits fail, without harm to those after it."""
    foreign = apsw.Connection(str(tmp_path / "certgate.db"))
    foreign.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        await file_store.commit(inserting(values.order()))
    assert await file_store.many(interface.MOUNTS) == []
    foreign.execute("ROLLBACK")
    foreign.close()
    await file_store.commit(inserting(values.order()))
