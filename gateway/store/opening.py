"""Opening connections: where a URL points, which SQLite may write, who holds the file, and the pragmas.

The one rule behind it: one connection of one process writes and checkpoints a file; all others only read.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable

import apsw

from gateway.store.migrations import StoreRefused

CHECKPOINT_PAGES = 8_000
"""A checkpoint every 32 MiB of WAL: a page that many units write goes to the database once."""

WAL_BYTES = 64 << 20
"""What the WAL file is cut back to after a long reader (a backup, a search) kept it from being reused."""

WRITER_CACHE_KIB = 64 << 10
READER_CACHE_KIB = 16 << 10

BUSY_MILLISECONDS = 50
"""How long the event loop waits for a lock, which only a foreign program (a sqlite3 shell) can hold."""

STATEMENT_CACHE = 256
"""More than there are named statements, so that none is compiled twice."""


def read_url(url: str) -> str | None:
    """The path of the file that a store URL names; None for a store in memory. Raises StoreRefused."""
    scheme, separator, rest = url.partition("://")
    if separator and scheme in ("postgresql", "postgres"):
        raise StoreRefused("PostgreSQL is not supported yet, it comes later: use sqlite:///path/to/certgate.db")
    if not separator or scheme != "sqlite":
        raise StoreRefused(f'the store URL "{url}" is none: write sqlite:///path/to/certgate.db')
    if rest in ("", "/:memory:"):
        return None
    # Three slashes are followed by a relative path, four begin an absolute one, as in other programs.
    if not rest.startswith("/") or rest == "/":
        raise StoreRefused(f'the store URL "{url}" names no file: write sqlite:///path/to/certgate.db')
    return rest[1:]


def check_library(version: str) -> None:
    """Refuse an SQLite that may lose a WAL.

    From 3.7.0 to 3.51.2 two connections that write or checkpoint at the same moment can corrupt a database in
    WAL mode (fixed in 3.51.3). A store in memory has one connection and no WAL: it does not matter there.
    """
    numbers = tuple(int(number) for number in re.findall(r"[0-9]+", version)[:3])
    if (3, 7, 0) <= numbers <= (3, 51, 2):
        raise StoreRefused(
            f"SQLite {version} can corrupt a database in WAL mode; install apsw with SQLite 3.51.3 or newer"
        )


class FileLock:
    """The right to write a store file, held until `release` or the end of the process.

    The lock lies on a file beside it. To open the database itself for it would do harm: POSIX takes all locks
    of a process on a file away when any descriptor of that file is closed, and SQLite relies on its own.
    """

    def __init__(self, path: str) -> None:
        """Take the lock for the store at `path`. Raises StoreRefused when another process has it."""
        try:
            self._file = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as fault:
            raise StoreRefused(f"cannot open the store {path}: {fault.strerror}") from fault
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as fault:
            holder = os.read(self._file, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._file)
            raise StoreRefused(
                f"the store {path} is open in another process (pid {holder}), and only one may write it: "
                "stop that one, or speak to the running server through its admin socket"
            ) from fault
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back. The file stays: removing it would let two others lock two files of one name."""
        os.close(self._file)


def open_writer(path: str | None) -> apsw.Connection:
    """The writing connection; in memory the only one. Raises StoreRefused when the file cannot be opened."""
    try:
        if path is not None:
            # Secrets lie in it, if only hashed or sealed. The files beside it take over these permissions.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = apsw.Connection(path or ":memory:", statementcachesize=STATEMENT_CACHE)
        connection.set_busy_timeout(BUSY_MILLISECONDS)
        _pragmas(connection, WRITER_CACHE_KIB)
        connection.pragma("foreign_keys", True)
        # What a savepoint keeps for undoing goes to memory, not to a temporary file.
        connection.pragma("temp_store", "memory")
        if path is not None:
            if connection.pragma("journal_mode", "wal") != "wal":
                raise StoreRefused(f"the store {path} lies on a file system that cannot share memory (WAL)")
            connection.pragma("synchronous", "full")
            connection.pragma("journal_size_limit", WAL_BYTES)
            connection.wal_autocheckpoint(CHECKPOINT_PAGES)
    except (OSError, apsw.Error) as fault:
        raise StoreRefused(f"cannot open the store {path}: {fault}") from fault
    return connection


def open_reader(path: str, now: Callable[[], int]) -> apsw.Connection:
    """A connection that cannot write. It neither checkpoints nor repairs: the writer was there before it."""
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY, statementcachesize=STATEMENT_CACHE)
    connection.set_busy_timeout(BUSY_MILLISECONDS)
    _pragmas(connection, READER_CACHE_KIB)
    connection.pragma("query_only", True)
    add_clock(connection, now)
    return connection


def add_clock(connection: apsw.Connection, now: Callable[[], int]) -> None:
    """Let reads ask for the time of the server's clock (`certgate_now()`), not for that of the machine."""
    connection.create_scalar_function("certgate_now", lambda *_: now(), 0)


def _pragmas(connection: apsw.Connection, cache_kib: int) -> None:
    # Without the planner's promise of stable plans, statements on a table with partial indexes are compiled
    # anew whenever a parameter changes: 15 µs each time, several times what most of them take to run.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    connection.pragma("cache_size", -cache_kib)
    # A mapped file turns an I/O error into a signal that ends the process.
    connection.pragma("mmap_size", 0)
    connection.pragma("trusted_schema", False)
