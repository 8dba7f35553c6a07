"""The embedded store: SQLite in WAL mode by apsw, or in memory for tests and for trying things out.

On disk, point reads run on the event loop's thread by a connection that can only read: a few microseconds,
less than handing them to a thread would cost. Reads marked "(search)" run in a thread, with a connection of
their own. One more connection writes, by way of GroupCommit. In memory one connection does all, inline.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TypeVar

import apsw
import msgspec

from ca_core.clock import Clock, epoch_seconds
from gateway.store import opening
from gateway.store.migrations import migrate, migrations
from gateway.store.queries import statements
from gateway.store.units import GroupCommit
from gateway.store.writer import LOST, SQLiteWriter
from policy.replay import NonceWindow, ReplayGuard
from policy.store import Committed, Job, Query, Row, StoreUnavailable, Unit, Value

T = TypeVar("T")


class SQLiteStore:
    """The Store of one process on one SQLite file, or in memory. Made by `gateway.store.open_store`."""

    def __init__(self, path: str | None, clock: Clock) -> None:
        """Open and migrate the file at `path`; None is in memory. Raises StoreRefused.

        Blocks for as long as SQLite needs to recover and migrate: this is before a server listens.
        """

        def now() -> int:
            return epoch_seconds(clock())

        self._path = path
        self._now = now
        self._lock: opening.FileLock | None = None
        self._committer: ThreadPoolExecutor | None = None
        self._searcher: ThreadPoolExecutor | None = None
        if path is not None:
            opening.check_library(apsw.sqlite_lib_version())
            self._lock = opening.FileLock(path)
        try:
            self._open(path)
        except BaseException:
            if self._lock is not None:
                self._lock.release()
            raise
        self._sql = {name: (one.sql, one.search and path is not None) for name, one in statements().items()}
        self._read = self._reader.cursor().execute
        self._replay = NonceWindow(secrets.token_bytes(16))
        ((epoch,),) = self._writer.execute(self._sql["epoch_get"][0]).fetchall()
        assert isinstance(epoch, int)
        self._commits = GroupCommit(SQLiteWriter(self._writer), self._committer, epoch)

    def _open(self, path: str | None) -> None:
        self._writer = opening.open_writer(path)
        try:
            migrate(self._writer, self._now(), migrations())
        except BaseException:
            self._writer.close()
            raise
        if path is None:
            opening.add_clock(self._writer, self._now)
            self._reader = self._search_reader = self._writer
            return
        self._reader = opening.open_reader(path, self._now)
        self._search_reader = opening.open_reader(path, self._now)
        self._committer = ThreadPoolExecutor(1, "store-commit")
        self._searcher = ThreadPoolExecutor(1, "store-search")

    @property
    def replay(self) -> ReplayGuard:
        """Single use of nonces for as long as the store is open."""
        return self._replay

    @property
    def configuration_epoch(self) -> int:
        """Grows with every commit of a unit that changes what caches hold."""
        return self._commits.epoch

    # -- reads

    async def one(self, query: Query[T], *parameters: Value) -> T | None:
        """The value of the first row, or None. Raises StoreUnavailable when the file cannot be read."""
        sql, search = self._sql[query.name]
        if search:
            found = await self._aside(lambda: self._search(sql, parameters, query.decode))
            return found[0] if found else None
        try:
            # All rows are taken: a statement left in the middle would hold its snapshot, and with it the WAL.
            rows = self._read(sql, parameters).fetchall()
        except LOST as fault:
            raise StoreUnavailable(f"the store cannot be read: {fault}") from fault
        return query.decode(rows[0]) if rows else None

    async def many(self, query: Query[T], *parameters: Value) -> list[T]:
        """The values of all rows, in the order of the statement. Raises StoreUnavailable."""
        sql, search = self._sql[query.name]
        if search:
            return await self._aside(lambda: self._search(sql, parameters, query.decode))
        try:
            rows = self._read(sql, parameters).fetchall()
        except LOST as fault:
            raise StoreUnavailable(f"the store cannot be read: {fault}") from fault
        decode = query.decode
        return [decode(row) for row in rows]

    def _search(self, sql: str, parameters: tuple[Value, ...], decode: Callable[[Row], T]) -> list[T]:
        return [decode(row) for row in self._search_reader.execute(sql, parameters).fetchall()]

    async def _aside(self, work: Callable[[], T]) -> T:
        """Do what takes long in the thread for searches; in memory, where nobody else waits, at once."""
        try:
            if self._searcher is None:
                return work()
            return await asyncio.get_running_loop().run_in_executor(self._searcher, work)
        except LOST as fault:
            raise StoreUnavailable(f"the store cannot be read: {fault}") from fault

    # -- writes

    async def commit(self, unit: Unit) -> Committed:
        """Write the unit durably. Raises Conflict (nothing written), StoreUnavailable (nothing confirmed)."""
        committed, _ = await self._commits.submit(unit)
        return committed

    async def lease_jobs(self, kinds: tuple[str, ...], now: datetime, seconds: int, limit: int) -> list[Job]:
        """Take due jobs of these kinds under a lease of so many seconds; committed before it returns."""
        wanted = msgspec.json.encode(kinds).decode()
        at = epoch_seconds(now)
        # Mostly nothing is due, and then nothing has to be written.
        if self._read(self._sql["jobs_due"][0], (wanted, at)).fetchall() == [(0,)]:
            return []
        unit = Unit()
        unit.write("fence_raise")
        unit.write("jobs_lease", wanted, at, at + seconds, limit)
        _, rows = await self._commits.submit(unit)
        rows.sort(key=lambda row: row[2])
        return [
            Job(kind, of, datetime.fromtimestamp(due, tz=UTC), fence, attempts)
            for kind, of, due, fence, attempts in rows
        ]

    # -- care

    async def backup(self, path: str) -> None:
        """Copy the store, as of one moment, to a new file while it serves. Raises StoreUnavailable.

        The WAL grows for as long as the copy takes and is cut back afterwards.
        """
        try:
            await self._aside(lambda: _copy(self._search_reader, path))
        except (OSError, apsw.Error) as fault:
            raise StoreUnavailable(f"the backup to {path} failed: {fault}") from fault

    async def integrity(self) -> list[str]:
        """Read everything and check it; one line per fault found, none when all is well."""
        return await self._aside(lambda: _faults(self._search_reader))

    def describe(self) -> dict[str, str | int | None]:
        """Where the store is, how large it is, and of which versions it and its SQLite are."""
        sizes = [os.path.getsize(name) if name and os.path.exists(name) else 0 for name in self._files()]
        return {
            "path": self._path,
            "bytes": sizes[0],
            "wal_bytes": sizes[1],
            "schema_version": int(self._reader.pragma("user_version")),
            "newest_schema_version": len(migrations()),
            "sqlite_version": apsw.sqlite_lib_version(),
        }

    def _files(self) -> tuple[str, str]:
        return (self._path, f"{self._path}-wal") if self._path is not None else ("", "")

    async def close(self) -> None:
        """Write what is waiting, take nothing more, and give the file free."""
        await self._commits.close()
        for executor in (self._committer, self._searcher):
            if executor is not None:
                executor.shutdown()
        for connection in {self._reader, self._search_reader, self._writer}:
            connection.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def _copy(source: apsw.Connection, path: str) -> None:
    part = f"{path}.part"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(part)
    os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    target = apsw.Connection(part)
    try:
        with target.backup("main", source, "main") as copying:
            # In one go: a copy in pieces would begin anew with every commit between two of them.
            copying.step(-1)
        # One file that can be carried away, without a WAL beside it.
        target.pragma("journal_mode", "delete")
    finally:
        target.close()
    os.replace(part, path)


def _faults(connection: apsw.Connection) -> list[str]:
    found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check").fetchall()]
    orphans = connection.execute("PRAGMA foreign_key_check").fetchall()
    faults = [] if found == ["ok"] else found
    return faults + [f"{table}: row {row} refers to a missing row of {parent}" for table, row, parent, _ in orphans]
